"""Packed rows: no example notices its neighbour, and a packed step is the step it was without packing."""

import itertools
import threading

import pytest
import torch
from safetensors.torch import load_file
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig
from transformers import MistralForCausalLM as Mistral

from duologue.engine import BaseModel, Example, open_trainer
from duologue.engine.hf import fit as fit_module
from duologue.engine.hf.batches import BatchOrder, collate, collate_packed, micro_batches, step_batch
from duologue.engine.hf.loss import packing_gap, summed_loss
from duologue.errors import EngineError, InterruptedRun
from tests.engine.made import a_job, some_examples

CPU = torch.device("cpu")
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 1024,
    "max_position_embeddings": 128,
}


@pytest.fixture(scope="module", params=["llama-sdpa", "llama-eager", "mistral-window", "gemma2-window"])
def model(request):
    """Tiny models: plain attention both ways, and two whose layers look back 12 tokens only."""
    torch.manual_seed(0)
    name, _, attention = request.param.partition("-")
    if name == "llama":
        made = LlamaForCausalLM(LlamaConfig(**SIZES, attn_implementation=attention))
    elif name == "mistral":
        made = Mistral(MistralConfig(**SIZES, sliding_window=12, attn_implementation="sdpa"))
    else:
        made = Gemma2ForCausalLM(Gemma2Config(**SIZES, sliding_window=12, attn_implementation="eager"))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3)  # so that attention is not nearly even everywhere
    return made.eval()


@torch.no_grad()
def test_the_logits_of_a_packed_example_are_those_it_has_alone(model):
    examples = some_examples(5)
    batch = collate_packed(examples, device=CPU)
    packed_TV = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits[0]
    begin = 0
    for example in examples:
        alone_TV = model(input_ids=torch.tensor([example.input_ids])).logits[0]
        torch.testing.assert_close(packed_TV[begin : begin + len(alone_TV)], alone_TV, rtol=0, atol=1e-4)
        begin += len(alone_TV)
    assert begin == len(packed_TV)


