"""Memory that runs out, numbers that are none, and the largest batch that is tried first."""

import itertools
import shutil
import weakref
from dataclasses import replace

import pytest
import torch

from duologue.engine import BaseModel, LoraSettings
from duologue.engine.hf import objective, passes
from duologue.engine.hf.batches import BatchOrder, micro_batches
from duologue.engine.hf.fit import Fit
from duologue.engine.hf.largest import largest_micro_batch
from duologue.engine.hf.offload import offloaded
from duologue.engine.hf.processes import Alone
from duologue.engine.hf.recover import is_out_of_memory, way_out
from duologue.errors import EngineError, InterruptedRun
from tests.engine.fitting import fit, losses, said
from tests.engine.made import a_job, some_examples

DROPOUT = LoraSettings(rank=4, alpha=8, dropout=0.1)


class Limited:
    """The loss, with a memory that holds so many tokens and runs out now and then."""

    def __init__(self, monkeypatch, *, most_tokens=10**9, fails_at=()):
        self.real = objective.summed_loss
        self.most_tokens, self.fails_at = most_tokens, set(fails_at)
        self.calls = 0
        self.sizes = []
        self.tokens = []  # padding left out
        monkeypatch.setattr(objective, "summed_loss", self)

    def __call__(self, model, batch):
        self.calls += 1
        size = batch["input_ids"].numel()
        loss = self.real(model, batch)  # a graph is there, as when a GPU is full
        if size > self.most_tokens or self.calls in self.fails_at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.sizes.append(size)
        self.tokens.append(int(batch["attention_mask"].sum()) if "attention_mask" in batch else size)
        return loss


def test_the_step_is_done_again_with_half_the_micro_batch_and_the_same_examples(tiny_model, tmp_path, monkeypatch):
    examples = some_examples(16)
    job = a_job(BaseModel(tiny_model), tmp_path / "a", micro_batch_size=4, gradient_accumulation_steps=2, max_steps=3)
    _, expected, expected_adapter = fit(job, examples)
    limited = Limited(monkeypatch, most_tokens=40)
    result, events, adapter = fit(replace(job, run_folder=tmp_path / "b"), examples)
    assert max(limited.sizes) <= 40
    assert losses(events) == pytest.approx(losses(expected), rel=1e-5)
    for name, tensor in adapter.items():
        torch.testing.assert_close(tensor, expected_adapter[name], rtol=2e-3, atol=2e-5)
    for name in ("learning_rate", "num_tokens", "num_trained_tokens", "epoch"):
        assert [values[name] for values in said(events, "step")] == [values[name] for values in said(expected, "step")]
    assert result.changes == (
        "from step 1 on: micro-batches of 2 instead of 4, 4 per step instead of 2 (the same examples per step)",
        "from step 1 on: micro-batches of 1 instead of 2, 8 per step instead of 4 (the same examples per step)",
    )
    warnings = [values["text"] for values in said(events, "warning")]
    assert len(warnings) == 2 and warnings[0].startswith("memory ran out (CUDA out of memory. Tried to allocate")


@pytest.mark.parametrize("call", [4, 5])
def test_nothing_is_counted_twice_wherever_in_the_step_memory_runs_out(tiny_model, tmp_path, monkeypatch, call):
    """Dropout draws from the step's start again: a failure in the first or the second micro-batch ends the same."""
    examples = some_examples(16)
    job = a_job(BaseModel(tiny_model), tmp_path / "a", lora=DROPOUT, micro_batch_size=4, max_steps=4)
    with monkeypatch.context() as patched:
        Limited(patched, fails_at=[4])  # one trial, two micro-batches of step 1, then the first of step 2
        _, expected, expected_adapter = fit(job, examples)
    limited = Limited(monkeypatch, fails_at=[call])
    result, events, adapter = fit(replace(job, run_folder=tmp_path / "b"), examples)
    assert result.changes[0].startswith("from step 2 on: micro-batches of 2 instead of 4")
    assert losses(events) == losses(expected)
    assert all(torch.equal(adapter[name], expected_adapter[name]) for name in adapter)
    assert limited.calls == 1 + 2 + (call - 3) + 3 * 4


def test_the_ladder_goes_on_to_checkpointing_and_ends_in_an_error_that_says_what_to_do(
    tiny_model, tmp_path, monkeypatch
):
    job = a_job(BaseModel(tiny_model), tmp_path, max_steps=2)
    Limited(monkeypatch, most_tokens=1)
    events = []
    with pytest.raises(EngineError, match="memory ran out in step 1 with the smallest settings there are") as caught:
        fit(job, some_examples(8), on_event=events.append)
    assert "data.max_length_tokens" in caught.value.action
    changes = [values["change"] for values in said(events, "warning")]
    assert "micro-batches of 1" in changes[0] and "gradient checkpointing" in changes[1] and len(changes) == 2


