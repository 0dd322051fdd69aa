"""A safetensors file written tensor by tensor, so that memory holds one tensor and not the file.

The library writes a file from all of its tensors at once. The format (README of github.com/safetensors/safetensors) is
a header of JSON with the place of each tensor, and then their bytes; the file is read with the library again.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

_CODES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor of the file."""

    name: str
    shape: tuple[int, ...]

    def num_bytes(self, dtype: torch.dtype) -> int:
        """Return its size in the file."""
        return torch.Size(self.shape).numel() * dtype.itemsize


class ShardWriter:
    """Writes one file; its tensors come in the order in which they were announced.

    Args:
        path: The file.
        slots: Its tensors.
        dtype: Type of all of them.
    """

    def __init__(self, path: Path, slots: Sequence[Slot], *, dtype: torch.dtype) -> None:
        """Write the header."""
        self._slots = list(slots)
        self._dtype = dtype
        self._num_written = 0
        self._sha256 = hashlib.sha256()
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for slot in slots:
            end = offset + slot.num_bytes(dtype)
            header[slot.name] = {"dtype": _CODES[dtype], "shape": slot.shape, "data_offsets": [offset, end]}
            offset = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
        self._stream = path.open("wb")
        self._put(len(text).to_bytes(8, "little"))
        self._put(text)

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Write the next tensor."""
        slot = self._slots[self._num_written]
        assert (slot.name, slot.shape, self._dtype) == (name, tuple(tensor.shape), tensor.dtype)
        self._num_written += 1
        self._put(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)

    def close(self) -> str:
        """Bring the file to the disk and return its SHA-256."""
        assert self._num_written == len(self._slots)
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        return self._sha256.hexdigest()

    def abandon(self) -> None:
        """Close an unfinished file."""
        self._stream.close()

    def _put(self, data: bytes | memoryview) -> None:
        self._sha256.update(data)
        self._stream.write(data)
