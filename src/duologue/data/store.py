"""Conversations and examples on disk: written while they stream past, opened again without reading them all.

A store is one file: the records, then tables of numbers (where each record begins, and so on), then a JSON footer that
says where the tables are. It is written beside its name, flushed to the disk and renamed when it is whole.
"""

import json
import os
import struct
import sys
import tempfile
import threading
import weakref
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar, overload

from duologue.engine import NOT_TRAINED, Example
from duologue.errors import DataError
from duologue.messages import Conversation, Message, Role

MEMORY_BYTES = 64 * 2**20  # this much text stays in memory; beyond it conversations move to a file

_MAGIC = b"duologue-store-1"
_FOOTER_LENGTH = struct.Struct("<Q")
_ID_TYPES = {2: "H", 4: "I", 8: "Q"}  # type of a token id by its bytes
_NO_ROW = 2**64 - 1
_PLACE_BYTES = 72  # of a pair of a row and a field, whose text is shared
_LETTERS: dict[Role, str] = {"system": "s", "user": "u", "assistant": "a"}
_ROLES: dict[str, Role] = {letter: role for role, letter in _LETTERS.items()}

T = TypeVar("T")


class _Records(Sequence[T]):
    """A sequence whose items are made when they are asked for; equal to any sequence with equal items."""

    @abstractmethod
    def _item(self, at: int) -> T:
        """Make item `at`, which is there."""

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[T]: ...
    def __getitem__(self, at: int | slice) -> T | Sequence[T]:
        if isinstance(at, slice):
            return Selection(self, range(*at.indices(len(self))))
        place = at + len(self) if at < 0 else at
        if not 0 <= place < len(self):
            raise IndexError(at)
        return self._item(place)

    def __iter__(self) -> Iterator[T]:
        return map(self._item, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class Selection(_Records[T]):
    """Some items of a sequence in a given order; an item may come twice."""

    def __init__(self, items: Sequence[T], places: Sequence[int]) -> None:
        """Select the items at `places`."""
        self._items = items
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def _item(self, at: int) -> T:
        return self._items[self._places[at]]


class ExampleSelection(Selection[Example]):
    """Some examples of a store."""

    def __init__(self, store: "ExampleStore", places: Sequence[int]) -> None:
        """Select the examples at `places`."""
        super().__init__(store, places)
        lengths, num_trained = store.lengths, store.num_trained
        self.lengths: Sequence[int] = array("Q", (lengths[place] for place in places))
        self.num_trained: Sequence[int] = array("I", (num_trained[place] for place in places))


class ConversationStore(_Records[Conversation]):
    """Conversations in a nameless file that goes away with the last use."""

    def __init__(self, stream: IO[bytes], offsets: Sequence[int]) -> None:
        """Read records from `stream`; record `n` lies between `offsets[n]` and `offsets[n + 1]`."""
        self._stream = stream
        self._offsets = offsets
        self._lock = threading.Lock()
        weakref.finalize(self, stream.close)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def _item(self, at: int) -> Conversation:
        raw = _read_at(self._stream, self._lock, self._offsets[at], self._offsets[at + 1] - self._offsets[at])
        return _parse_conversation(raw)


class ConversationWriter:
    """Collects conversations: in memory while they are few, in a file when they are many."""

    def __init__(self, *, folder: Path | None = None, memory_bytes: int = MEMORY_BYTES) -> None:
        """Collect nothing yet.

        Args:
            folder: Where the file is made when one is needed; the system's folder for temporary files when None.
            memory_bytes: Size of the text, in bytes, from which on a file is used.
        """
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._few: list[Conversation] = []
        self._stream: IO[bytes] | None = None
        self._offsets = array("Q", [0])
        self._num_bytes = 0

    def append(self, conversation: Conversation) -> None:
        """Add one conversation.

        Raises:
            DataError: The file cannot be written.
        """
        if self._stream is not None:
            self._write(self._stream, conversation)
            return
        self._few.append(conversation)
        self._num_bytes += sum(len(message.content) for message in conversation.messages)
        self._num_bytes += _PLACE_BYTES * len(conversation.places)
        if self._num_bytes > self._memory_bytes:
            self._move_to_file()

    def finish(self) -> Sequence[Conversation]:
        """Return what was collected."""
        if self._stream is None:
            return tuple(self._few)
        self._stream.flush()
        self._close.detach()
        return ConversationStore(self._stream, self._offsets)

    def _move_to_file(self) -> None:
        try:
            self._stream = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (it lives as long as the store)
            self._close = weakref.finalize(self, self._stream.close)
        except OSError as error:
            raise cannot_write(error, self._folder or Path(tempfile.gettempdir())) from error
        for conversation in self._few:
            self._write(self._stream, conversation)
        self._few.clear()

    def _write(self, stream: IO[bytes], conversation: Conversation) -> None:
        record = _format_conversation(conversation)
        try:
            stream.write(record)
        except OSError as error:
            raise cannot_write(error, self._folder or Path(tempfile.gettempdir())) from error
        self._offsets.append(self._offsets[-1] + len(record))


class ExampleStore(_Records[Example]):
    """Tokenized examples in a file. Token ids are read when an example is asked for; the tables are in memory.

    Attributes:
        path: The file.
        lengths: Length of every example in tokens.
        num_trained: Trained tokens of every example.
    """

    def __init__(self, path: Path) -> None:
        """Open a finished file.

        Raises:
            DataError: The file is missing, damaged or was not finished.
        """
        self.path = path
        try:
            with path.open("rb") as stream:
                footer, tables = _read_tables(stream)
            self._width = int(footer["id_bytes"])
            self._files: list[str] = footer["files"]
            self._offsets, self._span_offsets = tables["offsets"], tables["span_offsets"]
            self._spans = tables["spans"]
            self._file_of, self._row_of = tables["file_of"], tables["row_of"]
            self._stream = path.open("rb")
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            raise DataError("the file of examples is damaged or not finished", where=str(path)) from error
        self._lock = threading.Lock()
        weakref.finalize(self, self._stream.close)
        pairs = zip(self._offsets, self._offsets[1:], strict=False)
        self.lengths: Sequence[int] = array("Q", (end - begin for begin, end in pairs))
        self.num_trained: Sequence[int] = tables["num_trained"]

    def __len__(self) -> int:
        return len(self.num_trained)

    def _item(self, at: int) -> Example:
        begin, end = self._offsets[at], self._offsets[at + 1]
        raw = _read_at(self._stream, self._lock, begin * self._width, (end - begin) * self._width)
        ids = _numbers(_ID_TYPES[self._width], raw)
        labels = [NOT_TRAINED] * len(ids)
        for place in range(self._span_offsets[at], self._span_offsets[at + 1], 2):
            first, last = self._spans[place], self._spans[place + 1]
            labels[first:last] = ids[first:last]
        row = self._row_of[at]
        name = self._files[self._file_of[at]]
        return Example(tuple(ids), tuple(labels), name if row == _NO_ROW else f"{name}:{row}")


class ExampleWriter:
    """Writes examples as they come; the file appears under its name when `finish` is called, whole."""

    def __init__(self, path: Path) -> None:
        """Begin a file.

        Raises:
            DataError: It cannot be made.
        """
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._width = 2
        self._files: dict[str, int] = {}
        self._tables = {
            "offsets": array("Q", [0]),
            "span_offsets": array("Q", [0]),
            "spans": array("I"),
            "num_trained": array("I"),
            "file_of": array("I"),
            "row_of": array("Q"),
        }
        try:
            self._stream: IO[bytes] = self._partial.open("w+b")
        except OSError as error:
            raise cannot_write(error, path) from error

    def append(self, example: Example) -> None:
        """Add one example.

        Raises:
            DataError: The disk is full or not writable.
        """
        ids, tables = example.input_ids, self._tables
        try:
            if ids and max(ids) >> 8 * self._width:
                self._widen(max(ids))
            self._stream.write(_bytes(array(_ID_TYPES[self._width], ids)))
        except OSError as error:
            raise cannot_write(error, self._path) from error
        spans = list(_trained_spans(example))
        tables["offsets"].append(tables["offsets"][-1] + len(ids))
        for first, last in spans:
            tables["spans"].extend((first, last))
        tables["span_offsets"].append(len(tables["spans"]))
        tables["num_trained"].append(sum(last - first for first, last in spans))
        name, _, row = example.source.rpartition(":")
        is_placed = bool(name) and row.isascii() and row.isdecimal()
        tables["file_of"].append(self._files.setdefault(name if is_placed else example.source, len(self._files)))
        tables["row_of"].append(int(row) if is_placed else _NO_ROW)

    def finish(self) -> ExampleStore:
        """Write the tables, flush the file to the disk, give it its name and open it.

        Raises:
            DataError: The disk is full or not writable.
        """
        footer = {"id_bytes": self._width, "files": list(self._files)}
        try:
            _write_tables(self._stream, footer, self._tables)
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            os.replace(self._partial, self._path)
        except OSError as error:
            raise cannot_write(error, self._path) from error
        return ExampleStore(self._path)

    def discard(self) -> None:
        """Throw away what was written, unless it is finished."""
        self._stream.close()
        self._partial.unlink(missing_ok=True)

    def _widen(self, largest: int) -> None:
        """Rewrite the ids so far with as many bytes as a large vocabulary needs; it shows in the first examples."""
        self._stream.seek(0)
        ids = _numbers(_ID_TYPES[self._width], self._stream.read())
        self._width = next(width for width in _ID_TYPES if not largest >> 8 * width)
        self._stream.seek(0)
        self._stream.write(_bytes(array(_ID_TYPES[self._width], ids)))


def lengths_of(examples: Sequence[Example]) -> Sequence[int]:
    """Return the length of every example in tokens, from the tables where there are any."""
    if isinstance(examples, (ExampleStore, ExampleSelection)):
        return examples.lengths
    return [example.num_tokens for example in examples]


def num_trained_tokens_of(examples: Sequence[Example]) -> int:
    """Return the trained tokens of all examples, from the tables where there are any."""
    if isinstance(examples, (ExampleStore, ExampleSelection)):
        return sum(examples.num_trained)
    return sum(example.num_trained_tokens for example in examples)


def cannot_write(error: OSError, path: Path) -> DataError:
    """Return the house error for a file that the disk did not take."""
    return DataError(
        f"prepared data cannot be written ({error.strerror})",
        where=str(path),
        action="Free some disk space and run the same command again.",
    )


def _trained_spans(example: Example) -> Iterator[tuple[int, int]]:
    """Yield where runs of trained tokens begin and end."""
    labels = example.labels
    is_trained = bytes(map(NOT_TRAINED.__ne__, labels))  # one byte per token, so that `find` can jump
    begin = is_trained.find(1)
    while begin >= 0:
        end = is_trained.find(0, begin)
        end = len(labels) if end < 0 else end
        assert labels[begin:end] == example.input_ids[begin:end], "a target is the token that stands there"
        yield begin, end
        begin = is_trained.find(1, end)


def _format_conversation(conversation: Conversation) -> bytes:
    record = [
        conversation.source,
        sorted(conversation.untrained),
        "".join(_LETTERS[message.role] for message in conversation.messages),
        [message.content for message in conversation.messages],
        conversation.places,
    ]
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _parse_conversation(raw: bytes) -> Conversation:
    source, untrained, letters, contents, places = json.loads(raw.decode("utf-8", "surrogatepass"))
    messages = tuple(Message(_ROLES[letter], content) for letter, content in zip(letters, contents, strict=True))
    return Conversation(messages, source, frozenset(untrained), tuple((row, field) for row, field in places))


def _read_at(stream: IO[bytes], lock: threading.Lock, begin: int, size: int) -> bytes:
    with lock:
        stream.seek(begin)
        return stream.read(size)


def _write_tables(stream: IO[bytes], footer: Mapping[str, Any], tables: Mapping[str, "array[int]"]) -> None:
    places = {}
    for name, numbers in tables.items():
        places[name] = {"typecode": numbers.typecode, "begin": stream.tell(), "bytes": len(numbers) * numbers.itemsize}
        stream.write(_bytes(numbers))
    raw = json.dumps({**footer, "tables": places}).encode()
    stream.write(raw + _FOOTER_LENGTH.pack(len(raw)) + _MAGIC)


def _read_tables(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, "array[int]"]]:
    tail = _FOOTER_LENGTH.size + len(_MAGIC)
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - tail))
    end = stream.read(tail)
    if len(end) < tail or end[_FOOTER_LENGTH.size :] != _MAGIC:
        raise ValueError("no footer")
    (length,) = _FOOTER_LENGTH.unpack(end[: _FOOTER_LENGTH.size])
    stream.seek(size - tail - length)
    footer: dict[str, Any] = json.loads(stream.read(length))
    tables = {}
    for name, place in footer["tables"].items():
        stream.seek(place["begin"])
        tables[name] = _numbers(place["typecode"], stream.read(place["bytes"]))
    return footer, tables


def _bytes(numbers: "array[int]") -> bytes:
    """Return numbers as little-endian bytes."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _numbers(typecode: str, raw: bytes) -> "array[int]":
    """Return little-endian bytes as numbers."""
    numbers: array[int] = array(typecode)
    numbers.frombytes(raw)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
