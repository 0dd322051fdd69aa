"""What a run has done so far, in numbers: its losses, tokens and time, and what each step's event says."""

import math
from collections import deque
from collections.abc import Sequence

import torch

from duologue.engine.hf.memory_use import dedicated_gpu_bytes, peak_memory_bytes, used_on_gpu_bytes
from duologue.engine.hf.spikes import is_spike
from duologue.engine.hf.spill import GpuMemory, can_spill, spill_warning
from duologue.engine.hf.time_to_go import TimeToGo
from duologue.engine.job import Event, Example, TrainingJob

_FEWEST_KEPT_LOSSES = 60  # for what is a spike


class Tally:
    """Counts steps.

    Attributes:
        losses: Of the last tenth of the run or more, those of earlier processes included.
        num_tokens: Of this process, padding left out.
        num_trained_tokens: Of this process.
        seconds: Of this process's steps.
        time_to_go: Learns how long a step, an evaluation and a checkpoint take.
    """

    def __init__(self, job: TrainingJob, *, num_examples: int, num_validation_tokens: int) -> None:
        """Begin with nothing done."""
        self._job = job
        self._num_examples = num_examples
        self.losses: deque[float] = deque(maxlen=max(_FEWEST_KEPT_LOSSES, job.max_steps // 10 + 1))
        self.num_tokens = self.num_trained_tokens = 0
        self.seconds = 0.0
        self.time_to_go = TimeToGo(job, num_validation_tokens=num_validation_tokens)
        self._seconds_per_token: deque[float] = deque(maxlen=_FEWEST_KEPT_LOSSES)
        self._watches_spill = torch.cuda.is_available() and can_spill()

    def add_step(
        self, step: int, examples: Sequence[Example], *, loss: float, rate: float, grad_norm: float, seconds: float
    ) -> Event:
        """Count a step and return its event."""
        num_tokens = sum(example.num_tokens for example in examples)
        num_trained = sum(example.num_trained_tokens for example in examples)
        spikes = is_spike(loss, list(self.losses))
        self.losses.append(loss)
        self.num_tokens += num_tokens
        self.num_trained_tokens += num_trained
        self.seconds += seconds
        self._seconds_per_token.append(seconds / num_tokens)
        self.time_to_go.add_step(seconds, num_tokens)
        values: dict[str, float | int | str] = {
            "loss": loss,
            "learning_rate": rate,
            "grad_norm": grad_norm,
            "seconds": seconds,
            "num_tokens": num_tokens,
            "num_trained_tokens": num_trained,
            "tokens_per_second": num_tokens / seconds,
            "epoch": step * len(examples) / self._num_examples,
            "memory_gib": peak_memory_bytes() / 2**30,
            "max_steps": self._job.max_steps,
            "is_spike": spikes,
            "seconds_to_go": self.time_to_go.seconds(step),
        }
        return Event("step", step, values)

    def warning(self) -> str:
        """Return what to tell the person about the last step's memory, once; usually nothing."""
        if not self._watches_spill:
            return ""
        memory = GpuMemory(torch.cuda.memory_reserved(), used_on_gpu_bytes(), dedicated_gpu_bytes())
        text = spill_warning(list(self._seconds_per_token), memory)
        self._watches_spill = not text
        return text

    def final_loss(self, step: int) -> float:
        """Return the mean loss of the last tenth of the steps."""
        tail = list(self.losses)[-max(1, step // 10) :]
        return sum(tail) / len(tail) if tail else math.nan
