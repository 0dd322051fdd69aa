"""A GGUF file written piece by piece, so that memory holds a part of a tensor and not the file.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3, little endian): a header of fields and of
the places of the tensors, then their bytes. The header's size is known before anything is written.
"""

import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duologue.engine.hf.gguf_out.kinds import Kind, num_bytes
from duologue.errors import EngineError

Field = int | float | bool | str | Sequence[str] | Sequence[float] | Sequence[bool]
Piece = NDArray[np.float32] | NDArray[np.uint8]
_ALIGNMENT = 32  # bytes
_CODES: dict[type, tuple[int, str]] = {bool: (7, "?"), int: (4, "I"), float: (6, "f")}
_INT32 = (5, "i")  # integers in lists: the types of tokens
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the file.

    Attributes:
        name: Its name in the file.
        shape: Its lengths, the outermost first.
        kind: Its form.
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind

    @property
    def num_bytes(self) -> int:
        """Its size in the file, the filling behind it included."""
        size = num_bytes(self.kind, self.shape)
        return size + -size % _ALIGNMENT


def header(fields: Mapping[str, Field], tensors: Sequence[Tensor]) -> bytes:
    """Return everything that stands before the first tensor's bytes."""
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(fields))]
    for key, value in fields.items():
        parts += [_text(key), _value(value)]
    offset = 0
    for tensor in tensors:
        lengths = tensor.shape[::-1]  # the format counts from the innermost
        layout = f"<I{len(lengths)}QIQ"
        parts += [_text(tensor.name), struct.pack(layout, len(lengths), *lengths, tensor.kind.value, offset)]
        offset += tensor.num_bytes
    head = b"".join(parts)
    return head + bytes(-len(head) % _ALIGNMENT)


def write_file(
    file: Path,
    head: bytes,
    tensors: Sequence[Tensor],
    pieces: Callable[[Tensor], Iterable[Piece]],
    *,
    report: Callable[[int], None],
) -> None:
    """Write a file under its name once it is whole.

    Args:
        file: Where to.
        head: Its header.
        tensors: What follows, in order.
        pieces: Gives the bytes of a tensor, part by part.
        report: Receives the bytes written so far.

    Raises:
        EngineError: The disk is full, or the place cannot be written.
    """
    partial = file.with_name(f"{file.name}.partial")
    try:
        try:
            with partial.open("wb") as stream:
                stream.write(head)
                for tensor in tensors:
                    report(stream.tell())
                    end = stream.tell() + tensor.num_bytes
                    for piece in pieces(tensor):
                        stream.write(np.ascontiguousarray(piece).data)
                    stream.write(bytes(end - stream.tell()))
                stream.flush()
                os.fsync(stream.fileno())
                report(stream.tell())
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        needed = len(head) + sum(tensor.num_bytes for tensor in tensors)
        raise EngineError(
            f"the GGUF file could not be written ({error.strerror or error})",
            where=str(file),
            needed=f"a folder that can be written and {needed / 1e9:.2f} GB of disk",
        ) from error


def _text(text: str) -> bytes:
    raw = text.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Field) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _text(value)
    if type(value) in _CODES:
        code, letter = _CODES[type(value)]
        return struct.pack(f"<I{letter}", code, value)
    assert isinstance(value, list | tuple)
    first = value[0]
    if type(first) is str:
        return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(_text(item) for item in value)
    code, letter = _INT32 if type(first) is int else _CODES[type(first)]
    return struct.pack(f"<IIQ{len(value)}{letter}", _ARRAY, code, len(value), *value)
