"""The header of a GGUF file: its fields and where its tensors lie. Nothing of the weights is read.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little endian). llama.cpp reads
the same header when it loads the model, but its bindings do not hand it out.
"""

import itertools
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from duologue.errors import EngineError

T = TypeVar("T")
_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_STRING_BYTES = 2**24  # a chat template is the longest string there is; real ones stay below 2**17
_MAX_KEY_BYTES = 2**16  # the format's own limit
_MAX_FIELDS, _MAX_ITEMS = 2**14, 2**22  # real files have below 100 fields and 300,000 tokens
_MAX_TENSORS, _MAX_AXES = 2**17, 4  # the largest mixtures of experts have some thousand
_MAX_HEADER_BYTES = 2**27  # the largest vocabularies take 10 MB
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_DEFAULT_ALIGNMENT_BYTES = 32


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """A tensor's shape and place.

    Attributes:
        shape: The axis that lies together in memory first, as GGUF writes it.
        num_bytes: Its size with what is left free behind it; of the last tensor what the file holds of it.
    """

    shape: tuple[int, ...]
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the weights.

    Attributes:
        fields: Key and value.
        tensors: Name and place.
    """

    fields: dict[str, Any]
    tensors: dict[str, TensorPlace]

    def of(self, key: str, kind: type[T], default: T) -> T:
        """Return a field, or the default where the file has none.

        Raises:
            ValueError: The field has another type.
        """
        value = self.fields.get(key, default)
        if not isinstance(value, kind):
            raise ValueError(f"'{key[:80]}' is a {type(value).__name__}")
        return value

    @property
    def architecture(self) -> str:
        """The family's name, the first part of most keys."""
        return self.of("general.architecture", str, "")

    @property
    def is_split(self) -> bool:
        """Whether further files hold the rest of the tensors."""
        return self.of("split.count", int, 1) > 1


def read_header(path: Path) -> Header:
    """Return the header of a GGUF file.

    Raises:
        EngineError: The file cannot be read, is no GGUF file, or is cut off.
    """
    try:
        with path.open("rb") as file:
            return _read(file, num_file_bytes=path.stat().st_size)
    except OSError as error:
        raise EngineError(f"cannot read the model ({error.strerror})", where=str(path)) from error
    except (ValueError, struct.error, KeyError) as error:
        raise not_whole(path, error) from error


def not_whole(path: Path, error: Exception) -> EngineError:
    """Return the refusal of a file whose header does not hold together."""
    return EngineError(
        f"this is not a whole GGUF file ({error})",
        where=str(path),
        needed="GGUF version 2 or 3, little endian",
        action="Download or export the file again.",
    )


def _read(file: BinaryIO, *, num_file_bytes: int) -> Header:
    if file.read(4) != _MAGIC:
        raise ValueError("it does not begin with GGUF")
    version, num_tensors, num_fields = _unpack(file, "IQQ")
    if version not in _VERSIONS:
        raise ValueError(f"it has version {version}")
    if num_fields > _MAX_FIELDS:
        raise ValueError(f"its header has {num_fields} fields")
    if num_tensors > _MAX_TENSORS:
        raise ValueError(f"its header has {num_tensors} tensors")
    fields: dict[str, Any] = {}
    for _ in range(num_fields):
        key = _read_text(file, limit=_MAX_KEY_BYTES)
        (kind,) = _unpack(file, "I")
        fields[key] = _read_value(file, kind)
    places = [_read_place(file) for _ in range(num_tensors)]
    alignment = fields.get("general.alignment", _DEFAULT_ALIGNMENT_BYTES)
    if not isinstance(alignment, int) or alignment < 1:
        raise ValueError("its alignment is not a number of bytes")
    begin = -(-file.tell() // alignment) * alignment
    return Header(fields, _sized(places, begin=begin, end=num_file_bytes))


def _read_place(file: BinaryIO) -> tuple[str, tuple[int, ...], int]:
    """Return name, shape and offset of a tensor."""
    name = _read_text(file, limit=_MAX_KEY_BYTES)
    (num_axes,) = _unpack(file, "I")
    if not 1 <= num_axes <= _MAX_AXES:
        raise ValueError(f"'{name[:80]}' has {num_axes} axes")
    shape = _unpack(file, "Q", num_axes)
    _kind, offset = _unpack(file, "IQ")
    return name, tuple(shape), offset


def _sized(places: list[tuple[str, tuple[int, ...], int]], *, begin: int, end: int) -> dict[str, TensorPlace]:
    """Return the tensors with the bytes up to the next one.

    Raises:
        ValueError: One begins after the file's end: the file is cut off.
    """
    borders = sorted({offset for _, _, offset in places} | {max(0, end - begin)})
    after = dict(itertools.pairwise(borders))
    if places and (last := begin + max(offset for _, _, offset in places)) >= end:
        raise ValueError(f"it is cut off: it has {end} bytes, and its last weights begin at byte {last}")
    return {name: TensorPlace(shape, after[offset] - offset) for name, shape, offset in places}


def _read_value(file: BinaryIO, kind: int) -> Any:  # noqa: ANN401  (the format decides the type)
    if kind == _STRING:
        return _read_text(file)
    if kind != _ARRAY:
        return _unpack(file, _SCALARS[kind])[0]
    item_kind, num_items = _unpack(file, "IQ")
    if num_items > _MAX_ITEMS:
        raise ValueError(f"it holds a list of {num_items} items")
    if item_kind in _SCALARS:
        return _unpack(file, _SCALARS[item_kind], num_items)
    if item_kind == _STRING:
        return [_read_text(file) for _ in range(num_items)]
    raise ValueError("it holds a nested list")


def _read_text(file: BinaryIO, *, limit: int = _MAX_STRING_BYTES) -> str:
    (num_bytes,) = _unpack(file, "Q")
    if num_bytes > limit:
        raise ValueError(f"it holds a string of {num_bytes} bytes")
    if file.tell() + num_bytes > _MAX_HEADER_BYTES:
        raise ValueError(f"its header is longer than {_MAX_HEADER_BYTES} bytes")
    raw = file.read(num_bytes)
    if len(raw) < num_bytes:
        raise ValueError("it ends inside its header")
    return raw.decode("utf-8", "replace")


def _unpack(file: BinaryIO, codes: str, num_repeats: int = 1) -> tuple[Any, ...]:
    layout = struct.Struct(f"<{num_repeats}{codes}" if num_repeats != 1 else f"<{codes}")
    return layout.unpack(file.read(layout.size))
