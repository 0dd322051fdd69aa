"""Forward and backward over the examples of a step, in micro-batches that become smaller when memory runs out."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from duologue.engine.hf.load import DTYPES, HfModel, device, quiet
from duologue.engine.hf.objective import CrossEntropy, MicroBatch, Objective
from duologue.engine.hf.offload import offloaded
from duologue.engine.hf.processes import Processes
from duologue.engine.hf.randomness import random_state, restore_random
from duologue.engine.hf.recover import free_memory, is_out_of_memory, way_out
from duologue.engine.job import Event, Example, OnEvent, TrainingJob
from duologue.errors import EngineError

T = TypeVar("T")


class Passes:
    """The model and the settings that may change on the way: the job as it is now, and the changes in words.

    Attributes:
        job: The settings in use.
        changes: What was changed after memory ran out, in order.
    """

    def __init__(
        self,
        model: HfModel,
        job: TrainingJob,
        *,
        pad_token_id: int,
        longest_tokens: int,
        processes: Processes,
        on_event: OnEvent,
        recovers: bool,
        objective: Objective | None = None,
    ) -> None:
        """Take a model with an adapter on it.

        Args:
            model: The model.
            job: The settings to begin with.
            pad_token_id: Fills short rows.
            longest_tokens: Of the longest example.
            processes: Who else trains.
            on_event: Told about changes.
            recovers: Whether to change settings when memory runs out, or to let the error through.
            objective: What a step minimises; None takes the cross entropy of the trained tokens.
        """
        self.model = model
        self.job = job
        self.changes: list[str] = []
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._longest_tokens = longest_tokens
        self._processes = processes
        self._on_event = on_event
        self._recovers = recovers
        self._device = device()
        self._objective = objective or CrossEntropy(pad_token_id=pad_token_id, device=self._device)

    def gradients(self, examples: Sequence[Example], *, step: int) -> float:
        """Leave the gradients of a global batch on the parameters; return its loss.

        The loss is the sum over the trained tokens (or pairs) of the whole batch, of all processes, over their number.

        Raises:
            EngineError: Memory ran out and nothing is left to change.
        """
        size = self._objective.size(examples)
        loss = self.with_room(lambda: self._of_all(examples, size), step=step)
        self._processes.sum_gradients(self.parameters)
        return self._processes.total(loss)

    @torch.no_grad()
    def summed_loss(self, examples: Sequence[Example], *, step: int) -> float:
        """Return the summed loss of examples in nats, without gradients."""

        def summed() -> float:
            return sum(float(self._loss(batch)) for batch in self._micro_batches(examples))

        return self.with_room(summed, step=step)

    def with_room(self, work: Callable[[], T], *, step: int) -> T:
        """Return what `work` returns, done again with changed settings as often as memory runs out.

        Every attempt begins with the same state of the random generators and without gradients.

        Raises:
            EngineError: Nothing is left to change.
        """
        begin = random_state() if self._recovers else {}
        while True:
            found = ""
            try:
                result = work()
            except (RuntimeError, MemoryError) as error:
                if not (self._recovers and is_out_of_memory(error)):
                    raise
                found = _first_line(error)
            # Here the exception is gone, and with its traceback the tensors of the failed attempt.
            if not self._processes.any(bool(found)):
                return result
            self.clear()
            free_memory()
            restore_random(begin)
            self._give_way(found or "in another process", step=step)

    def trial(self, examples: Sequence[Example], *, state_bytes: int) -> None:
        """Try forward and backward of one micro-batch beside all that a step holds, and leave no trace of it.

        Args:
            examples: Of the micro-batch.
            state_bytes: What the optimizer's state will take, before it exists.
        """
        begin = random_state()
        held = torch.empty(state_bytes, dtype=torch.uint8, device=self._device)
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)  # from the second micro-batch on they are there
        size = max(1, self._objective.size(examples))
        batches = list(self._micro_batches(examples))
        for number in range(self._processes.most(len(batches))):
            self._backward(batches[min(number, len(batches) - 1)], size)
        del held
        self.clear()
        restore_random(begin)

    def culprits(self, examples: Sequence[Example]) -> list[Example]:
        """Return those of a batch's examples whose loss or gradient is not a number, each tried alone."""
        found: list[Example] = []
        if self._processes.is_sharded:
            return []  # one alone cannot go forward: the others hold parts of the model
        for example in self._processes.part(examples):
            self.clear()
            loss = self._forward_backward([example], max(1, self._objective.size([example])))
            norms = [float(p.grad.norm()) for p in self.parameters if p.grad is not None]
            if not all(map(math.isfinite, [loss, *norms])):
                found.append(example)
        self.clear()
        return self._processes.gathered(found)

    def clear(self) -> None:
        """Drop the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def take_over(self, job: TrainingJob, changes: Sequence[str]) -> None:
        """Go on with settings that an earlier process had come to."""
        self.changes = list(changes)
        self._use(job)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Compute in the job's type."""
        dtype = DTYPES[self.job.base.compute_dtype]
        if dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=dtype)

    def _of_all(self, examples: Sequence[Example], size: int) -> float:
        """Do this process's part of a global batch; with a sharded base, as many forwards as any process does."""
        part = self._processes.part(examples)
        if not self._processes.is_sharded:
            return self._forward_backward(part, size)
        batches = list(self._micro_batches(part)) if part else []
        loss = sum(self._backward(batch, size) for batch in batches)
        for _ in range(self._processes.most(len(batches)) - len(batches)):
            for batch in self._micro_batches(examples[-1:]):
                self._backward(batch, math.inf)  # a gradient of zero: the others wait for this process's part
        return loss

    def _forward_backward(self, examples: Sequence[Example], size: int) -> float:
        return sum(self._backward(batch, size) for batch in self._micro_batches(examples))

    def _backward(self, batch: MicroBatch, size: float) -> float:
        keep = offloaded(self.model) if self.job.use_activation_offload else contextlib.nullcontext()
        with keep:
            summed = self._loss(batch)
        (summed / size).backward()
        return float(summed.detach()) / size

    def _loss(self, batch: MicroBatch) -> torch.Tensor:
        with self.autocast():
            return self._objective.summed(self.model.get_base_model(), batch)

    def _micro_batches(self, examples: Sequence[Example]) -> Iterator[MicroBatch]:
        return self._objective.micro_batches(examples, self.job)

    def _give_way(self, found: str, *, step: int) -> None:
        way = way_out(self.job, longest_tokens=self._longest_tokens, has_gpu=self._device.type == "cuda")
        if way is None:
            raise EngineError(
                f"memory ran out in step {step} with the smallest settings there are ({found})",
                action="Lower data.max_length_tokens or lora.rank, close other programs, or run duologue plan for "
                "settings that fit.",
            )
        self._use(way.job)
        change = f"from step {step} on: {way.text}"
        self.changes.append(change)
        self._on_event(Event("warning", step, {"text": f"memory ran out ({found}); {change}", "change": change}))

    def _use(self, job: TrainingJob) -> None:
        if job.use_gradient_checkpointing and not self.job.use_gradient_checkpointing:
            with quiet():
                self.model.get_base_model().gradient_checkpointing_enable(
                    gradient_checkpointing_kwargs={"use_reentrant": False}
                )
        self.job = job


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__
