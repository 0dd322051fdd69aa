"""Rows of JSON: the elements of an array of any size, values one after another, JSON lines.

A row is parsed where it stands in the stream's text. Only a row that cannot be parsed there (it goes on behind the text
that is held, or is broken) is searched for its end bracket by bracket, so that its fault costs no other row.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from duologue.data.found import Note, Row, RowFault
from duologue.data.strict_json import JsonFault, is_safe_to_recurse, parse, parse_at, skip_space
from duologue.data.text_stream import MAX_ROW_CHARACTERS, TextStream
from duologue.data.value_span import find_end, is_value_end

MAX_OBJECT_CHARACTERS = 256 << 20  # a file that is one object has to be held whole


def line_rows(stream: TextStream, notes: list[Note]) -> Iterator[Row]:
    """Yield the rows of JSON lines, numbered as the lines of the file; blank lines are none."""
    for number, (index, line) in enumerate(stream.lines(), start=1):
        if line is None:
            reason = f"a line longer than {MAX_ROW_CHARACTERS >> 20} Mi characters; export it in parts"
            yield Row(number, RowFault("", reason))
            continue
        text = line
        if text.startswith("\ufeff"):  # two files joined
            text = " " + text[1:]
            notes.append(Note(number, "", "the line begins with a byte order mark", "left out"))
        try:
            yield Row(number, parse(text))
        except JsonFault as fault:
            if text.strip(" \t\r"):
                yield Row(number, _line_fault(stream, index, text, fault))


def array_rows(stream: TextStream, notes: list[Note]) -> Iterator[Row]:
    """Yield the elements of an array, numbered from 1; further arrays behind it go on counting."""
    position = _next_sign(stream, 0)
    number = 0
    num_arrays = 0
    while position < len(stream.text) and stream.text[position] == "[":
        num_arrays += 1
        elements = _Elements(stream, position + 1, number)
        yield from elements.rows()
        number, position = elements.number, elements.position
        if elements.is_broken:
            return
        position = _next_sign(stream, position)
    if num_arrays > 1:
        notes.append(Note(0, "", f"{num_arrays} JSON arrays one after another", "read as one"))
    if position < len(stream.text):
        found = stream.text[position]
        reason = f"text after the end of the list: {found!a}; what follows was not read"
        yield Row(number + 1, _stray_fault(stream, position, reason))


def value_rows(stream: TextStream, notes: list[Note]) -> Iterator[Row]:
    """Yield JSON values that stand one after another; a file that is one object is one row."""
    number = 0
    position = _next_sign(stream, 0)
    while position < len(stream.text):
        number += 1
        if stream.text[position] in "{[":
            limit = MAX_OBJECT_CHARACTERS if number == 1 else MAX_ROW_CHARACTERS
            found = _read_value(stream, position, number=number, limit=limit)
        else:
            reason = f"found {stream.text[position]!a}, expected '{{' or '['"
            found = _Found(_stray_fault(stream, position, reason), position, "untold")
        value = found.value
        position = found.end
        if found.ending == "untold":
            position = _next_row_line(stream, position)
            is_end = position == len(stream.text)
            more = "the rest is not read" if is_end else f"reading goes on in line {stream.place(position).line:,}"
            value = _with_more(value, f"; {more}")
        yield Row(number, value)
        position = _next_sign(stream, position)
    if number > 1:
        reason = f"{number:,} JSON values one after another, without a list around them"
        notes.append(Note(0, "", reason, "read as rows"))


# ----------------------------------------------------------------------------------------------------------- elements


@dataclass(slots=True)
class _Elements:
    """The elements of one array that is being read.

    Attributes:
        stream: Its text.
        position: Behind the opening bracket; at the end behind the closing one.
        number: Of the row before; at the end of the last row.
        is_broken: Whether the end of the array was not found.
        has_comma: Whether a row may come: at the beginning, and behind a comma.
    """

    stream: TextStream
    position: int
    number: int
    is_broken: bool = False
    has_comma: bool = True

    def rows(self) -> Iterator[Row]:
        """Yield the rows up to the closing bracket, or to where rows cannot be told apart."""
        self.position = _next_sign(self.stream, self.position)
        if self._is_at("]"):
            self.position += 1
            return
        while not self.is_broken:
            self.number += 1
            yield Row(self.number, self._next())
            if self._is_at("]") and not self.has_comma:
                self.position += 1
                return

    def _next(self) -> object:
        """Return the next row, moved behind it and behind the comma that follows it."""
        if self.position >= len(self.stream.text):
            self.is_broken = True
            missing = f"the file ends where row {self.number} or the end of the list should be"
            return self._fault(missing + _cause(self.stream))
        if self._is_at("]"):
            self.has_comma = False
            return self._fault("found ']' behind a comma, expected a row; remove the comma")
        if self._is_at(","):
            stray = self._fault("found ',', expected a row; remove one comma")
            self.position = _next_sign(self.stream, self.position + 1)
            return stray
        fault = None if self.has_comma else self._fault(f"no comma between row {self.number - 1} and this one")
        while True:
            is_word = self.stream.text[self.position] not in '"[{'
            found = _read_value(self.stream, self.position, number=self.number, limit=MAX_ROW_CHARACTERS)
            value = fault or found.value
            if found.ending != "whole":
                self.is_broken = True
                return _with_more(value, _UNTOLD) if found.ending == "untold" else value
            self.position = _next_sign(self.stream, found.end)
            if not is_word or not isinstance(value, RowFault) or self._is_at_end():
                break
            fault = value  # words that are no JSON, such as a comment, belong to the row behind them
        self.has_comma = self._is_at(",")
        if self.has_comma:
            self.position = _next_sign(self.stream, self.position + 1)
        return value

    def _is_at_end(self) -> bool:
        return self.position >= len(self.stream.text) or self.stream.text[self.position] in ",]"

    def _is_at(self, sign: str) -> bool:
        return self.stream.text.startswith(sign, self.position)

    def _fault(self, reason: str) -> RowFault:
        return _stray_fault(self.stream, self.position, reason)


@dataclass(frozen=True, slots=True)
class _Found:
    """A value that was read, or its fault.

    Attributes:
        value: The value or its `RowFault`.
        end: Index behind it; just behind its beginning when its end cannot be told.
        ending: `whole`; `cut` when the file ends in its middle; `untold` when nothing tells where it ends.
    """

    value: object
    end: int
    ending: Literal["whole", "cut", "untold"] = "whole"


def _read_value(stream: TextStream, start: int, *, number: int, limit: int) -> _Found:
    if is_safe_to_recurse():
        try:
            value, end = parse_at(stream.text, start)
        except JsonFault:
            pass
        else:
            # The parser does not look for bytes outside the encoding.
            is_clean = stream.is_clean or not _NOT_DECODED.search(stream.text, start, end)
            if is_clean and is_value_end(stream, end):
                return _Found(value, end)
    begin = stream.place(start)
    span = find_end(stream, start, limit)
    if span.is_long:
        reason = f"a row longer than {limit >> 20} Mi characters: it begins in {begin}"
        advice = "; export it in parts, one conversation a row" if span.ending == "whole" else ""
        return _Found(RowFault("", reason + advice), span.end, "whole" if span.ending == "whole" else "untold")
    text = stream.text[span.start : span.end]
    try:
        return _Found(parse(text), span.end)
    except JsonFault as fault:
        if span.ending == "cut" and fault.is_cut:
            reason = f"the file ends in the middle of row {number}, which begins in {begin}"
            found = encoding_fault(stream, span.start, text) or RowFault("", f"{reason}{_cause(stream)}")
            return _Found(found, span.end, "cut")
        found = _row_fault(stream, span.start, text, fault)
        return _Found(found, span.end) if span.ending == "whole" else _Found(found, span.start + 1, "untold")


_ROW_START = re.compile(r"\n[{\[]")


def _next_sign(stream: TextStream, position: int) -> int:
    """Return the index of the next character that is not white space; the end of the text when there is none."""
    while True:
        position = skip_space(stream.text, position)
        if position < len(stream.text) or stream.is_ended:
            return position
        stream.fill(position)
        position = 0


def _next_row_line(stream: TextStream, position: int) -> int:
    """Return the index of the next line that begins with a bracket; the end of the text when there is none."""
    while True:
        match = _ROW_START.search(stream.text, position)
        if match:
            return match.start() + 1
        if stream.is_ended:
            return len(stream.text)
        stream.fill(max(len(stream.text) - 1, 0))
        position = 0


# ------------------------------------------------------------------------------------------------------------- faults


def _line_fault(stream: TextStream, index: int, line: str, fault: JsonFault) -> RowFault:
    wrong_bytes = encoding_fault(stream, index, line)
    if wrong_bytes:
        return wrong_bytes
    if "\0" in line:
        return nul_fault(stream, index + line.index("\0"), line.count("\0"))
    reason = f"this line is not JSON: column {fault.position + 1:,}: {fault.what}"
    if fault.is_cut and stream.is_ended and index + len(line) == len(stream.text):
        reason = f"the file ends in the middle of row {stream.place(index).line}: {reason}{_cause(stream)}"
    return RowFault(fault.path, reason)


def _row_fault(stream: TextStream, start: int, text: str, fault: JsonFault) -> RowFault:
    """Return the fault of a row that was parsed by itself and begins at an index of the stream's text."""
    wrong_bytes = encoding_fault(stream, start, text)
    if wrong_bytes:
        return wrong_bytes
    if "\0" in text:
        return nul_fault(stream, start + text.index("\0"), text.count("\0"))
    return RowFault(fault.path, f"this row is not JSON: {stream.place(start + fault.position)}: {fault.what}")


