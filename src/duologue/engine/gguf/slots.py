"""Who speaks when, and with which of llama.cpp's slots: each keeps the state of the last prompt it read."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_LOOK_SECONDS = 0.05  # how long it can go unseen that a waiting caller gave up
Wearing = tuple[float, ...]  # the strength of each LoRA; states made under different ones cannot be shared


@dataclass(slots=True)
class _Slot:
    number: int
    prompt_ids: tuple[int, ...] = ()
    wearing: Wearing = ()
    used: int = 0  # the how-manieth turn it was last given to
    is_busy: bool = False

    def shared(self, prompt_ids: tuple[int, ...], wearing: Wearing) -> int:
        """Return how many tokens of a prompt it has read already."""
        if wearing != self.wearing:
            return 0
        return _num_common(self.prompt_ids, prompt_ids)

    def is_gone_on_with(self, prompt_ids: tuple[int, ...], num_shared: int) -> bool:
        """Return whether a prompt looks like the same chat: longer, said again with little changed, or cut back.

        A new chat with the same character shares the first lines too, but it is shorter than the one that runs.
        """
        num_held = len(self.prompt_ids)
        is_same = len(prompt_ids) >= num_held or num_shared == len(prompt_ids) or 10 * num_shared >= 9 * num_held
        return is_same and 2 * num_shared > num_held


class Slots:
    """Gives out slots in the order of arrival.

    A prompt that goes on from what a slot holds gets that slot. Any other gets the one that was not used for longest,
    so that a new chat, which shares the character's first lines with all others, does not take a running chat's state.

    Args:
        num_slots: Replies at the same time.
    """

    def __init__(self, num_slots: int) -> None:
        """Begin with every slot empty."""
        self._changed = threading.Condition()
        self._line: deque[object] = deque()
        self._slots = [_Slot(number) for number in range(num_slots)]
        self._num_turns = 0
        self._is_alone = False

    def take(
        self, prompt_ids: Sequence[int], *, wearing: Wearing = (), is_alone: bool = False, gave_up: Callable[[], bool]
    ) -> int | None:
        """Wait for a slot and return its number, or None when the caller gave up.

        Args:
            prompt_ids: What will be read.
            wearing: The strength of each LoRA.
            is_alone: No other reply is made until it is given back.
            gave_up: Tells that the caller does not want it any more.
        """
        wanted = tuple(prompt_ids)
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            try:
                while not (self._line[0] is ticket and self._has_room(is_alone=is_alone)):
                    if gave_up():
                        return None
                    self._changed.wait(_LOOK_SECONDS)
                slot = self._best(wanted, wearing)
                self._num_turns += 1
                slot.prompt_ids, slot.wearing, slot.used, slot.is_busy = wanted, wearing, self._num_turns, True
                self._is_alone = is_alone
                return slot.number
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()

    def give_back(self, number: int) -> None:
        """Let the next one in; any thread may call it."""
        with self._changed:
            self._slots[number].is_busy = False
            self._is_alone = False
            self._changed.notify_all()

    def _has_room(self, *, is_alone: bool) -> bool:
        busy = [slot.is_busy for slot in self._slots]
        return not any(busy) if is_alone else not all(busy) and not self._is_alone

    def _best(self, prompt_ids: tuple[int, ...], wearing: Wearing) -> _Slot:
        free = [slot for slot in self._slots if not slot.is_busy]
        shared = {slot.number: slot.shared(prompt_ids, wearing) for slot in free}
        nearest = max(free, key=lambda slot: (shared[slot.number], -len(slot.prompt_ids), slot.used))
        if nearest.is_gone_on_with(prompt_ids, shared[nearest.number]):
            return nearest
        return min(free, key=lambda slot: slot.used)


def _num_common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return the length of the common beginning, by halving: comparing slices is fast, a loop is not."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
