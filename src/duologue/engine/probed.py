"""What a probe measured: a few real steps of a job on the hardware at hand."""

from dataclasses import dataclass

from duologue.engine.job import TrainingJob


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """The size of one forward pass.

    Attributes:
        num_tokens: Tokens computed, padding included.
        length_tokens: How far a token's attention reaches: the padded length, or in a packed row the mean length of its
            documents, each token counting.
    """

    num_tokens: int
    length_tokens: float


@dataclass(frozen=True, slots=True)
class MicroStep:
    """One measured forward and backward pass; `seconds` is wall time."""

    batch: MicroBatch
    seconds: float


@dataclass(frozen=True, slots=True)
class Probe:
    """Measurements of a job before it runs.

    Attributes:
        job: What was probed.
        device: `cuda` or `cpu`.
        micro_steps: Timed forward and backward passes, the first of the process left out.
        optimizer_seconds: Per optimizer step: clipping, update, report.
        peak_allocated_bytes: Peak of tensors on a GPU; on a CPU resident memory of the process, loading included.
        peak_reserved_bytes: With what the allocator keeps; on a CPU the same.
        peak_device_bytes: With the driver's context; on a CPU the same.
        load_seconds: Loading the model and putting the adapter on it.
        grad_norm: Smallest gradient norm of the probed steps; above 0.
        num_tokens: Tokens of the probed steps, padding left out.
        seconds: Wall time of the probed steps.
        schedule: The micro-batches of each of the job's first optimizer steps, in order.
        schedule_tokens: Tokens of each of those steps, padding left out.
    """

    job: TrainingJob
    device: str
    micro_steps: tuple[MicroStep, ...]
    optimizer_seconds: float
    peak_allocated_bytes: int
    peak_reserved_bytes: int
    peak_device_bytes: int
    load_seconds: float
    grad_norm: float
    num_tokens: int
    seconds: float
    schedule: tuple[tuple[MicroBatch, ...], ...]
    schedule_tokens: tuple[int, ...]

    @property
    def tokens_per_second(self) -> float:
        """Speed of the probed steps themselves, which hold more long examples than the data."""
        return self.num_tokens / self.seconds