_UNTOLD = "; a quote or a bracket is not closed, so where this row ends cannot be told and the rest is not read"


def _with_more(value: object, more: str) -> object:
    return RowFault(value.field, value.reason + more) if isinstance(value, RowFault) else value


def _stray_fault(stream: TextStream, position: int, reason: str) -> RowFault:
    """Return the fault of something that stands where a row or a sign between rows should be."""
    wrong_bytes = encoding_fault(stream, position, stream.text[position : position + 1])
    return wrong_bytes or RowFault("", f"this is not JSON: {stream.place(position)}: {reason}")


def _cause(stream: TextStream) -> str:
    """Return why the file ends early, where that is known."""
    return f" ({stream.refusal})" if stream.refusal else ""


def nul_fault(stream: TextStream, index: int, num_nuls: int) -> RowFault:
    """Return the fault of a row with NUL bytes, the first of which stands at an index of the stream's text."""
    return RowFault("", f"NUL bytes in the row: {num_nuls:,} from {stream.place(index)} on, as after a crash")


def encoding_fault(stream: TextStream, index: int, text: str) -> RowFault | None:
    """Return the fault of the first character that stands for a byte outside the encoding, in text of the stream.

    Args:
        stream: The stream, for the place.
        index: Where the text begins in it.
        text: The row's text.
    """
    match = None if stream.is_clean else _NOT_DECODED.search(text)
    if not match:
        return None
    place = stream.place(index + match.start())
    code = ord(match[0])
    if stream.encoding.name != "utf-8":
        return RowFault("", f"half a character of {stream.encoding.title}: in {place}; save the file as UTF-8")
    byte = code - 0xDC00
    reason = f"a byte that is not UTF-8: 0x{byte:02X} in {place}"
    likely = bytes([byte]).decode("cp1252", "replace")
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    if likely != "\ufffd" and (before + after).isascii() and (likely.isalpha() or not likely.isalnum()):
        reason += f"; it looks like Windows-1252 or Latin-1, where it is {likely!r}"
    return RowFault("", f"{reason}; save the file as UTF-8")


_NOT_DECODED = re.compile("[\ud800-\udfff]")
