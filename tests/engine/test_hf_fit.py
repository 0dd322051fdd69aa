"""Fitting: exact loss, exact resume, survival of crashes and full disks."""

import itertools
import json
import math
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from duologue.engine import BaseModel, Event, LoraSettings, open_trainer
from duologue.engine.hf.batches import collate, step_batch
from duologue.engine.hf.checkpoint import Checkpoint, load_newest, save_checkpoint
from duologue.engine.hf.fit import _learning_rate
from duologue.engine.hf.load import load_model
from duologue.engine.hf.loss import summed_loss
from duologue.errors import EngineError, InterruptedRun
from tests.engine.made import a_job, some_examples


def fit(job, examples, *, validation=(), stop_after=None):
    """Run a fit; return the result, the events, and the adapter's tensors."""
    events: list[Event] = []
    should_stop = threading.Event()

    def on_event(event):
        events.append(event)
        if event.name == "step" and event.step == stop_after:
            should_stop.set()

    result = open_trainer("hf").fit(job, examples, validation, on_event=on_event, should_stop=should_stop)
    return result, events, load_file(result.adapter.folder / "adapter_model.safetensors")


def losses(events):
    return [event.values["loss"] for event in events if event.name == "step"]


def test_training_lowers_the_loss_and_moves_every_adapted_layer(tiny_model, tmp_path):
    examples = some_examples(8)
    _, events, adapter = fit(a_job(BaseModel(tiny_model), tmp_path, max_steps=30), examples)
    assert losses(events)[-1] < losses(events)[0] - 0.3
    assert all(event.values["grad_norm"] > 0 for event in events if event.name == "step")
    moved = [name for name, tensor in adapter.items() if "lora_B" in name and tensor.abs().max() > 0]
    assert len(moved) == 2 * 7, "seven linear layers in each of two blocks"


@pytest.mark.parametrize("micro, accumulation", [(1, 8), (2, 4), (8, 1)])
def test_the_split_into_micro_batches_does_not_change_the_step(tiny_model, tmp_path, micro, accumulation):
    examples = some_examples(16)
    whole, split = tmp_path / "whole", tmp_path / "split"
    base = BaseModel(tiny_model)
    _, expected, expected_adapter = fit(
        a_job(base, whole, micro_batch_size=4, gradient_accumulation_steps=2, max_steps=2), examples
    )
    _, events, adapter = fit(
        a_job(base, split, micro_batch_size=micro, gradient_accumulation_steps=accumulation, max_steps=2), examples
    )
    assert losses(events) == pytest.approx(losses(expected), rel=1e-5)
    for name, tensor in adapter.items():
        torch.testing.assert_close(tensor, expected_adapter[name], rtol=2e-3, atol=2e-5)


def test_the_loss_is_the_mean_over_all_trained_tokens_of_the_global_batch(tiny_model, tmp_path):
    examples = some_examples(4)
    _, events, _ = fit(a_job(BaseModel(tiny_model), tmp_path, max_steps=1), examples)
    model = load_model(BaseModel(tiny_model)).eval()
    total = count = 0
    for example in examples:
        logits_TV = model(input_ids=torch.tensor([example.input_ids])).logits[0].log_softmax(-1)
        for at, label in enumerate(example.labels[1:]):
            if label != -100:
                total -= float(logits_TV[at, label])
                count += 1
    assert losses(events)[0] == pytest.approx(total / count, rel=1e-4)


def test_a_padded_batch_has_the_loss_of_its_examples_alone(tiny_model):
    model = load_model(BaseModel(tiny_model)).eval()
    examples = some_examples(5)
    with torch.inference_mode():
        together = float(summed_loss(model, collate(examples, pad_token_id=2, device=torch.device("cpu"))))
        alone = sum(
            float(summed_loss(model, collate([example], pad_token_id=2, device=torch.device("cpu"))))
            for example in examples
        )
    assert together == pytest.approx(alone, rel=1e-5)


