"""What is watched while a run goes: sampled replies, early stopping, loss spikes, spilled memory, the time to go."""

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from duologue.engine import BaseModel, SampleRequest
from duologue.engine.hf.evaluation import Evaluations, Measured
from duologue.engine.hf.load import load_model, load_tokenizer
from duologue.engine.hf.sampled import distinct_share, draw_replies, has_loop, speaks_for
from duologue.engine.hf.spikes import is_spike
from duologue.engine.hf.spill import GpuMemory, spill_warning
from duologue.engine.hf.stopping import Stopping
from duologue.engine.hf.time_to_go import TimeToGo, times_left
from tests.engine.fitting import fit, losses, said
from tests.engine.made import a_job, some_examples

SAMPLES = SampleRequest(
    prompts=(("Hello?", (100, 101, 102)), ("And you?", (103, 104))), max_new_tokens=12, user_marks=("User:",)
)
GIB = 2**30


@pytest.mark.parametrize(
    ("ids", "is_looping"),
    [
        ([5] * 8, True),
        ([5] * 7, False),
        ([1, 2, 3] * 3, True),
        ([9, 8, 1, 2, 3, 1, 2, 3, 1, 2, 3, 7], True),
        ([1, 2, 3, 4] * 2, False),
        (list(range(100)), False),
        ([], False),
    ],
)
def test_a_loop_is_a_sequence_three_times_behind_itself_over_eight_tokens(ids, is_looping):
    assert has_loop(ids) == is_looping


