"""Which conversations are held out: by their own text and the seed, near duplicates together.

Where a conversation goes depends on nothing but its group, so rows that are added before, after or in between move no
other row, in whatever order they come. The exceptions are few and small: the last resorts for data so small that a
split would be empty, and a group larger than the whole validation share, which is not held out.
"""

import hashlib
from array import array
from collections.abc import Sequence

from duologue.messages import Conversation


class Splitter:
    """Collects the place of each conversation on a line from 0 to 2^64; the lower end of it is held out."""

    def __init__(self, *, seed: int, validation_fraction: float) -> None:
        """Start empty.

        Args:
            seed: `run.seed`.
            validation_fraction: `data.validation_fraction`, at least 0 and below 1.
        """
        self._seed = seed
        self._fraction = validation_fraction
        self._places = array("Q")
        self._ranks = array("Q")

    def add(self, conversation: Conversation) -> None:
        """Take up the next conversation."""
        text = "\x1e".join(f"{message.role}\x1f{message.content}" for message in conversation.messages)
        digest = hashlib.sha256(f"{self._seed}\x1e{text}".encode(errors="surrogatepass")).digest()
        self._places.append(int.from_bytes(digest[:8]))
        self._ranks.append(int.from_bytes(digest[8:16]))

    def held_out(self, groups: Sequence[int] | None = None) -> bytearray:
        """Return a byte for each conversation, in the order they were added: 1 if it is held out.

        Args:
            groups: A number for each conversation, below their number and equal for those that must stay together, as
                `Duplicates.groups` gives them. Without it each stands alone.
        """
        num = len(self._places)
        groups = range(num) if groups is None else groups
        assert len(groups) == num, "one group for each conversation"
        is_chosen = self._choose(*_sizes_and_keys(groups, self._ranks))
        return bytearray(is_chosen[group] for group in groups)

    def _choose(self, sizes: Sequence[int], keys: Sequence[int]) -> bytearray:
        """Return a byte for each group: 1 if it is held out."""
        places = self._places
        is_chosen = bytearray(len(sizes))
        found = [group for group, size in enumerate(sizes) if size]
        if not self._fraction or len(found) < 2:
            return is_chosen
        limit = int(self._fraction * 2**64)
        largest = max(1, self._fraction * len(places))
        for group in found:
            is_chosen[group] = places[keys[group]] < limit and sizes[group] <= largest
        if not any(is_chosen):  # of the smallest groups the lowest
            is_chosen[min(found, key=lambda group: (max(sizes[group], largest), places[keys[group]]))] = 1
        if sum(is_chosen) == len(found):
            is_chosen[max(found, key=lambda group: places[keys[group]])] = 0
        return is_chosen


def _sizes_and_keys(groups: Sequence[int], ranks: Sequence[int]) -> "tuple[array[int], array[int]]":
    """Return for each group its size and the member that stands for it.

    That is the member with the lowest rank, whatever the order. A rank says nothing about the place: if the member with
    the lowest place stood for its group, large groups would be held out more often than small ones.
    """
    sizes, keys = array("I", bytes(4 * len(groups))), array("I", bytes(4 * len(groups)))
    for index, group in enumerate(groups):
        if not sizes[group] or ranks[index] < ranks[keys[group]]:
            keys[group] = index
        sizes[group] += 1
    return sizes, keys