def test_loss_and_gradients_of_a_packed_row_are_those_of_padded_rows(model):
    examples = some_examples(6)
    results = []
    for batch in (collate(examples, pad_token_id=0, device=CPU), collate_packed(examples, device=CPU)):
        model.zero_grad()
        loss = summed_loss(model, batch)
        loss.backward()
        results.append((loss.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    (padded_loss, padded), (packed_loss, packed) = results
    torch.testing.assert_close(packed_loss, padded_loss, rtol=1e-5, atol=1e-4)
    scale = max(float(gradient.abs().max()) for gradient in padded)
    for one, other in zip(packed, padded, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * max(1.0, scale))


def test_the_gap_of_a_packed_row_is_rounding_and_that_of_running_text_is_one(model):
    first, second = (example.input_ids[:16] for example in some_examples(8)[-2:])
    assert packing_gap(model, first, second) < 1e-4


def test_no_label_is_predicted_from_the_neighbour():
    examples = some_examples(3)
    batch = collate_packed(examples, device=CPU)
    ends = [end - 1 for end in itertools.accumulate(example.num_tokens for example in examples)]
    labels = batch["labels"][0].tolist()
    assert [labels[end] for end in ends] == [-100, -100, -100]
    assert sum(label != -100 for label in labels) == sum(example.num_trained_tokens for example in examples)
    assert [batch["position_ids"][0, begin].item() for begin in (0, ends[0] + 1, ends[1] + 1)] == [0, 0, 0]
    ids = batch["input_ids"][0].tolist()
    assert all(label in (-100, ids[at + 1]) for at, label in enumerate(labels[:-1]))


def test_packed_rows_hold_every_example_once_and_no_padding():
    examples = some_examples(40)
    rows = list(micro_batches(examples, micro_batch_size=4, pack_length_tokens=64, pad_token_id=0, device=CPU))
    assert all(row["input_ids"].shape[1] <= 64 for row in rows)
    assert sum(row["input_ids"].numel() for row in rows) == sum(example.num_tokens for example in examples)
    starts = [at for row in rows for at in (row["position_ids"][0] == 0).nonzero().flatten().tolist()]
    assert len(starts) == 40


def test_an_example_longer_than_a_row_gets_a_longer_row():
    long = Example(tuple(range(100)), tuple(range(100)), "made.json:1")
    rows = list(
        micro_batches([long, *some_examples(3)], micro_batch_size=4, pack_length_tokens=32, pad_token_id=0, device=CPU)
    )
    assert max(row["input_ids"].shape[1] for row in rows) == 100


def fit(job, examples, *, validation=(), stop_after=None):
    events, should_stop = [], threading.Event()

    def on_event(event):
        events.append(event)
        if event.name == "step" and event.step == stop_after:
            should_stop.set()

    result = open_trainer("hf").fit(job, examples, validation, on_event=on_event, should_stop=should_stop)
    steps = [event.values for event in events if event.name == "step"]
    evaluated = [event.values["validation_loss"] for event in events if event.name == "evaluated"]
    return steps, evaluated, load_file(result.adapter.folder / "adapter_model.safetensors")


def test_a_packed_run_takes_the_steps_of_an_unpacked_one(tiny_model, tmp_path):
    examples = some_examples(18)
    base = BaseModel(tiny_model)
    plain, plain_loss, expected = fit(
        a_job(base, tmp_path / "a", max_steps=3, eval_every_steps=3), examples[:14], validation=examples[14:]
    )
    packed, packed_loss, adapter = fit(
        a_job(base, tmp_path / "b", max_steps=3, eval_every_steps=3, pack_length_tokens=40),
        examples[:14],
        validation=examples[14:],
    )
    for name in ("loss", "grad_norm", "num_tokens", "num_trained_tokens", "learning_rate"):
        assert [step[name] for step in packed] == pytest.approx([step[name] for step in plain], rel=1e-4)
    assert packed_loss == pytest.approx(plain_loss, rel=1e-4)
    for name, tensor in adapter.items():
        torch.testing.assert_close(tensor, expected[name], rtol=2e-3, atol=3e-5)


def test_a_packed_run_that_was_interrupted_goes_on_exactly(tiny_model, tmp_path):
    examples = some_examples(14)
    base = BaseModel(tiny_model)
    _, _, expected = fit(a_job(base, tmp_path / "a", pack_length_tokens=40), examples)
    with pytest.raises(InterruptedRun):
        fit(a_job(base, tmp_path / "b", pack_length_tokens=40), examples, stop_after=2)
    _, _, resumed = fit(a_job(base, tmp_path / "b", pack_length_tokens=40), examples)
    for name, tensor in resumed.items():
        assert torch.equal(tensor, expected[name])


def test_a_model_that_mixes_packed_examples_is_refused(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "packing_gap", lambda *_: 0.7)
    with pytest.raises(EngineError, match="does not keep packed examples apart"):
        fit(a_job(BaseModel(tiny_model), tmp_path, pack_length_tokens=64), some_examples(4))


class Counting:
    """A sequence on disk, as it were: it counts how often an example is read."""

    def __init__(self, examples):
        self._examples = examples
        self.num_read = 0

    def __len__(self):
        return len(self._examples)

    def __getitem__(self, place):
        self.num_read += 1
        return self._examples[place]

    def __iter__(self):
        return (self[place] for place in range(len(self)))


def test_a_fit_reads_all_examples_once_and_then_only_those_of_each_step(tiny_model, tmp_path):
    train = Counting(some_examples(40))
    fit(a_job(BaseModel(tiny_model), tmp_path, max_steps=5, gradient_accumulation_steps=1), train)
    most = (
        40 + 5 * 2 + 1 + 2
    )  # one pass, five steps of two, the check of the adapter, and the largest batch tried first
    assert train.num_read <= most


def test_the_order_from_lengths_is_the_order_of_the_examples():
    examples = some_examples(37)
    order = BatchOrder([example.num_tokens for example in examples], batch_size=4, seed=9)
    for step in (0, 9, 3, 25, 10):
        assert [examples[place] for place in order.batch(step)] == step_batch(examples, step, batch_size=4, seed=9)
