"""The largest micro-batch of a run, found from the lengths alone: what decides whether the run fits."""

from collections.abc import Iterator, Sequence

from duologue.engine.hf.batches import Order
from duologue.engine.hf.processes import Processes
from duologue.engine.job import TrainingJob
from duologue.engine.packing import pack


def largest_micro_batch(
    order: Order,
    job: TrainingJob,
    lengths: Sequence[int],
    *,
    first_step: int,
    processes: Processes,
    is_padded: bool = True,
) -> list[int]:
    """Return the places of the examples of the micro-batch with the most tokens that is to come.

    Among equals the one with the longest example counts. Examples that are packed come in the order of their row.

    Args:
        order: The run's batches.
        job: With the settings in use.
        lengths: Tokens of each example.
        first_step: Steps done.
        processes: Who else trains; each tries its own part.
        is_padded: Whether padding goes through the model too, and so counts.
    """
    largest: list[int] = []
    size = (0, 0)
    seen: set[tuple[int, ...]] = set()
    for step in range(first_step, job.max_steps):
        places = list(processes.part(order.batch(step)))
        kind = tuple(lengths[place] for place in places)
        if kind in seen:
            continue
        seen.add(kind)
        for micro_batch in _micro_batches(places, job, lengths):
            longest = max(lengths[place] for place in micro_batch)
            if is_padded and not job.pack_length_tokens:
                tokens = len(micro_batch) * longest
            else:
                tokens = sum(lengths[place] for place in micro_batch)
            if (tokens, longest) > size:
                size, largest = (tokens, longest), micro_batch
    return largest


def _micro_batches(places: list[int], job: TrainingJob, lengths: Sequence[int]) -> Iterator[list[int]]:
    if not job.pack_length_tokens:
        for at in range(0, len(places), job.micro_batch_size):
            yield places[at : at + job.micro_batch_size]
        return
    tokens = [lengths[place] for place in places]
    for row in pack(tokens, max(job.pack_length_tokens, *tokens), seed=0):
        yield [places[at] for at in row]
