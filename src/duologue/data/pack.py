"""How full rows of packed examples are."""

from collections.abc import Sequence

from duologue.engine import pack


def packed_fraction(lengths: Sequence[int], capacity: int, *, seed: int) -> float:
    """Return the share of the tokens in packed rows that are not padding; 1.0 without examples.

    Raises:
        ValueError: An example is longer than a row.
    """
    rows = pack(lengths, capacity, seed=seed)
    return sum(lengths) / (len(rows) * capacity) if rows else 1.0
