"""Numbers in bins with round edges, and the values that so many of them do not pass."""

from collections.abc import Sequence
from dataclasses import dataclass

_MOST_BINS = 12
_TAIL = 0.99  # what lies beyond this share of the values goes into one last, open bin: a few giants hide the rest


@dataclass(frozen=True, slots=True)
class Bin:
    """How many values are at least `start` and below `stop`; the last bin may be open (None)."""

    start: int
    stop: int | None
    count: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """What there is to say about a list of whole numbers.

    Attributes:
        count: How many numbers.
        total: Their sum.
        smallest: The smallest; 0 without numbers.
        median: Half of them are at most this.
        p90: Nine of ten are at most this.
        p99: 99 of a hundred are at most this.
        largest: The largest.
        bins: The histogram.
    """

    count: int
    total: int
    smallest: int
    median: int
    p90: int
    p99: int
    largest: int
    bins: tuple[Bin, ...]

    @property
    def mean(self) -> float:
        """Their mean; 0 without numbers."""
        return self.total / self.count if self.count else 0.0


def distribution(values: Sequence[int]) -> Distribution:
    """Return the distribution of numbers that are not negative; percentiles by the nearest rank."""
    ordered = sorted(values)

    def at(share: float) -> int:
        return ordered[max(0, -int(-len(ordered) * share // 1) - 1)] if ordered else 0

    return Distribution(
        count=len(ordered),
        total=sum(ordered),
        smallest=at(0),
        median=at(0.5),
        p90=at(0.9),
        p99=at(0.99),
        largest=at(1),
        bins=_bins(ordered, at(_TAIL)),
    )


def _bins(ordered: Sequence[int], most: int) -> tuple[Bin, ...]:
    if not ordered:
        return ()
    low, largest = ordered[0], ordered[-1]
    width = _round_width((most - low) / _MOST_BINS)
    first = low // width
    num_bins = most // width - first + 1
    counts = [0] * num_bins
    num_beyond = 0
    for value in ordered:
        place = value // width - first
        if place < num_bins:
            counts[place] += 1
        else:
            num_beyond += 1
    edges = [(first + place) * width for place in range(num_bins + 1)]
    bins = [Bin(start, stop, count) for start, stop, count in zip(edges, edges[1:], counts, strict=False)]
    if num_beyond:
        is_next = largest < edges[-1] + width
        bins.append(Bin(edges[-1], edges[-1] + width if is_next else None, num_beyond))
    return tuple(bins)


def _round_width(width: float) -> int:
    """Return the smallest of 1, 2, 5, 10, 20, 50, ... that is at least `width`."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= width:
                return factor * power
        power *= 10
