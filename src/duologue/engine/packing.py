"""Which examples share a row: best-fit decreasing, the classic heuristic for bin packing.

Best fit puts each item, longest first, into the fullest row it still fits; it needs at most 11/9 of the fewest rows
(Johnson 1973), and on thousands of short examples it leaves almost no gap.
"""

import random
from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int, *, seed: int) -> list[list[int]]:
    """Return rows of places in `lengths`; the lengths of a row add up to at most `capacity`.

    The same lengths and seed give the same rows. The seed decides which of equally long examples stand together.

    Args:
        lengths: Tokens of each example.
        capacity: Tokens of a row.
        seed: Of the order among equals.

    Raises:
        ValueError: An example is longer than a row.
    """
    longest = max(lengths, default=0)
    if longest > capacity:
        raise ValueError(f"an example of {longest} tokens does not fit a row of {capacity}")
    order = list(range(len(lengths)))
    random.Random(f"{seed}/pack").shuffle(order)
    order.sort(key=lambda place: -lengths[place])  # stable: the shuffle stays among equals
    rows: list[list[int]] = []
    with_room: dict[int, list[int]] = {}  # free tokens -> rows
    free_sizes = 0  # bit n is set while some row has n free tokens, so the fullest row is the lowest set bit
    for place in order:
        length = lengths[place]
        fitting = free_sizes >> length
        if fitting:
            free = length + (fitting & -fitting).bit_length() - 1
            row = with_room[free].pop()
            if not with_room[free]:
                free_sizes &= ~(1 << free)
            rows[row].append(place)
        else:
            free, row = capacity, len(rows)
            rows.append([place])
        left = free - length
        with_room.setdefault(left, []).append(row)
        free_sizes |= 1 << left
    return rows
