"""Bytes to text, a piece at a time, with line, column and byte of every character.

Bytes that are not in the file's encoding become half surrogates (Python's `surrogateescape`), so that only the row they
stand in is lost and can be named.
"""

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from duologue.data.file_bytes import Refusal

MAX_ROW_CHARACTERS = 64 << 20
_NO_CHARACTER = "\udc80"  # stands for bytes that are none, so that the row they end fails


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the bytes of a file are text.

    Attributes:
        name: Python's name of the codec, without a byte order mark.
        bom: The byte order mark the file begins with; empty when there is none.
        is_told_by_zeros: Whether it was recognised by its zero bytes alone.
    """

    name: str
    bom: bytes = b""
    is_told_by_zeros: bool = False

    @property
    def title(self) -> str:
        """The name as people write it."""
        return self.name.upper().replace("-LE", " LE").replace("-BE", " BE")


def detect_encoding(head: bytes) -> Encoding:
    """Return the encoding that a byte order mark or the zero bytes at the beginning of a file show; UTF-8 otherwise."""
    for bom, name in _BOMS:
        if head.startswith(bom):
            return Encoding(name, bom)
    for name, width, first in (("utf-32-le", 4, 0), ("utf-32-be", 4, 3), ("utf-16-le", 2, 0), ("utf-16-be", 2, 1)):
        if _begins_like(head, width, first) and _is_decodable(head, name, width):
            return Encoding(name, is_told_by_zeros=True)
    return Encoding("utf-8")


def decode_head(head: bytes, encoding: Encoding) -> str:
    """Return the text at the beginning of a file; a character that is cut at the end is left out.

    Raises:
        Refusal: It is not in that encoding.
    """
    try:
        return codecs.getincrementaldecoder(encoding.name)(_errors(encoding)).decode(head[len(encoding.bom) :])
    except UnicodeDecodeError as error:
        raise Refusal(f"the file is not {encoding.title}, as it begins; save it as UTF-8") from error


class Place(NamedTuple):
    """Where a character stands: its position in the stream's text; line, column and byte in the file.

    Lines and columns count from 1, bytes from 0.
    """

    position: int
    line: int
    column: int
    byte: int

    def __str__(self) -> str:
        """Return it as people read it."""
        return f"line {self.line:,}, column {self.column:,} (byte {self.byte:,})"


class TextStream:
    """A window on a file's text that moves forward.

    Attributes:
        text: What is held; `fill` drops its beginning and appends what comes next.
        is_ended: Whether nothing comes after `text`.
        is_clean: Whether `text` has no character that stands for a byte outside the encoding.
        refusal: Why the file could not be read to its end; empty when it could.
    """

    def __init__(self, chunks: Iterator[bytes], encoding: Encoding) -> None:
        """Read text from chunks of bytes, the byte order mark left out by the caller."""
        self.encoding = encoding
        self.text = ""
        self.is_ended = False
        self.is_clean = True
        self.refusal = ""
        self._chunks = chunks
        self._errors = _errors(encoding)
        self._decode = _DECODERS[encoding.name]
        self._rest = b""  # the beginning of a character whose other bytes come with the next chunk
        self._num_bytes = len(encoding.bom)  # before the end of `text`
        self._origin = self._latest = Place(0, 1, 1, len(encoding.bom))

    def fill(self, keep_from: int) -> None:
        """Drop what stands before an index, which becomes index 0, and read on: a chunk, or half of what is kept."""
        kept = self.text[keep_from:]
        column, num_lines = self._column(self._origin, keep_from)
        byte = self._num_bytes - len(kept.encode(self.encoding.name, self._errors))
        self._origin = self._latest = Place(0, self._origin.line + num_lines, column, byte)
        self.is_clean = self.is_clean or _is_clean(kept)
        parts = [kept]
        wanted = min(len(kept) // 2, 16 << 20)
        while True:
            part = self._next_text()
            parts.append(part)
            wanted -= len(part)
            if self.is_ended or (part and wanted <= 0):
                break
        self.text = "".join(parts)

    def place(self, index: int) -> Place:
        """Return where a character of `text` stands in the file."""
        known = self._latest if self._latest.position <= index else self._origin
        column, num_lines = self._column(known, index)
        between = self.text[known.position : index]
        byte = known.byte + len(between.encode(self.encoding.name, self._errors))
        self._latest = Place(index, known.line + num_lines, column, byte)
        return self._latest

    def _column(self, known: Place, index: int) -> tuple[int, int]:
        """Return the column of a character, and how many lines lie between it and a known place before it."""
        num_lines = self.text.count("\n", known.position, index)
        if not num_lines:
            return known.column + index - known.position, 0
        return index - self.text.rfind("\n", known.position, index), num_lines

    def lines(self) -> Iterator[tuple[int, str | None]]:
        """Yield each line without its line feed, with its index; None in place of one longer than a row may be.

        The index is good for `place` until the next line is asked for.
        """
        start = 0
        while True:
            last = self.text.rfind("\n")
            if last >= start:
                for line in self.text[start:last].split("\n"):
                    yield start, line
                    start += len(line) + 1
            elif self.is_ended:
                if start < len(self.text):
                    yield start, self.text[start:]
                return
            elif len(self.text) - start > MAX_ROW_CHARACTERS:
                yield start, None
                start = self._skip_line(start)
                continue
            if not self.is_ended:
                self.fill(start)
                start = 0

    def _skip_line(self, start: int) -> int:
        """Move to the next line without holding this one."""
        while (end := self.text.find("\n", start)) < 0:
            if self.is_ended:
                return len(self.text)
            self.fill(len(self.text))
            start = 0
        return end + 1

    def _next_text(self) -> str:
        chunk: bytes | None = None
        try:
            chunk = next(self._chunks, None)
        except Refusal as refusal:
            self.refusal = refusal.reason
        self.is_ended = chunk is None
        data = self._rest + (chunk or b"")
        try:
            text, num_used = self._decoded(data)
        except UnicodeDecodeError as error:  # only UTF-16 and UTF-32: half a character at the end, or none at all
            if not self.is_ended:
                self.is_ended = True
                self.refusal = f"from here on it is not {self.encoding.title}; save the file as UTF-8"
            text = data[: error.start].decode(self.encoding.name, self._errors) + _NO_CHARACTER
            num_used = len(data)
            self.is_clean = False
        self._rest = data[num_used:]
        self._num_bytes += num_used
        return text

    def _decoded(self, data: bytes) -> tuple[str, int]:
        try:
            return self._decode(data, "strict", self.is_ended)
        except UnicodeDecodeError:
            self.is_clean = False
            return self._decode(data, self._errors, self.is_ended)


def _errors(encoding: Encoding) -> str:
    return "surrogateescape" if encoding.name == "utf-8" else "surrogatepass"


def _is_clean(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_DECODERS: dict[str, Callable[[bytes, str, bool], tuple[str, int]]] = {
    "utf-8": codecs.utf_8_decode,
    "utf-16-le": codecs.utf_16_le_decode,
    "utf-16-be": codecs.utf_16_be_decode,
    "utf-32-le": codecs.utf_32_le_decode,
    "utf-32-be": codecs.utf_32_be_decode,
}
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def _begins_like(head: bytes, width: int, first: int) -> bool:
    """Return whether the first two characters are ASCII in units of `width` bytes, the character's byte at `first`."""
    units = [head[start : start + width] for start in (0, width)]
    return len(head) >= 2 * width and all(unit[first] and unit.count(0) == width - 1 for unit in units)


def _is_decodable(head: bytes, name: str, width: int) -> bool:
    sample = head[: 4096 - 4096 % width]
    try:
        text = codecs.getincrementaldecoder(name)("surrogatepass").decode(sample)
    except UnicodeDecodeError:
        return False
    return "\0" not in text
