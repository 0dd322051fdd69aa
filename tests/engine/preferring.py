"""Feedback made by arithmetic, a start to go on from, and a fit on it in this process."""

import threading
from dataclasses import replace

import torch
from safetensors.torch import load_file

from duologue.engine import BaseModel, LikedExample, PreferenceExample, PreferenceJob, open_preference_trainer
from tests.engine.fitting import fit
from tests.engine.made import a_job, some_examples

THREAD = threading.Event


def ids(start, count):
    """Some token ids."""
    return tuple(100 + (start * 31 + at * 17) % 900 for at in range(count))


def some_pairs(count):
    """Pairs of unequal lengths with prompts of unequal lengths, some too short to be shared."""
    return tuple(
        PreferenceExample(ids(n, 4 + n * 5 % 14), ids(n + 50, 2 + n % 4), ids(n + 90, 3 + n * 3 % 7), f"swipe {n}")
        for n in range(count)
    )


def some_likes(count):
    """Replies that were liked or not."""
    return tuple(
        LikedExample(ids(n, 5 + n * 5 % 14), ids(n + 50, 2 + n % 4), n % 3 != 0, f"like {n}") for n in range(count)
    )


def make_start(model, folder, **changes):
    """A trained adapter of the tiny model."""
    job = a_job(BaseModel(model, **changes), folder, max_steps=2)
    result, _, _ = fit(job, some_examples(6))
    return result.adapter


def a_preference_job(
    start,
    run_folder,
    *,
    method="dpo",
    num_sft_steps=0,
    beta=0.1,
    sft_weight=0.2,
    num_replayed_per_step=0,
    replay_weight=1.0,
    max_loss_rise=0.0,
    **changes,
):
    """A small job on feedback; any field of the training can be changed."""
    training = a_job(start.base, run_folder, **{"learning_rate": 1e-3, **changes})
    return PreferenceJob(
        training,
        start,
        method,
        beta=beta,
        sft_weight=sft_weight,
        num_sft_steps=num_sft_steps,
        num_replayed_per_step=num_replayed_per_step,
        replay_weight=replay_weight,
        max_loss_rise=max_loss_rise,
    )


def in_folder(job, folder):
    """The job in another folder."""
    return replace(job, training=replace(job.training, run_folder=folder))


def prefer(job, examples, *, validation=(), replayed=(), stop_after=None):
    """Run a fit on feedback; return the result, the events, and the adapter's tensors."""
    job.training.run_folder.mkdir(parents=True, exist_ok=True)
    events = []
    should_stop = threading.Event()

    def take(event):
        events.append(event)
        if event.name == "step" and event.step == stop_after:
            should_stop.set()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        result = open_preference_trainer().fit_preferences(
            job, examples, validation, replayed=replayed, on_event=take, should_stop=should_stop
        )
    finally:
        torch.set_num_threads(threads)
    return result, events, load_file(result.adapter.folder / "adapter_model.safetensors")
