"""`probe`: a few real optimizer steps of a job, measured; nothing is saved.

The steps are steps of the job itself: the one with the largest micro-batch, which decides the memory, and one of middle
size, which decides the speed. Each forward is timed by a hook where it begins, so every micro-batch is a measurement.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from duologue.engine.hf import fast_path
from duologue.engine.hf.adapter import with_adapter
from duologue.engine.hf.attention import takes_documents
from duologue.engine.hf.batches import BatchOrder
from duologue.engine.hf.fit import Fit
from duologue.engine.hf.load import HfModel, device, load_model, load_tokenizer
from duologue.engine.hf.loss import find_head
from duologue.engine.hf.memory_use import peak_resident_bytes, used_on_gpu_bytes
from duologue.engine.hf.randomness import seed_all
from duologue.engine.hf.recover import is_out_of_memory
from duologue.engine.job import Event, Example, TrainingJob
from duologue.engine.packing import pack
from duologue.engine.probed import MicroBatch, MicroStep, Probe
from duologue.errors import EngineError

_MOST_STEPS_LISTED = 20_000  # the rest of a longer run is of mean length
_LEAST_MICRO_STEPS = 2  # the second holds the gradients of the first, as in the run


def probe(job: TrainingJob, examples: Sequence[Example]) -> Probe:
    """Return what a few steps of a job need and take on this machine.

    Args:
        job: The job that is planned; its run folder is neither read nor written.
        examples: The training split.

    Raises:
        EngineError: The model cannot be loaded, memory ran out, or no gradient reaches the adapter.
    """
    assert examples, "a plan without examples must not reach the engine"
    fast_path.prepare(job)
    seed_all(job.seed)
    used_before = used_on_gpu_bytes()
    started = time.perf_counter()
    model = with_adapter(load_model(job.base), job)
    load_seconds = time.perf_counter() - started
    pad = load_tokenizer(job.base).pad_token_id
    return probe_model(model, job, examples, pad_token_id=pad, load_seconds=load_seconds, used_before_bytes=used_before)


def probe_model(
    model: HfModel,
    job: TrainingJob,
    examples: Sequence[Example],
    *,
    pad_token_id: int,
    load_seconds: float = 0.0,
    used_before_bytes: int = 0,
) -> Probe:
    """Return what a few steps of a job need and take with a model that is loaded already.

    Args:
        model: With an adapter on it; its adapter is trained by the steps.
        job: The job.
        examples: The training split.
        pad_token_id: Fills short rows.
        load_seconds: Passed on into the result.
        used_before_bytes: Memory of the GPU that was in use before the model was loaded.

    Raises:
        EngineError: As `probe`.
    """
    lengths = [example.num_tokens for example in examples]
    pads = not takes_documents(model.get_base_model())
    schedule, tokens = _schedule(job, lengths, pads=pads)
    events: list[Event] = []
    shortened = job
    if not job.pack_length_tokens:  # packed rows need the examples of a whole step
        shortened = replace(job, gradient_accumulation_steps=min(job.gradient_accumulation_steps, _LEAST_MICRO_STEPS))
    fit = Fit(
        model,
        shortened,
        train=examples,
        validation=(),
        pad_token_id=pad_token_id,
        on_event=events.append,
        recovers=False,  # what does not fit is what a probe is to find out
    )
    find_head(model.get_base_model())  # tried once per model, with forwards that are no micro-batch's
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    micro_steps: list[MicroStep] = []
    rests: list[float] = []
    epoch = replace(shortened, max_steps=-(-len(lengths) // shortened.examples_per_step))
    first_epoch, _ = _schedule(epoch, lengths, pads=pads)
    short, typical, longest = _chosen_steps(first_epoch)
    try:
        for number in (short, longest, typical, short):
            clock = _Clock(fit)
            fit.step_number = number
            clock.step()
            micro_steps += clock.micro_steps(first_epoch[number])
            rests.append(clock.rest_seconds)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        largest = max(batch.num_tokens for step in first_epoch for batch in step)
        raise EngineError(
            f"memory ran out in the probe, whose largest micro-batch has {largest} tokens",
            action="Run duologue plan for settings that fit, for example --set training.micro_batch_size=1.",
        ) from error
    steps = [event.values for event in events if event.name == "step"][1:]
    allocated, reserved, on_device = _peaks(used_before_bytes)
    num_warm_up = len(micro_steps) // 4 if len(micro_steps) >= 8 else 1  # the first step also starts threads and caches
    return Probe(
        job=job,
        device=device().type,
        micro_steps=tuple(micro_steps[num_warm_up:]),
        optimizer_seconds=statistics.median(rests[1:]),
        peak_allocated_bytes=allocated,
        peak_reserved_bytes=reserved,
        peak_device_bytes=on_device,
        load_seconds=load_seconds,
        grad_norm=_checked([float(values["grad_norm"]) for values in steps]),
        num_tokens=sum(int(values["num_tokens"]) for values in steps),
        seconds=sum(float(values["seconds"]) for values in steps),
        schedule=schedule,
        schedule_tokens=tokens,
    )


class _Clock:
    """Times one step of a fit: where each forward begins, where the optimizer begins, where the step ends."""

    def __init__(self, fit: Fit) -> None:
        self._fit = fit
        self._begins: list[float] = []
        self._optimizer_begins = 0.0
        self.rest_seconds = 0.0

    def step(self) -> None:
        embedding = self._fit.model.get_base_model().get_input_embeddings()
        hooks = [
            embedding.register_forward_pre_hook(self._forward_begins),
            self._fit.optimizer.register_step_pre_hook(self._updates_begin),
        ]
        try:
            self._fit.step()
        finally:
            for hook in hooks:
                hook.remove()
        self.rest_seconds = _now() - self._optimizer_begins

    def micro_steps(self, batches: Sequence[MicroBatch]) -> list[MicroStep]:
        """The durations of the step's micro-batches, whose sizes are known beforehand."""
        ends = [*self._begins[1:], self._optimizer_begins]
        timed = zip(batches, self._begins, ends, strict=True)
        return [MicroStep(batch, end - begin) for batch, begin, end in timed]

    def _forward_begins(self, *_arguments: object) -> None:
        self._begins.append(_now())

    def _updates_begin(self, *_arguments: object) -> None:
        self._optimizer_begins = _now()


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # the loop reads the loss of every micro-batch, so it waits here anyway
    return time.perf_counter()


