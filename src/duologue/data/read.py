"""Bytes of a file to rows: the first step of preparing data. Nothing here raises for what is in a file."""

import itertools
from collections.abc import Iterator
from pathlib import Path

from duologue.data.container import (
    PARQUET,
    Container,
    Contents,
    detect_contents,
    refuse_known_binary,
    suffix_of,
    wrong_ending,
)
from duologue.data.file_bytes import (
    CHUNK_BYTES,
    GZIP_MAGIC,
    GZIP_STRETCH_BYTES,
    BombRefusal,
    FileBytes,
    Refusal,
    unzipped,
)
from duologue.data.found import FILE_REFUSED, Note, Row
from duologue.data.read_json import array_rows, line_rows, value_rows
from duologue.data.read_table import parquet_rows, table_rows, text_rows
from duologue.data.text_stream import Encoding, TextStream, decode_head, detect_encoding

_HEAD_BYTES = 256 << 10
_MAX_HEAD_BYTES = 8 << 20  # how far the end of the first line is looked for
_PARQUET_MAGIC = b"PAR1"


def open_rows(path: Path) -> "OpenedFile":
    """Look at the beginning of a file and return how its rows are read; a file that cannot be used has none."""
    opened = OpenedFile(path)
    try:
        opened.look()
    except Refusal as refusal:
        opened.refuse(refusal)
    return opened


