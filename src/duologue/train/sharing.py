"""A step shared by several processes: the same examples per step, whatever the number of processes."""

from dataclasses import asdict, dataclass, replace

from duologue.engine import TrainingJob
from duologue.errors import ConfigError
from duologue.train.folder import Run

_FILE = "sharing.json"


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a run is spread over devices.

    Attributes:
        num_processes: Processes, one device each.
        is_sharded: Whether each holds only a part of the base.
    """

    num_processes: int = 1
    is_sharded: bool = False


def shared_job(job: TrainingJob, sharing: Sharing) -> TrainingJob:
    """Return a job whose steps are shared: the accumulation is divided first, then the micro-batch.

    Raises:
        ConfigError: The examples of a step cannot be divided evenly.
    """
    count = sharing.num_processes
    if count == 1:
        return job
    if job.examples_per_step % count:
        raise ConfigError(
            f"a step of {job.examples_per_step} examples cannot be shared by {count} processes",
            where="--num-processes",
            needed="a number that divides training.micro_batch_size x training.gradient_accumulation_steps",
        )
    per_process = job.examples_per_step // count
    micro = max(size for size in range(1, job.micro_batch_size + 1) if per_process % size == 0)
    return replace(
        job,
        micro_batch_size=micro,
        gradient_accumulation_steps=per_process // micro,
        num_processes=count,
        is_sharded=sharing.is_sharded,
    )


def keep_sharing(run: Run, sharing: Sharing) -> None:
    """Write down how a run is spread; refuse to go on with it in another way.

    Raises:
        ConfigError: It was started with another number of processes: sums would be rounded in another order.
    """
    if not (run.folder / _FILE).is_file():
        run.write(_FILE, asdict(sharing))
        return
    before = Sharing(**run.read(_FILE))
    if before != sharing:
        raise ConfigError(
            f"run {run.name} was started with {_text(before)}, not with {_text(sharing)}",
            where="--num-processes",
            action="Go on with what it was started with, or start a new run.",
        )


def _text(sharing: Sharing) -> str:
    count = sharing.num_processes
    return f"{count} process{'es' if count > 1 else ''}{', sharded' if sharing.is_sharded else ''}"
