"""A fit in this process, with what it said and left."""

import threading

import torch
from safetensors.torch import load_file

from duologue.engine import Event, open_trainer


def fit(job, examples, *, validation=(), stop_after=None, on_event=None):
    """Run a fit; return the result, the events, and the adapter's tensors."""
    events: list[Event] = []
    should_stop = threading.Event()

    def take(event):
        events.append(event)
        if event.name == "step" and event.step == stop_after:
            should_stop.set()
        if on_event is not None:
            on_event(event)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers this small gain nothing from more, and wait for them on a busy machine
    try:
        result = open_trainer("hf").fit(job, examples, validation, on_event=take, should_stop=should_stop)
    finally:
        torch.set_num_threads(threads)
    return result, events, load_file(result.adapter.folder / "adapter_model.safetensors")


def losses(events):
    """The loss of each step."""
    return [event.values["loss"] for event in events if event.name == "step"]


def said(events, name):
    """The values of the events of one name."""
    return [event.values for event in events if event.name == name]