def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tiny_model, tmp_path):
    examples = some_examples(12)
    lora = LoraSettings(rank=4, alpha=8, dropout=0.1)
    base = BaseModel(tiny_model)
    _, expected, expected_adapter = fit(a_job(base, tmp_path / "a", lora=lora, max_steps=7), examples)
    with pytest.raises(InterruptedRun, match="after step 3 of 7"):
        fit(a_job(base, tmp_path / "b", lora=lora, max_steps=7), examples, stop_after=3)
    _, events, adapter = fit(a_job(base, tmp_path / "b", lora=lora, max_steps=7), examples)
    assert [event.step for event in events if event.name == "resumed"] == [3]
    assert losses(events) == losses(expected)[3:]
    assert all(torch.equal(adapter[name], expected_adapter[name]) for name in expected_adapter)


def test_a_killed_run_resumes_and_equals_an_uninterrupted_one(tiny_model, tmp_path):
    examples = some_examples(12)
    job_code = (
        "import sys, threading; from pathlib import Path\n"
        "from tests.engine.made import a_job, some_examples\n"
        "from duologue.engine import BaseModel, open_trainer\n"
        f"job = a_job(BaseModel({tiny_model!r}), Path({str(tmp_path / 'killed')!r}), max_steps=400)\n"
        "open_trainer('hf').fit(job, some_examples(12), (), on_event=print, should_stop=threading.Event())\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}"}
    process = subprocess.Popen([sys.executable, "-c", job_code], env=environment, stdout=subprocess.PIPE, cwd=root)
    checkpoints = tmp_path / "killed" / "checkpoints"
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    killed_at = max(int(path.name.removeprefix("step-")) for path in checkpoints.glob("step-*"))
    assert killed_at < 400
    # The step count decides the schedule, so the resumed run keeps it; it is stopped soon after it went on.
    base = BaseModel(tiny_model)
    with pytest.raises(InterruptedRun):
        fit(a_job(base, tmp_path / "killed", max_steps=400), examples, stop_after=killed_at + 3)
    with pytest.raises(InterruptedRun):
        fit(a_job(base, tmp_path / "whole", max_steps=400), examples, stop_after=killed_at + 3)
    resumed, whole = (
        load_file(tmp_path / name / "checkpoints" / f"step-{killed_at + 3:08d}" / "adapter.safetensors")
        for name in ("killed", "whole")
    )
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_a_damaged_checkpoint_is_passed_over_with_a_word(tiny_model, tmp_path):
    examples = some_examples(8)
    fit(a_job(BaseModel(tiny_model), tmp_path, max_steps=4), examples)
    newest = tmp_path / "checkpoints" / "step-00000004" / "adapter.safetensors"
    raw = bytearray(newest.read_bytes())
    raw[-1] ^= 1
    newest.write_bytes(raw)
    _, events, _ = fit(a_job(BaseModel(tiny_model), tmp_path, max_steps=4), examples)
    warnings = [event.values["text"] for event in events if event.name == "warning"]
    assert warnings == ["checkpoint step-00000004 is damaged (adapter.safetensors) and is passed over"]
    assert [event.step for event in events if event.name == "resumed"] == [2]


def test_a_checkpoint_without_its_manifest_is_no_checkpoint(tmp_path):
    tensors = {"x": torch.zeros(2)}
    for step in (1, 2):
        save_checkpoint(Checkpoint(step, "job", tensors, tensors, tensors), tmp_path, keep=2)
    (tmp_path / "step-00000002" / "manifest.json").unlink()
    (tmp_path / ".partial-3").mkdir()
    said = []
    found = load_newest(tmp_path, job="job", on_skip=said.append)
    assert found is not None and found.step == 1
    assert "incomplete" in said[0]
    assert not (tmp_path / ".partial-3").exists()


def test_a_checkpoint_of_another_job_is_refused(tmp_path):
    tensors = {"x": torch.zeros(2)}
    save_checkpoint(Checkpoint(1, "one", tensors, tensors, tensors), tmp_path, keep=1)
    with pytest.raises(EngineError, match="another configuration or other data"):
        load_newest(tmp_path, job="other", on_skip=print)


