"""What a person sees while a run goes."""

import io

from rich.console import Console

from duologue.cli.progress import _LineSink
from duologue.engine import Event

STEP = {
    "loss": 2.345,
    "learning_rate": 2e-4,
    "tokens_per_second": 431.2,
    "memory_gib": 3.25,
    "seconds": 2.0,
    "max_steps": 10,
}


def shown(*events):
    """The lines for a run's events, away from a terminal."""
    text = io.StringIO()
    sink = _LineSink(Console(file=text, width=200))
    for event in events:
        sink(event)
    return text.getvalue().splitlines()


def test_a_step_shows_loss_rate_speed_memory_and_the_time_to_go_as_the_engine_says_it():
    [line] = shown(Event("step", 1, {**STEP, "seconds_to_go": 125.0, "is_spike": False}))
    assert line == "step 1/10 loss 2.345  rate 2.0e-04  431 tokens/s  3.2 GiB  2:05 to go"


def test_an_engine_that_does_not_say_it_has_the_time_of_its_steps_taken():
    assert shown(Event("step", 1, STEP))[0].endswith("0:18 to go")


def test_a_spike_is_marked():
    assert "loss 2.345 (spike)" in shown(Event("step", 1, {**STEP, "seconds_to_go": 1.0, "is_spike": True}))[0]


def test_an_evaluation_says_how_far_it_is_and_what_is_left(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("duologue.cli.progress.time.monotonic", lambda: now[0])
    text = io.StringIO()
    sink = _LineSink(Console(file=text, width=200))
    for done, left in ((0, {}), (1, {}), (40, {"seconds_to_go": 125.0}), (70, {"seconds_to_go": 0.0})):
        sink(Event("evaluating", values={"which": "base", "done": done, "total": 70, **left}))
        now[0] += 10.0

    assert text.getvalue().splitlines() == [
        "measuring the base model: 0 of 70",
        "measuring the base model: 40 of 70, 2:05 to go",
    ]


def test_everything_else_that_happens_is_one_sentence_each():
    reply = {"prompt": "Hello?", "text": "Good evening.\n[Ticket?]", "faults": "does not end"}
    lines = shown(
        Event("fast_path", values={"text": "attention: exact"}),
        Event("disk", values={"needed_gib": 0.31, "free_gib": 50.0}),
        Event("tried", values={"num_examples": 2, "longest_tokens": 512, "memory_gib": 3.14}),
        Event("reply", 4, reply),
        Event("evaluated", 4, {"validation_loss": 1.5, "replies_passed": 0.5, "seconds": 3.0}),
        Event("stopped_early", 8, {"text": "2 evaluations without a better one than at step 4"}),
        Event("best", 8, {"kept_step": 4}),
        Event("warning", 8, {"text": "memory ran out; micro-batches of 1"}),
    )
    assert lines == [
        "  attention: exact",
        "checkpoints and adapter need 0.31 GiB on disk, 50.0 GiB are free",
        "the largest batch fits: 2 x 512 tokens, 3.1 GiB",
        "  Hello? -> Good evening. [Ticket?]  [does not end]",
        "step 4: loss on held-out conversations 1.500, 50% of the sampled replies pass their checks",
        "step 8: ending early, 2 evaluations without a better one than at step 4",
        "taking the adapter of step 4, which was best",
        "warning: memory ran out; micro-batches of 1",
    ]
