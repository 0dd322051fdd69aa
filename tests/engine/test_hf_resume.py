"""Interrupted and resumed equals uninterrupted, bit for bit, with everything that draws at random or keeps a state."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from duologue.engine import BaseModel, LoraSettings, SampleRequest
from duologue.engine.hf.randomness import random_state, restore_random
from duologue.errors import EngineError, InterruptedRun
from tests.engine.fitting import fit, losses, said
from tests.engine.made import a_job, some_examples

SAMPLES = SampleRequest(prompts=(("Hello?", (100, 101, 102)),), max_new_tokens=4, user_marks=("User:",))


def everything(folder, step):
    """All bytes of a checkpoint."""
    return {path.name: path.read_bytes() for path in (folder / "checkpoints" / f"step-{step:08d}").iterdir()}


@pytest.mark.parametrize(
    "changes",
    [
        {"lora": LoraSettings(rank=4, alpha=8, dropout=0.1), "neftune_alpha": 5.0, "lr_schedule": "linear"},
        {"pack_length_tokens": 60, "optimizer": "adamw_8bit", "weight_decay": 0.1},
        {"optimizer": "paged_adamw", "adapter_dtype": "bfloat16", "lora": LoraSettings(4, 8, lr_ratio=8.0)},
        {"lora": LoraSettings(4, 8, use_dora=True, use_rslora=True), "use_gradient_checkpointing": True},
        {"lora": LoraSettings(4, 8, init_weights="pissa")},
        {"eval_every_steps": 2, "early_stopping_patience": 3, "early_stopping_on": "replies", "samples": SAMPLES},
    ],
    ids=["dropout and noise", "packed and 8 bit", "bfloat16 and two rates", "DoRA", "PiSSA", "early stopping"],
)
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tiny_model, tmp_path, changes):
    examples = some_examples(12)
    job = a_job(BaseModel(tiny_model), tmp_path / "a", max_steps=5, **changes)
    whole, expected, expected_adapter = fit(job, examples, validation=examples[:2])
    cut = replace(job, run_folder=tmp_path / "b")
    for stop_after in (1, 3):
        with pytest.raises(InterruptedRun, match=f"after step {stop_after} of 5"):
            fit(cut, examples, validation=examples[:2], stop_after=stop_after)
        np.random.rand()  # what happens between two processes leaves no trace
        torch.rand(3)
    resumed, events, adapter = fit(cut, examples, validation=examples[:2])
    assert [event.step for event in events if event.name == "resumed"] == [3]
    assert losses(events) == losses(expected)[3:]
    assert all(torch.equal(adapter[name], expected_adapter[name]) for name in expected_adapter)
    assert everything(tmp_path / "a", 5) == everything(tmp_path / "b", 5), (
        "optimizer, generators, best weights, progress"
    )
    assert resumed.final_loss == whole.final_loss
    if "samples" in changes:
        texts = [event.values["text"] for event in expected if event.name == "reply" and event.step > 3]
        assert texts == [event.values["text"] for event in events if event.name == "reply"]
        assert len(said(events, "best")) == 1


def test_a_stop_during_an_evaluation_is_made_up_for(tiny_model, tmp_path):
    examples = some_examples(8)
    job = a_job(
        BaseModel(tiny_model), tmp_path / "a", max_steps=4, eval_every_steps=2, save_every_steps=10,
        early_stopping_patience=5,
    )  # fmt: skip
    _, expected, _ = fit(job, examples, validation=examples[:3])
    cut = replace(job, run_folder=tmp_path / "b")
    with pytest.raises(InterruptedRun, match="after step 2 of 4"):
        fit(cut, examples, validation=examples[:3], stop_after=2)  # set before the evaluation of step 2 begins
    _, events, _ = fit(cut, examples, validation=examples[:3])
    evaluated = [(event.step, event.values["validation_loss"]) for event in events if event.name == "evaluated"]
    assert evaluated == [
        (event.step, event.values["validation_loss"]) for event in expected if event.name == "evaluated"
    ]
    assert everything(tmp_path / "a", 4) == everything(tmp_path / "b", 4)


def test_a_damaged_checkpoint_is_passed_over_with_a_word_and_the_run_goes_on_from_the_one_before(tiny_model, tmp_path):
    examples = some_examples(8)
    job = a_job(BaseModel(tiny_model), tmp_path, max_steps=4)
    _, _, whole = fit(job, examples)
    newest = tmp_path / "checkpoints" / "step-00000004" / "adapter.safetensors"
    raw = bytearray(newest.read_bytes())
    raw[-1] ^= 1
    newest.write_bytes(raw)
    _, events, adapter = fit(job, examples)
    warnings = [values["text"] for values in said(events, "warning")]
    assert warnings == ["checkpoint step-00000004 is damaged (adapter.safetensors) and is passed over"]
    assert [event.step for event in events if event.name == "resumed"] == [2]
    assert all(torch.equal(adapter[name], whole[name]) for name in whole)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rate": 0.5}, "learning_rate: 0.01 -> 0.5"),
        ({"optimizer": "adamw_8bit"}, "optimizer: 'adamw' -> 'adamw_8bit'"),
        ({"neftune_alpha": 5.0}, "neftune_alpha: 0.0 -> 5.0"),
    ],
)
def test_another_job_is_refused_and_the_difference_shown(tiny_model, tmp_path, change, words):
    examples = some_examples(8)
    job = a_job(BaseModel(tiny_model), tmp_path, max_steps=3)
    with pytest.raises(InterruptedRun):
        fit(job, examples, stop_after=1)
    with pytest.raises(EngineError, match=words):
        fit(replace(job, **change), examples)


def test_other_examples_or_another_base_of_the_same_shape_are_refused(tiny_model, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    examples = some_examples(8)
    job = a_job(BaseModel(tiny_model), tmp_path / "run", max_steps=3)
    with pytest.raises(InterruptedRun):
        fit(job, examples, stop_after=1)
    with pytest.raises(EngineError, match=r"examples: 8, .* -> 7, "):
        fit(job, examples[:-1])
    other = AutoModelForCausalLM.from_pretrained(tiny_model)
    with torch.no_grad():
        other.get_input_embeddings().weight.mul_(1.5)
    other.save_pretrained(tmp_path / "other")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "other")
    with pytest.raises(EngineError, match="base weights: "):
        fit(replace(job, base=BaseModel(str(tmp_path / "other"))), examples)


def test_what_decides_nothing_may_change(tiny_model, tmp_path):
    examples = some_examples(8)
    job = a_job(BaseModel(tiny_model), tmp_path, max_steps=3)
    with pytest.raises(InterruptedRun):
        fit(job, examples, stop_after=2)
    _, events, _ = fit(replace(job, num_checkpoints=1, save_every_steps=1, samples=SAMPLES), examples)
    assert [event.step for event in events if event.name == "resumed"] == [2]


def test_a_finished_run_that_lost_its_end_is_finished_again_without_a_step(tiny_model, tmp_path):
    examples = some_examples(8)
    job = a_job(BaseModel(tiny_model), tmp_path, max_steps=2)
    result, _, adapter = fit(job, examples)
    again, events, same = fit(job, examples)
    assert losses(events) == [] and again.num_steps == 2 and again.final_loss == result.final_loss
    assert all(torch.equal(adapter[name], same[name]) for name in adapter)


def test_every_generator_goes_on_where_it_was():
    random.gauss(0, 1)  # keeps a second number back
    np.random.standard_normal()
    state = random_state()
    as_bytes = json.dumps({name: tensor.tolist() for name, tensor in state.items()})

    def draw():
        return (
            random.gauss(0, 1),
            random.random(),
            np.random.standard_normal(),
            np.random.rand(),
            torch.rand(2).tolist(),
        )

    first = draw()
    assert draw() != first
    restore_random(state)
    assert json.dumps({name: tensor.tolist() for name, tensor in random_state().items()}) == as_bytes
    assert draw() == first