def test_packed_rows_become_shorter_with_the_same_examples_per_step(tiny_model, tmp_path, monkeypatch):
    examples = some_examples(16)
    job = a_job(BaseModel(tiny_model), tmp_path / "a", pack_length_tokens=100, max_steps=2)
    _, expected, _ = fit(job, examples)
    Limited(monkeypatch, most_tokens=60)
    result, events, _ = fit(replace(job, run_folder=tmp_path / "b"), examples)
    assert "packed rows of 50 tokens instead of 100" in result.changes[0]
    assert losses(events) == pytest.approx(losses(expected), rel=1e-5)


def test_a_changed_setting_survives_an_interruption(tiny_model, tmp_path, monkeypatch):
    examples = some_examples(16)
    job = a_job(BaseModel(tiny_model), tmp_path / "a", lora=DROPOUT, micro_batch_size=4, max_steps=5)
    with monkeypatch.context() as patched:
        Limited(patched, fails_at=[4])
        whole, expected, expected_adapter = fit(job, examples)
    cut = replace(job, run_folder=tmp_path / "b")
    with monkeypatch.context() as patched:
        Limited(patched, fails_at=[4])
        with pytest.raises(InterruptedRun):
            fit(cut, examples, stop_after=3)
    result, events, adapter = fit(cut, examples)
    assert result.changes == whole.changes
    assert said(events, "warning") == [{"text": f"as before the interruption, {whole.changes[0]}"}]
    assert losses(events) == losses(expected)[3:]
    assert all(torch.equal(adapter[name], expected_adapter[name]) for name in adapter)


def test_memory_that_runs_out_in_an_evaluation_makes_its_batches_smaller(tiny_model, tmp_path, monkeypatch):
    examples = some_examples(12)
    job = a_job(BaseModel(tiny_model), tmp_path / "a", max_steps=1, eval_every_steps=1)
    _, expected, _ = fit(job, examples, validation=examples[:6])
    Limited(monkeypatch, fails_at=[5])  # a trial, two micro-batches, one of the evaluation
    result, events, _ = fit(replace(job, run_folder=tmp_path / "b"), examples, validation=examples[:6])
    assert "micro-batches of 1 instead of 2" in result.changes[0]
    before, after = (said(found, "evaluated")[0]["validation_loss"] for found in (expected, events))
    assert after == pytest.approx(before, rel=1e-5)


def test_the_graph_of_a_failed_attempt_is_gone_before_the_next(tiny_model, tmp_path, monkeypatch):
    """An exception's traceback holds every tensor of its frames; on a full GPU the retry would fail as well."""
    alive = []
    real = passes.free_memory

    def counted():
        real()
        alive.append(sum(reference() is not None for reference in graphs))

    class Watched(Limited):
        def __call__(self, model, batch):
            try:
                return super().__call__(model, batch)
            finally:
                graphs.append(weakref.ref(batch["input_ids"]))

    graphs = []
    monkeypatch.setattr(passes, "free_memory", counted)
    Watched(monkeypatch, fails_at=[1, 3])
    fit(a_job(BaseModel(tiny_model), tmp_path, micro_batch_size=4, max_steps=1), some_examples(8))
    assert alive == [0, 0]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_memory_errors_are_known_by_type_or_words(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory")]
)
def test_other_errors_are_not_taken_for_memory(error):
    assert not is_out_of_memory(error)


def test_the_ways_out_keep_the_global_batch(tmp_path):
    for micro, accumulation in [(8, 1), (6, 2), (5, 3), (3, 1), (1, 7)]:
        job = a_job(BaseModel("x"), tmp_path, micro_batch_size=micro, gradient_accumulation_steps=accumulation)
        tried = []
        while (way := way_out(job, longest_tokens=50, has_gpu=True)) is not None:
            job = way.job
            assert job.examples_per_step == micro * accumulation
            tried.append((job.micro_batch_size, job.use_gradient_checkpointing, job.use_activation_offload))
        assert tried[-2:] == [(1, True, False), (1, True, True)]
        sizes = [size for size, *_ in tried]
        assert all(2 * new <= old or new == old == 1 for old, new in itertools.pairwise([micro, *sizes]))


def test_with_and_without_the_trial_the_run_is_the_same_bit_for_bit(tiny_model, tmp_path, monkeypatch):
    examples = some_examples(12)
    settings = {"lora": DROPOUT, "neftune_alpha": 5.0, "max_steps": 3}
    _, expected, expected_adapter = fit(a_job(BaseModel(tiny_model), tmp_path / "a", **settings), examples)
    assert len(said(expected, "tried")) == 1
    monkeypatch.setattr(Fit, "prepare", lambda self: None)
    _, events, adapter = fit(a_job(BaseModel(tiny_model), tmp_path / "b", **settings), examples)
    assert said(events, "tried") == []
    assert losses(events) == losses(expected)
    assert all(torch.equal(adapter[name], expected_adapter[name]) for name in adapter)


