"""Where a JSON value ends that could not be parsed where it stands: brackets and strings are followed, nothing else."""

import re
from dataclasses import dataclass
from typing import Literal

from duologue.data.strict_json import skip_space
from duologue.data.text_stream import TextStream


@dataclass(frozen=True, slots=True)
class Span:
    """Where a value stands in the stream's text, and how its end was found.

    `whole`: every bracket is closed. `cut`: the file ends before. `broken`: a bracket is closed by another kind, so
    nothing tells where the value ends. What is too long is not held.
    """

    start: int
    end: int
    ending: Literal["whole", "cut", "broken"]
    is_long: bool


def find_end(stream: TextStream, start: int, limit: int) -> Span:
    """Find where a value ends, without parsing it; the text from `start` on is held up to the limit."""
    search = _Brackets()
    position = start
    is_long = False
    while True:
        position = search.run(stream.text, position)
        is_long = is_long or position - start > limit
        if search.is_done or stream.is_ended:
            break
        keep_from = position if is_long else start
        stream.fill(keep_from)
        position -= keep_from
        start = 0
    if not search.is_done:
        return Span(start, len(stream.text), "cut", is_long)
    return Span(start, position, "broken" if search.is_mismatched else "whole", is_long)


def is_value_end(stream: TextStream, end: int) -> bool:
    """Return whether a value that was parsed up to an index ends there: a word could go on behind it, or behind space.

    Only then is it the same value that `find_end` finds.
    """
    if stream.text[end - 1] in '"]}':
        return True
    follows = skip_space(stream.text, end)
    return follows < len(stream.text) and stream.text[follows] in _SIGNS


class _Brackets:
    """Follows brackets and strings until a value is closed; can be stopped anywhere and go on with more text."""

    def __init__(self) -> None:
        self.is_done = False
        self.is_mismatched = False
        self._closers: list[str] = []
        self._is_in_string = False
        self._is_scalar = False

    def run(self, text: str, position: int) -> int:
        """Go on at an index and return where it stopped: behind the value, or where more text is needed."""
        while not self.is_done and position < len(text):
            if self._is_in_string:
                position = self._string(text, position)
                if position < len(text) and text[position] == "\\":
                    return position  # the escaped character comes with the next text
                if position < len(text):
                    position += 1
                    self._is_in_string = False
                    self.is_done = not self._closers
            elif self._closers:
                position = self._next_bracket(text, position)
            else:
                position = self._begin(text, position)
        return position

    def _string(self, text: str, position: int) -> int:
        match = _STRING_BODY.match(text, position)
        assert match
        return match.end()

    def _next_bracket(self, text: str, position: int) -> int:
        match = _SIGN.search(text, position)
        if not match:
            return len(text)
        sign = match[0]
        if sign == '"':
            self._is_in_string = True
        elif sign in "[{":
            self._closers.append("]" if sign == "[" else "}")
        else:
            self.is_mismatched = self._closers.pop() != sign
            self.is_done = self.is_mismatched or not self._closers
        return match.end()

    def _begin(self, text: str, position: int) -> int:
        """Begin a string, an object, a list, or go on with a word: whatever stands before the next such sign."""
        sign = text[position]
        if not self._is_scalar and sign in '"[{':
            if sign == '"':
                self._is_in_string = True
            else:
                self._closers.append("]" if sign == "[" else "}")
            return position + 1
        match = _WORD_END.search(text, position + (not self._is_scalar))  # at least one character, whatever it is
        self._is_scalar = True
        self.is_done = match is not None
        return match.start() if match else len(text)


_SIGN = re.compile(r'["\[\]{}]')
_STRING_BODY = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_SIGNS = ',[]{}"'
_WORD_END = re.compile(r'[,\[\]{}"]')
