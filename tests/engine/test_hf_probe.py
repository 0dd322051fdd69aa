"""The probe: real steps of a job, measured, with nothing left behind."""

import threading

import pytest

from duologue.engine import BaseModel, MicroBatch, open_trainer, probe_training
from duologue.engine.hf.batches import step_batch
from duologue.engine.hf.probe import probe_model
from duologue.errors import EngineError
from tests.engine.made import a_job, some_examples


def test_the_probe_measures_the_longest_and_a_typical_shape_of_the_data(tiny_model, tmp_path):
    examples = some_examples(40)
    found = probe_training(a_job(BaseModel(tiny_model), tmp_path), examples)
    longest = max(example.num_tokens for example in examples)
    lengths = [step.batch.length_tokens for step in found.micro_steps]
    assert longest in lengths
    assert min(lengths) < longest
    assert all(step.seconds > 0 for step in found.micro_steps)
    for batch in (step.batch for step in found.micro_steps):  # of two: a + b tokens, (a^2 + b^2) / (a + b) long
        assert batch.num_tokens / 2 <= batch.length_tokens < batch.num_tokens
    assert found.grad_norm > 0
    assert found.device == "cpu"
    assert found.peak_allocated_bytes == found.peak_device_bytes > 50 * 2**20
    assert found.load_seconds > 0 and found.tokens_per_second > 0


def test_the_parts_of_a_probed_step_add_up_to_the_step(tiny_model, tmp_path):
    found = probe_training(a_job(BaseModel(tiny_model), tmp_path), some_examples(40))
    parts = sum(step.seconds for step in found.micro_steps) + 3 * found.optimizer_seconds
    assert parts == pytest.approx(found.seconds, rel=0.5), "three steps are counted, the first is a warm-up"
    assert found.num_tokens > 0


def test_nothing_is_saved(tiny_model, tmp_path):
    folder = tmp_path / "run"
    probe_training(a_job(BaseModel(tiny_model), folder), some_examples(12))
    assert not folder.exists()


@pytest.mark.parametrize("pack_length_tokens", [0, 40])
def test_the_schedule_is_what_the_run_then_does(tiny_model, tmp_path, pack_length_tokens):
    examples = some_examples(12)
    job = a_job(BaseModel(tiny_model), tmp_path, max_steps=5, pack_length_tokens=pack_length_tokens)
    found = probe_training(job, examples)
    events = []
    open_trainer("hf").fit(job, examples, (), on_event=events.append, should_stop=threading.Event())
    tokens = [event.values["num_tokens"] for event in events if event.name == "step"]
    assert list(found.schedule_tokens) == tokens
    for step, batches in enumerate(found.schedule):
        examples_of_step = step_batch(examples, step, batch_size=job.examples_per_step, seed=job.seed)
        if pack_length_tokens:
            assert sum(batch.num_tokens for batch in batches) == sum(item.num_tokens for item in examples_of_step)
            assert all(batch.length_tokens <= batch.num_tokens <= 40 for batch in batches)
            continue
        assert len(batches) == job.gradient_accumulation_steps
        assert sum(batch.num_tokens for batch in batches) == sum(item.num_tokens for item in examples_of_step)
        longest = max(item.num_tokens for item in examples_of_step)
        assert longest / 2 < max(batch.length_tokens for batch in batches) <= longest
    shares_a_row = [batch.length_tokens < batch.num_tokens for batches in found.schedule for batch in batches]
    assert any(shares_a_row) == (pack_length_tokens > 0 or job.micro_batch_size > 1)


def test_a_probe_of_a_job_with_one_example_works(tiny_model, tmp_path):
    found = probe_training(a_job(BaseModel(tiny_model), tmp_path, micro_batch_size=1), some_examples(1))
    assert {step.batch for step in found.micro_steps} == {MicroBatch(8, 8)}


def test_a_model_whose_adapter_gets_no_gradient_is_refused(tiny_model, tmp_path):
    from duologue.engine.hf.adapter import with_adapter
    from duologue.engine.hf.load import load_model

    job = a_job(BaseModel(tiny_model), tmp_path)
    model = with_adapter(load_model(job.base), job)
    for name, parameter in model.named_parameters():
        if "lora_A" in name:
            parameter.data.zero_()  # with both halves zero, neither gets a gradient
    with pytest.raises(EngineError, match="gradient norm of a probed step is 0"):
        probe_model(model, job, some_examples(8), pad_token_id=0)


def test_a_missing_model_is_said_before_anything_is_measured(tmp_path):
    with pytest.raises(EngineError, match="cannot be loaded"):
        probe_training(a_job(BaseModel(str(tmp_path / "none.gguf")), tmp_path), some_examples(4))
