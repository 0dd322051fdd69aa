"""A fit on feedback that was interrupted equals one that was not, bit for bit."""

import json

import pytest
import torch

from duologue.engine.hf import checkpoint
from duologue.errors import EngineError, InterruptedRun
from tests.engine.fitting import losses
from tests.engine.made import some_examples
from tests.engine.preferring import a_preference_job, in_folder, make_start, prefer, some_likes, some_pairs
from tests.engine.test_hf_resume import everything


@pytest.fixture(scope="module")
def start(tiny_model, tmp_path_factory):
    return make_start(tiny_model, tmp_path_factory.mktemp("start"))


@pytest.mark.parametrize(
    ("method", "others"), [("dpo", some_pairs(7)), pytest.param("kto", some_likes(7), marks=pytest.mark.slow)]
)
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(start, tmp_path, method, others):
    examples = (*some_examples(3), *others)
    replayed = some_examples(5)
    job = a_preference_job(start, tmp_path / "a", method=method, num_sft_steps=2, max_steps=6, num_replayed_per_step=2)
    whole, expected, expected_adapter = prefer(job, examples, replayed=replayed)
    cut = in_folder(job, tmp_path / "b")
    for stop_after in (1, 4):  # in the middle of the corrections, and of what follows
        with pytest.raises(InterruptedRun, match=f"after step {stop_after} of 6"):
            prefer(cut, examples, replayed=replayed, stop_after=stop_after)
        torch.rand(3)  # what happens between two processes leaves no trace
    resumed, events, adapter = prefer(cut, examples, replayed=replayed)
    assert [event.step for event in events if event.name == "resumed"] == [4]
    assert not [event for event in events if event.name == "preparing"], "the reference is read once per run"
    assert losses(events) == losses(expected)[4:]
    assert all(torch.equal(adapter[name], expected_adapter[name]) for name in expected_adapter)
    assert everything(tmp_path / "a", 6) == everything(tmp_path / "b", 6)
    assert resumed.final_loss == whole.final_loss


@pytest.mark.slow
def test_a_reference_cut_short_is_read_again(start, tmp_path):
    pairs = some_pairs(6)
    job = a_preference_job(start, tmp_path / "a", max_steps=4)
    _, expected, _ = prefer(job, pairs)
    cut = in_folder(job, tmp_path / "b")
    with pytest.raises(InterruptedRun):
        prefer(cut, pairs, stop_after=2)
    path = tmp_path / "b" / "reference.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    _, events, _ = prefer(cut, pairs)
    assert [event for event in events if event.name == "preparing"]
    assert losses(events) == losses(expected)[2:]


def test_other_feedback_or_settings_are_not_gone_on_with(start, tmp_path):
    pairs = some_pairs(6)
    job = a_preference_job(start, tmp_path / "run", max_steps=4)
    with pytest.raises(InterruptedRun):
        prefer(job, pairs, stop_after=2)
    with pytest.raises(EngineError, match=r"other data.*examples"):
        prefer(job, pairs[1:])
    with pytest.raises(EngineError, match="beta"):
        prefer(a_preference_job(start, tmp_path / "run", max_steps=4, beta=0.2), pairs)
    other = a_preference_job(start, tmp_path / "run", max_steps=4, num_replayed_per_step=1)
    with pytest.raises(EngineError, match="replay"):
        prefer(other, pairs, replayed=some_examples(1))


@pytest.mark.slow
def test_a_full_disk_keeps_the_newest_whole_checkpoint(start, tmp_path, monkeypatch):
    pairs = some_pairs(6)
    job = a_preference_job(start, tmp_path / "run", max_steps=4)
    plain = checkpoint.save_file

    def full(tensors, path, **rest):
        if "partial-4" in str(path):
            raise OSError(28, "No space left on device")
        plain(tensors, path, **rest)

    monkeypatch.setattr("duologue.engine.hf.checkpoint.save_file", full)
    with pytest.raises(EngineError, match="step 2 is whole"):
        prefer(job, pairs)
    monkeypatch.undo()
    _, events, _ = prefer(job, pairs)
    assert [event.step for event in events if event.name == "step"] == [3, 4]
    manifest = tmp_path / "run" / "checkpoints" / "step-00000004" / "manifest.json"
    assert json.loads(manifest.read_text())["job"]["method"] == "dpo"
