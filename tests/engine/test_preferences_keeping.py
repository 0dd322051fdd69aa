"""What a run on feedback may cost on held-out conversations, and what is taken back of it."""

import pytest
import torch
from safetensors.torch import load_file

from duologue.engine.hf.evaluation import Evaluations
from duologue.errors import InterruptedRun
from tests.engine.fitting import said
from tests.engine.made import some_examples
from tests.engine.preferring import a_preference_job, in_folder, make_start, prefer, some_pairs

HELD_OUT = some_examples(4)
LIMIT = 0.002
STRONG = {"max_steps": 8, "learning_rate": 3e-2, "sft_weight": 0.0}


@pytest.fixture(scope="module")
def start(tiny_model, tmp_path_factory):
    return make_start(tiny_model, tmp_path_factory.mktemp("start"))


def held_out(events):
    """The held-out losses in the order they were measured."""
    return [values["validation_loss"] for values in said(events, "evaluated")]


@pytest.mark.parametrize("eval_every_steps", [0, 3])
def test_what_costs_too_much_is_taken_back_until_it_does_not(start, tmp_path, eval_every_steps):
    free = a_preference_job(start, tmp_path / "free", eval_every_steps=8, **STRONG)
    _, events, whole = prefer(free, some_pairs(8), validation=HELD_OUT)
    first, last = held_out(events)
    assert last > (1 + LIMIT) * first, "else there is nothing to take back"

    bounded = a_preference_job(
        start, tmp_path / "bounded", max_loss_rise=LIMIT, eval_every_steps=eval_every_steps, **STRONG
    )
    result, events, kept = prefer(bounded, some_pairs(8), validation=HELD_OUT)
    assert 0 < result.kept_share < 1
    assert held_out(events)[-1] <= (1 + LIMIT) * first
    [told] = said(events, "taken_back")
    assert told["kept_share"] == result.kept_share
    assert told["rise"] == pytest.approx(last / first - 1)
    before = load_file(start.folder / "adapter_model.safetensors")
    for name, tensor in kept.items():
        torch.testing.assert_close(tensor, torch.lerp(before[name], whole[name], result.kept_share))
    assert result.reload_max_difference < 1e-3


def test_what_costs_little_is_kept_whole(start, tmp_path):
    _, _, free = prefer(a_preference_job(start, tmp_path / "free", max_steps=2), some_pairs(4), validation=HELD_OUT)
    job = a_preference_job(start, tmp_path / "bounded", max_steps=2, max_loss_rise=9.0)
    result, events, kept = prefer(job, some_pairs(4), validation=HELD_OUT)
    assert result.kept_share == 1 and not said(events, "taken_back")
    assert all(torch.equal(kept[name], free[name]) for name in free)


def test_without_held_out_conversations_nothing_can_be_taken_back(start, tmp_path):
    job = a_preference_job(start, tmp_path, max_loss_rise=LIMIT, **STRONG)
    result, events, _ = prefer(job, some_pairs(8))
    assert result.kept_share == 1 and not said(events, "evaluated")


@pytest.mark.parametrize("guess", [1, 2])
def test_interrupted_while_it_measures_how_much_to_keep_it_ends_the_same(start, tmp_path, monkeypatch, guess):
    job = a_preference_job(start, tmp_path / "a", max_loss_rise=2 * LIMIT, eval_every_steps=4, **STRONG)
    whole, whole_events, expected = prefer(job, some_pairs(8), validation=HELD_OUT)
    assert len(held_out(whole_events)) >= 3 + guess, "three on the way, then the guesses"
    run, num_guesses = Evaluations.run, 0

    def stop_at_a_guess(self, step, *, must_stop, draws_replies=True):
        nonlocal num_guesses
        num_guesses += not draws_replies
        is_over = num_guesses == guess
        return run(self, step, must_stop=lambda: is_over or must_stop(), draws_replies=draws_replies)

    cut = in_folder(job, tmp_path / "b")
    with monkeypatch.context() as patched:
        patched.setattr(Evaluations, "run", stop_at_a_guess)
        with pytest.raises(InterruptedRun, match="after step 8 of 8"):
            prefer(cut, some_pairs(8), validation=HELD_OUT)
    result, events, kept = prefer(cut, some_pairs(8), validation=HELD_OUT)
    assert [event.step for event in events if event.name == "resumed"] == [8]
    assert all(torch.equal(kept[name], expected[name]) for name in expected)
    assert result.kept_share == whole.kept_share
    assert said(events, "taken_back") == said(whole_events, "taken_back")