class OpenedFile:
    """A file whose rows can be read once. It holds nothing open until they are.

    Attributes:
        path: The file.
        container: What holds the rows.
        encoding: Python's name of the text encoding; empty for Parquet and for a file that was refused.
        notes: What was noticed about the file; complete after the pass.
        num_bytes: How many bytes of the file were read so far.
        sha256: Hash of the file's bytes, gzip as it is; complete after the pass, empty for a file that was refused
            before.
    """

    def __init__(self, path: Path) -> None:
        """Know the path only; `open_rows` looks into the file."""
        self.path = path
        self.container: Container = "text"
        self.encoding = ""
        self.notes: list[Note] = []
        self.num_bytes = 0
        self.sha256 = ""
        self._contents: Contents | None = None
        self._text_encoding = Encoding("utf-8")
        self._is_gzip = False
        self._signature = (0, 0, 0, 0)

    def look(self) -> None:
        """Recognise gzip, encoding and layout from the beginning of the file.

        Raises:
            Refusal: The file cannot be used.
        """
        file = FileBytes(self.path)
        try:
            self._signature = file.signature()
            head, is_whole = self._head(file)
        finally:
            file.close()
        if head.startswith(_PARQUET_MAGIC):
            if self._is_gzip:
                raise Refusal("this is a Parquet file inside a gzip; unpack it (gunzip) and name the result")
            contents = PARQUET
        else:
            refuse_known_binary(head)
            self._text_encoding = detect_encoding(head)
            self.encoding = self._text_encoding.name
            text = decode_head(head, self._text_encoding)
            contents = detect_contents(text, is_whole=is_whole, name=self.path)
        self._contents = contents
        self.container = contents.container
        self._note_what_was_recognised(contents)

    def refuse(self, refusal: Refusal) -> None:
        """Note that the file, or the rest of it, cannot be used."""
        self.notes.append(Note(0, "", refusal.reason, FILE_REFUSED))

    def rows(self) -> Iterator[Row]:
        """Yield the rows; each that could not be parsed has its `RowFault` as value. One pass."""
        if not self._contents:
            return
        try:
            file = FileBytes(self.path)
        except Refusal as refusal:
            self.refuse(refusal)
            return
        num_rows = 0
        try:
            try:
                for row in self._read(file, self._contents):
                    num_rows += 1
                    self.num_bytes = file.num_bytes
                    yield row
                if not num_rows:
                    raise Refusal(f"there are no rows in the file ({self._contents.title}); put conversations into it")
            except Refusal as refusal:
                self.refuse(refusal)
            self._finish(file)
        finally:
            file.close()

    def _finish(self, file: FileBytes) -> None:
        """Read what is left for the hash, and see whether the file is still the one that was looked at."""
        try:
            self.sha256 = file.sha256()
            change = file.change(self._signature)
            if change:
                raise Refusal(f"the file changed while it was read: {change}; try again when nothing writes to it")
        except Refusal as refusal:
            self.refuse(refusal)

    def _head(self, file: FileBytes) -> tuple[bytes, bool]:
        """Return the beginning of the content, and whether it is all of it.

        A gzip is unpacked over the stretch in which a bomb shows itself, before any of its rows is given out.
        """
        raw = file.chunks()
        first = b""
        while len(first) < len(GZIP_MAGIC) and (chunk := next(raw, None)):
            first += chunk
        self._is_gzip = first.startswith(GZIP_MAGIC)
        content: Iterator[bytes] = itertools.chain([first], raw)
        content = unzipped(content) if self._is_gzip else content
        head = bytearray()
        num_unpacked = 0
        try:
            while not _is_enough(head):
                part = next(content, None)
                if part is None:
                    return bytes(head), True
                head += part
            num_unpacked = len(head)
            for part in content:
                num_unpacked += len(part)
                if not self._is_gzip or num_unpacked > GZIP_STRETCH_BYTES + CHUNK_BYTES:
                    break
        except BombRefusal:
            raise
        except Refusal:  # the rows before the damage can be used; it is met again when they are read
            if not head:
                raise
        return bytes(head), num_unpacked == len(head)

    def _read(self, file: FileBytes, contents: Contents) -> Iterator[Row]:
        if contents.layout == "parquet":
            yield from parquet_rows(self.path)
            return
        chunks = unzipped(file.chunks()) if self._is_gzip else file.chunks()
        stream = TextStream(_without_bom(chunks, self._text_encoding.bom), self._text_encoding)
        stream.fill(0)
        if contents.layout == "array":
            yield from array_rows(stream, self.notes)
        elif contents.layout == "values":
            yield from value_rows(stream, self.notes)
        elif contents.layout == "lines":
            yield from line_rows(stream, self.notes)
        elif contents.layout == "table":
            yield from table_rows(stream, self.notes, delimiter=contents.delimiter)
        else:
            yield from text_rows(stream)
        if stream.refusal:
            raise Refusal(stream.refusal)

    def _note_what_was_recognised(self, contents: Contents) -> None:
        name = self.path.name
        if self._is_gzip != name.lower().endswith(".gz"):
            found = "is gzip" if self._is_gzip else "is no gzip"
            ending = suffix_of(self.path) if self._is_gzip else ".gz"
            self._note(f"the name ends in {ending or 'nothing'}, the content {found}", "read by its content")
        encoding = self._text_encoding
        if encoding.bom and encoding.name == "utf-8":
            self._note("the file begins with a byte order mark (BOM)", "left out")
        elif encoding.bom:
            self._note(f"the file is {encoding.title}, with a byte order mark (BOM)", f"read as {encoding.title}")
        elif encoding.is_told_by_zeros:
            reason = f"the file is {encoding.title} without a byte order mark, told by its zero bytes"
            self._note(reason, f"read as {encoding.title}")
        ending = wrong_ending(contents, self.path)
        if ending:
            self._note(f"the name ends in {ending}, the content is {contents.title}", f"read as {contents.title}")

    def _note(self, reason: str, action: str) -> None:
        self.notes.append(Note(0, "", reason, action))


def _is_enough(head: bytearray) -> bool:
    """Return whether a beginning shows how rows are laid out: long enough, and with a whole line of JSON lines."""
    if len(head) < _HEAD_BYTES:
        return False
    begins_with_object = head[:64].lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"{")
    return b"\n" in head or not begins_with_object or len(head) >= _MAX_HEAD_BYTES


def _without_bom(chunks: Iterator[bytes], bom: bytes) -> Iterator[bytes]:
    num_left = len(bom)
    for chunk in chunks:
        yield chunk[num_left:]
        num_left = max(num_left - len(chunk), 0)