def test_a_full_disk_keeps_the_last_checkpoint_whole(tmp_path):
    small, large = {"x": torch.zeros(8)}, {"x": torch.zeros(300_000)}
    save_checkpoint(Checkpoint(1, "job", small, small, small), tmp_path, keep=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(EngineError, match="the checkpoint of step 1 is whole"):
            save_checkpoint(Checkpoint(2, "job", large, large, large), tmp_path, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    found = load_newest(tmp_path, job="job", on_skip=pytest.fail)
    assert found is not None and found.step == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001"]


def test_a_loss_that_is_not_a_number_stops_before_the_update_and_names_the_rows(tiny_model, tmp_path):
    examples = some_examples(4)
    huge = LoraSettings(rank=1, alpha=2**127)  # the second step multiplies by it and overflows
    with pytest.raises(EngineError, match=r"nothing was updated") as caught:
        fit(a_job(BaseModel(tiny_model), tmp_path, lora=huge, learning_rate=1.0), examples)
    assert "made.json:" in caught.value.where


def test_only_the_chosen_last_blocks_are_adapted(tiny_model, tmp_path):
    lora = LoraSettings(rank=4, alpha=8, num_layers=1)
    _, _, adapter = fit(a_job(BaseModel(tiny_model), tmp_path, lora=lora, max_steps=1), some_examples(4))
    assert {name.split(".layers.")[1].split(".")[0] for name in adapter} == {"1"}


def test_unknown_target_modules_are_an_error_that_names_the_key(tiny_model, tmp_path):
    lora = LoraSettings(rank=4, alpha=8, target_modules=("no_such_layer",))
    with pytest.raises(EngineError, match=r"lora\.target_modules"):
        fit(a_job(BaseModel(tiny_model), tmp_path, lora=lora), some_examples(4))


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_a_quantised_folder_trains_and_reloads(tiny_model, tmp_path, quantization):
    base = BaseModel(tiny_model, quantization=quantization)
    result, events, _ = fit(a_job(base, tmp_path, max_steps=12), some_examples(8))
    assert losses(events)[-1] < losses(events)[0]
    assert result.reload_max_difference == 0.0


def test_gradient_checkpointing_gives_the_same_weights(tiny_model, tmp_path):
    examples = some_examples(8)
    base = BaseModel(tiny_model)
    _, _, plain = fit(a_job(base, tmp_path / "a"), examples)
    _, _, recomputed = fit(a_job(base, tmp_path / "b", use_gradient_checkpointing=True), examples)
    for name, tensor in plain.items():
        torch.testing.assert_close(recomputed[name], tensor, rtol=1e-4, atol=1e-6)


def test_every_example_is_seen_once_per_epoch_and_batches_hold_similar_lengths():
    examples = some_examples(50)
    for epoch in range(2):
        seen = [
            example.source
            for step in range(epoch * 13, epoch * 13 + 13)
            for example in step_batch(examples, step, batch_size=4, seed=1)
        ]
        assert sorted(seen) == sorted(example.source for example in examples)
    first = [step_batch(examples, step, batch_size=4, seed=1) for step in range(13)]
    padded = sum(len(batch) * max(e.num_tokens for e in batch) for batch in first)
    assert sum(example.num_tokens for example in examples) / padded > 0.85


def test_the_learning_rate_rises_linearly_then_falls_to_a_tenth(tmp_path):
    job = a_job(BaseModel("x"), tmp_path, max_steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [_learning_rate(job, step) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert all(before >= after for before, after in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


def test_validation_loss_is_reported_at_its_steps(tiny_model, tmp_path):
    examples = some_examples(10)
    job = a_job(BaseModel(tiny_model), tmp_path, eval_every_steps=3, max_steps=4)
    _, events, _ = fit(job, examples[:8], validation=examples[8:])
    evaluated = [(event.step, event.values["validation_loss"]) for event in events if event.name == "evaluated"]
    assert [step for step, _ in evaluated] == [3, 4]
    assert all(math.isfinite(loss) and loss > 0 for _, loss in evaluated)


def test_the_saved_adapter_names_its_base(tiny_model, tmp_path):
    result, _, _ = fit(a_job(BaseModel(tiny_model), tmp_path, max_steps=1), some_examples(4))
    config = json.loads((result.adapter.folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == tiny_model
    assert config["r"] == 4