@pytest.mark.parametrize("pack_length_tokens", [0, 45])
def test_the_largest_batch_of_the_whole_run_is_tried_before_the_first_step(
    tiny_model, tmp_path, monkeypatch, pack_length_tokens
):
    examples = some_examples(22)
    limited = Limited(monkeypatch)
    job = a_job(BaseModel(tiny_model), tmp_path, max_steps=7, pack_length_tokens=pack_length_tokens)
    _, events, _ = fit(job, examples)
    assert limited.tokens[0] == max(limited.tokens[1:]), "padding does not go through this model"
    names = [event.name for event in events]
    assert names.index("tried") < names.index("step")
    order = BatchOrder([example.num_tokens for example in examples], batch_size=4, seed=job.seed)
    sizes = [
        batch["input_ids"].numel()
        for step in range(4, 7)
        for batch in micro_batches(
            [examples[place] for place in order.batch(step)],
            micro_batch_size=2,
            pack_length_tokens=pack_length_tokens,
            pad_token_id=0,
            device=torch.device("cpu"),
        )
    ]
    lengths = [example.num_tokens for example in examples]
    largest = largest_micro_batch(order, job, lengths, first_step=4, processes=Alone())
    tokens = [lengths[place] for place in largest]
    assert max(sizes) == (sum(tokens) if pack_length_tokens else len(tokens) * max(tokens))


def test_the_disk_is_looked_at_before_the_first_step(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**30, 2**30, 2**20))
    events = []
    with pytest.raises(EngineError, match="are free on the disk of the run"):
        fit(a_job(BaseModel(tiny_model), tmp_path), some_examples(8), on_event=events.append)
    assert not said(events, "step")


class Poisoned(Limited):
    """The loss, which is not a number as soon as a certain token is among the input."""

    token = 0

    def __call__(self, model, batch):
        loss = super().__call__(model, batch)
        return loss * float("nan") if bool((batch["input_ids"] == self.token).any()) else loss


def test_a_loss_that_is_not_a_number_stops_before_the_update_and_names_the_row(tiny_model, tmp_path, monkeypatch):
    examples = list(some_examples(16))
    job = a_job(BaseModel(tiny_model), tmp_path / "a", lora=DROPOUT, max_steps=4, save_every_steps=10)
    order = BatchOrder([example.num_tokens for example in examples], batch_size=4, seed=job.seed)
    bad = order.batch(2)[1]
    examples[bad] = replace(examples[bad], input_ids=(7, *examples[bad].input_ids[1:]), source="data/lila.json:214")
    with pytest.raises(InterruptedRun):
        fit(job, examples, stop_after=2)
    expected = tmp_path / "a" / "checkpoints" / "step-00000002"
    Poisoned(monkeypatch).token = 7
    monkeypatch.setattr(Poisoned, "token", 7)
    with pytest.raises(EngineError, match=r"step 3 has loss nan .* nothing was updated") as caught:
        fit(replace(job, run_folder=tmp_path / "b"), examples)
    assert caught.value.where == "data/lila.json:214", "one of four, found by trying them one by one"
    assert "the checkpoint of step 2 is on disk" in caught.value.found
    kept = tmp_path / "b" / "checkpoints" / "step-00000002"
    for path in expected.iterdir():
        assert (kept / path.name).read_bytes() == path.read_bytes(), "weights, optimizer and generators as before"


def test_a_gradient_that_is_not_a_number_is_found_too(tiny_model, tmp_path):
    huge = LoraSettings(rank=1, alpha=2**127)  # the second step multiplies by it and overflows
    with pytest.raises(EngineError, match=r"nothing was updated") as caught:
        fit(a_job(BaseModel(tiny_model), tmp_path, lora=huge, learning_rate=1.0), some_examples(4))
    assert "made.json:" in caught.value.where
    assert "lower training.learning_rate" in caught.value.action


def test_offloaded_activations_give_the_same_gradients_and_leave_the_weights_where_they_are():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.GELU(), torch.nn.Linear(64, 64))
    inputs = torch.randn(32, 64)
    model(inputs).square().sum().backward()
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    moved = []
    real = torch.empty
    try:
        torch.empty = lambda *arguments, **settings: moved.append(arguments[0]) or real(*arguments, **settings)
        with offloaded(model, smallest_bytes=1):
            loss = model(inputs).square().sum()
    finally:
        torch.empty = real
    loss.backward()
    assert all(torch.equal(p.grad, before) for p, before in zip(model.parameters(), expected, strict=True))
    assert moved and all(tuple(size) == (32, 64) for size in moved), "activations only, no weight of 64 x 64"