@given(st.lists(st.integers(0, 50), max_size=30), st.lists(st.integers(0, 50), min_size=1, max_size=6))
def test_a_repeated_block_is_found_wherever_it_stands(before, block):
    repeats = max(3, -(-8 // len(block)))
    assert has_loop([*before, *block * repeats])


def test_the_share_of_different_sequences_falls_with_repetition_and_says_nothing_of_short_replies():
    assert distinct_share([1, 2, 3] * 2) == 1.0
    assert distinct_share(list(range(40))) == 1.0
    assert distinct_share([1, 2, 3, 4, 5] * 8) < 0.2


@pytest.mark.parametrize(
    ("text", "speaks"),
    [
        ("Good evening.\nTom: And then?", True),
        ("Tom: hello", True),
        ('He left.\n  *"Tom: yes"*', True),
        ("A letter from Tom: it came late.", False),
        ("Tomorrow we sail.", False),
        ("### Instruction: go on", True),
    ],
)
def test_a_reply_that_writes_the_user_s_line_is_told_by_how_a_line_begins(text, speaks):
    assert speaks_for(text, ("Tom:", "### Instruction:")) == speaks


def test_replies_are_repeatable_and_end_at_the_stop_token(tiny_model):
    model, tokenizer = load_model(BaseModel(tiny_model)).eval(), load_tokenizer(BaseModel(tiny_model))
    first = draw_replies(model, tokenizer, SAMPLES, seed=3)
    assert first == draw_replies(model, tokenizer, SAMPLES, seed=3)
    assert [reply.prompt for reply in first] == ["Hello?", "And you?"]
    assert all(reply.num_tokens == 12 and not reply.has_ended and "does not end" in reply.faults for reply in first)
    assert not any(reply.passes for reply in first)

    class Ended:
        stop_token_ids = frozenset(range(49152))
        decode = staticmethod(lambda ids: "")

    ended = draw_replies(model, Ended(), SAMPLES, seed=3)
    assert all(reply.has_ended and reply.num_tokens == 0 and reply.faults == "is empty" for reply in ended)


def test_drawing_replies_changes_nothing_of_the_training(tiny_model, tmp_path):
    examples = some_examples(10)
    settings = {"max_steps": 4, "eval_every_steps": 2, "neftune_alpha": 5.0}
    _, expected, expected_adapter = fit(a_job(BaseModel(tiny_model), tmp_path / "a", **settings), examples)
    job = a_job(BaseModel(tiny_model), tmp_path / "b", samples=SAMPLES, **settings)
    _, events, adapter = fit(job, examples, validation=examples[:3])
    assert losses(events) == losses(expected)
    assert all(torch.equal(adapter[name], expected_adapter[name]) for name in adapter)
    assert [(event.step, event.values["prompt"]) for event in events if event.name == "reply"] == [
        (step, prompt) for step in (2, 4) for prompt in ("Hello?", "And you?")
    ]
    assert all(values["replies_passed"] == 0 and values["seconds"] > 0 for values in said(events, "evaluated"))


def test_the_best_weights_are_kept_when_later_evaluations_are_worse(tiny_model, tmp_path, monkeypatch):
    """The held-out loss is made up: best at step 4, then worse."""
    made_up = iter([3.0, 2.0, 2.5, 2.4, 2.6])
    monkeypatch.setattr(
        Evaluations,
        "_measure",
        lambda self, step, must_stop, draws_replies: Measured({"validation_loss": next(made_up)}, ()),
    )
    examples = some_examples(8)
    job = a_job(
        BaseModel(tiny_model), tmp_path, max_steps=20, eval_every_steps=2, save_every_steps=1, num_checkpoints=20,
        early_stopping_patience=2,
    )  # fmt: skip
    result, events, adapter = fit(job, examples, validation=examples[:2])
    assert result.was_stopped_early and result.num_steps == 8
    assert [values["kept_step"] for values in said(events, "best")] == [4]
    assert said(events, "stopped_early")[0]["text"] == "2 evaluations without a better one than at step 4"
    best, last = (load_file(tmp_path / "checkpoints" / f"step-{step:08d}" / "adapter.safetensors") for step in (4, 8))
    assert all(torch.equal(adapter[name], best[name]) for name in best)
    assert any(not torch.equal(adapter[name], last[name]) for name in last)


def test_without_patience_the_run_goes_to_its_end_with_the_last_weights():
    state = Stopping(0, "loss")
    for step in range(1, 30):
        state = state.after(step, loss=float(step))
    assert not state.is_over


@pytest.mark.parametrize(
    ("judged_by", "found", "best_step", "is_over"),
    [
        ("loss", [(3.0, 0.0), (2.0, 0.0), (2.0, 1.0), (2.1, 1.0)], 3, False),
        ("loss", [(2.0, 1.0), (2.1, 1.0), (2.2, 1.0)], 1, True),
        ("replies", [(3.0, 0.5), (2.0, 0.5), (9.0, 1.0), (8.0, 0.5)], 3, False),
        ("replies", [(2.0, 1.0), (1.0, 0.5), (0.5, 0.5)], 1, True),
        ("replies", [(math.inf, 0.5), (math.inf, 0.5), (math.inf, 0.5)], 1, True),
    ],
)
def test_the_best_evaluation_is_by_loss_or_by_replies_and_the_other_decides_among_equals(
    judged_by, found, best_step, is_over
):
    state = Stopping(2, judged_by)
    for step, (loss, share) in enumerate(found, start=1):
        state = state.after(step, loss=loss, share=share)
    assert (state.best_step, state.is_over) == (best_step, is_over)


def test_a_spike_stands_six_deviations_above_the_median_of_the_last_fifty():
    noise = random.Random(1)
    usual = [2.0 + noise.uniform(-0.1, 0.1) for _ in range(60)]
    assert is_spike(2.6, usual)
    assert not is_spike(2.15, usual)
    assert not is_spike(9.0, usual[:9]), "the first steps say nothing"
    assert not is_spike(1.0, usual), "a fall is no spike"
    assert not is_spike(2.01, [2.0] * 50), "equal losses make no spike of a rounding error"
    assert not is_spike(2.0, [5.0] * 30 + usual[:50]), "only the last fifty count"


def test_spikes_are_in_the_step_events(tiny_model, tmp_path):
    _, events, _ = fit(a_job(BaseModel(tiny_model), tmp_path, max_steps=2), some_examples(8))
    assert [values["is_spike"] for values in said(events, "step")] == [False, False]


FULL = GpuMemory(reserved_bytes=20 * GIB, used_bytes=int(23.9 * GIB), dedicated_bytes=24 * GIB)
ROOMY = GpuMemory(reserved_bytes=10 * GIB, used_bytes=12 * GIB, dedicated_bytes=24 * GIB)
SILENT = GpuMemory(reserved_bytes=20 * GIB, used_bytes=0, dedicated_bytes=0)
BEYOND = GpuMemory(reserved_bytes=26 * GIB, used_bytes=24 * GIB, dedicated_bytes=24 * GIB)


@pytest.mark.parametrize(
    ("times", "memory", "words"),
    [
        ([1.0] * 10 + [5.0, 5.0], FULL, "5 times as long as before and the GPU is full"),
        ([1.0] * 10 + [5.0, 5.0], ROOMY, ""),
        ([1.0] * 10 + [5.0, 1.0], FULL, ""),
        ([1.0] * 10 + [2.0, 2.0], FULL, ""),
        ([1.0] * 2 + [5.0, 5.0], FULL, ""),
        ([1.0] * 10 + [5.0, 5.0], SILENT, "perhaps because GPU memory spills"),
        ([1.0] * 10, BEYOND, "holds 2.0 GiB more than the GPU has"),
    ],
)
def test_spill_is_told_by_slow_tokens_together_with_a_full_gpu(times, memory, words):
    text = spill_warning([value / 1000 for value in times], memory)
    assert (words in text and "Sysmem Fallback" in text and "--resume" in text) if words else text == ""


@given(st.integers(1, 300), st.integers(1, 60), st.integers(0, 300))
def test_what_is_left_is_what_a_run_then_does(max_steps, every, step):
    done = [at for at in range(1, max_steps + 1) if at % every == 0 or at == max_steps]
    assert times_left(step, max_steps, every=every) == sum(at > step for at in done)


def test_the_time_to_go_counts_steps_evaluations_and_checkpoints(tmp_path):
    job = a_job(BaseModel("x"), tmp_path, max_steps=100, eval_every_steps=30, save_every_steps=20, samples=SAMPLES)
    clock = TimeToGo(job, num_validation_tokens=3000)
    assert clock.seconds(0) == 0
    clock.add_step(2.0, 1000)
    guess = 3000 * (2.0 / 1000) / 3 + 2 * 12 * 0.05
    assert clock.seconds(1) == pytest.approx(99 * 2.0 + 4 * guess), "nothing was evaluated or saved yet"
    clock.add_evaluation(7.0)
    clock.add_save(1.0)
    assert clock.seconds(30) == pytest.approx(70 * 2.0 + 3 * 7.0 + 4 * 1.0)
    assert clock.seconds(100) == 0


def test_every_step_says_the_time_to_go_and_the_last_says_none(tiny_model, tmp_path):
    _, events, _ = fit(a_job(BaseModel(tiny_model), tmp_path, max_steps=3), some_examples(8))
    to_go = [values["seconds_to_go"] for values in said(events, "step")]
    assert to_go[0] > 0 and to_go[-1] == 0
