"""Fitting: the exact loss, whatever the split into micro-batches, and what is said and saved."""

import itertools
import json
import math

import pytest
import torch

from duologue.engine import BaseModel, LoraSettings
from duologue.engine.hf.batches import collate, step_batch
from duologue.engine.hf.load import load_model
from duologue.engine.hf.loss import summed_loss
from duologue.engine.hf.optimizer import learning_rate
from duologue.errors import EngineError
from tests.engine.fitting import fit, losses
from tests.engine.made import a_job, some_examples


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
    second = [step_batch(examples, step, batch_size=4, seed=1) for step in range(13, 26)]
    assert first != second, "each epoch has an order of its own"
    padded = sum(len(batch) * max(e.num_tokens for e in batch) for batch in first)
    assert sum(example.num_tokens for example in examples) / padded > 0.85


def test_the_learning_rate_rises_linearly_then_falls_to_a_tenth(tmp_path):
    job = a_job(BaseModel("x"), tmp_path, max_steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(job, step) for step in range(100)]
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
