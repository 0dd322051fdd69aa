"""What one filling of a chat template may cost, counted, so that it ends the same way on every machine.

A sandbox stops a template from reaching the machine, not from working it to death: `'A' * 10**9` is 13 characters
long. So everything whose cost is not bounded by its own source is counted here before it happens: rounds of loops,
calls of macros, characters made, elements looked at.
"""

from collections.abc import Collection, Iterable, Mapping, Sized
from itertools import chain
from typing import Any

# A step takes 10 to 50 ns. Real templates take 100 to 5,000 steps for each message; with the messages the allowance
# grows, and with their square, because some templates look back from every message.
_STEPS, _STEPS_PER_MESSAGE, _STEPS_PER_PAIR, _STEPS_PER_CHAR = 250_000, 20_000, 20, 100
_BYTES, _BYTES_PER_MESSAGE, _BYTES_PER_CHAR = 16 * 2**20, 2**16, 64
_TEXT_OVERHEAD_BYTES = 50
_MAX_DEPTH = 50  # of lists in lists
_SCALARS = (int, float, bool, type(None))


class OverBudgetError(Exception):
    """The template asks for more than any real one needs; says which budget."""


class Budget:
    """Steps and bytes that are left."""

    __slots__ = ("num_bytes", "steps")

    def __init__(self) -> None:
        """Allow what compiling needs."""
        self.allow(0, 0)

    def allow(self, num_messages: int, num_chars: int) -> None:
        """Begin anew for a conversation of this size."""
        per_message = _STEPS_PER_MESSAGE + _STEPS_PER_PAIR * num_messages
        self.steps = _STEPS + num_messages * per_message + _STEPS_PER_CHAR * num_chars
        # Some templates collect their text message by message, copying it each time.
        per_char = max(_BYTES_PER_CHAR, num_messages)
        self.num_bytes = _BYTES + _BYTES_PER_MESSAGE * num_messages + per_char * num_chars

    def spend(self, steps: int, num_bytes: int = 0) -> None:
        """Take off what is about to be done.

        Raises:
            OverBudgetError: Not enough is left.
        """
        self.steps -= steps
        self.num_bytes -= num_bytes
        if self.steps < 0:
            raise OverBudgetError("its loops, calls and comparisons exceed the budget of steps")
        if self.num_bytes < 0:
            raise OverBudgetError("the text it makes exceeds the budget of bytes")

    def count(self, value: Any, steps: int) -> Any:  # noqa: ANN401  (a template's values can be anything)
        """Take off steps and return the value, for conditions that are asked again and again."""
        self.spend(steps)
        return value

    def take_text(self, num_chars: int, *, is_ascii: bool = False) -> None:
        """Take off a text of this length, before it is made."""
        num_bytes = num_chars if is_ascii else 4 * num_chars
        self.spend(num_bytes >> 6, num_bytes + _TEXT_OVERHEAD_BYTES)

    def made(self, text: str) -> str:
        """Take off a text that was made in time bounded by what was counted before; return it."""
        num_bytes = len(text) if text.isascii() else 4 * len(text)
        self.spend(num_bytes >> 6, num_bytes + _TEXT_OVERHEAD_BYTES)
        return text

    def size(self, value: object) -> int:
        """Return how many characters a value has when it is written out, at most, having looked at all of it.

        The same list may stand many times inside another, so that a few lines make one with 2^40 elements: looking
        costs steps, and so does nesting.

        Raises:
            OverBudgetError: It is larger or deeper than the budget allows.
        """
        if isinstance(value, str):
            return len(value)
        if isinstance(value, _SCALARS):
            return 24 if not isinstance(value, int) or -(2**63) < value < 2**63 else value.bit_length()
        num_chars = 0
        waiting: list[tuple[object, int]] = [(value, 0)]
        while waiting:
            item, depth = waiting.pop()
            self.spend(4)
            if isinstance(item, str):
                num_chars += 2 + (6 if item.isascii() else 12) * len(item)  # when every character is escaped
            elif isinstance(item, Collection):
                if depth >= _MAX_DEPTH:
                    raise OverBudgetError(f"it nests lists deeper than {_MAX_DEPTH}")
                self.spend(4 * len(item))
                num_chars += 2 + 4 * len(item)
                parts = chain.from_iterable(item.items()) if isinstance(item, Mapping) else item
                waiting += [(part, depth + 1) for part in parts]
            else:
                num_chars += 400 if isinstance(item, float) else 24
                if isinstance(item, int):
                    num_chars += item.bit_length() // 3
        return num_chars

    def take_search(self, text: str, sought: str) -> None:
        """Take off a search for one text in another."""
        length, width = len(text), len(sought)
        self.spend(min(length * width, 16 * (length + width)) >> 3)

    def items(self, value: Iterable[Any], *, steps: int = 20) -> list[Any]:
        """Return the items of anything that can be iterated over, taken off first."""
        if isinstance(value, Sized):
            self.spend(steps * len(value), 64 * len(value))
            return list(value)
        found = []
        for item in value:
            self.spend(steps, 64)
            found.append(item)
        return found