def _schedule(
    job: TrainingJob, lengths: Sequence[int], *, pads: bool
) -> tuple[tuple[tuple[MicroBatch, ...], ...], tuple[int, ...]]:
    """The micro-batches of the job's first steps, and their tokens without padding."""
    order = BatchOrder(lengths, batch_size=job.examples_per_step, seed=job.seed)
    steps = [[lengths[place] for place in order.batch(step)] for step in range(min(job.max_steps, _MOST_STEPS_LISTED))]
    return tuple(_batches(job, step, pads=pads) for step in steps), tuple(sum(step) for step in steps)


def _batches(job: TrainingJob, lengths: Sequence[int], *, pads: bool) -> tuple[MicroBatch, ...]:
    """The sizes of one step's micro-batches, as `batches.micro_batches` cuts them."""
    if job.pack_length_tokens:
        rows = pack(lengths, max(job.pack_length_tokens, *lengths), seed=0)
        parts = [[lengths[place] for place in row] for row in rows]
    else:
        size = job.micro_batch_size
        parts = [list(lengths[at : at + size]) for at in range(0, len(lengths), size)]
        if pads:
            return tuple(MicroBatch(len(part) * max(part), max(part)) for part in parts)
    return tuple(MicroBatch(sum(part), sum(length**2 for length in part) / sum(part)) for part in parts)


def _chosen_steps(steps: Sequence[Sequence[MicroBatch]]) -> tuple[int, int, int]:
    """Of the steps of an epoch: one at the lower quarter of the work, one in its middle, one with the largest batch."""
    work = [sum(batch.num_tokens for batch in batches) for batches in steps]
    largest = [max(batch.num_tokens for batch in batches) for batches in steps]
    ordered = sorted(range(len(steps)), key=lambda step: work[step])
    return ordered[len(steps) // 4], ordered[len(steps) // 2], max(ordered, key=lambda step: largest[step])


def _checked(norms: Sequence[float]) -> float:
    smallest = min(norms)
    if smallest <= 0:
        raise EngineError(
            "the gradient norm of a probed step is 0: nothing would be learned",
            where="lora.target_modules",
            action="Check that the adapted layers are part of the model's forward pass.",
        )
    return smallest


def _peaks(used_before_bytes: int) -> tuple[int, int, int]:
    """Allocated, reserved, device: on a CPU three times the peak of resident memory."""
    if torch.cuda.is_available():
        reserved = torch.cuda.max_memory_reserved()
        return torch.cuda.max_memory_allocated(), reserved, max(reserved, used_on_gpu_bytes() - used_before_bytes)
    resident = peak_resident_bytes()
    return resident, resident, resident
