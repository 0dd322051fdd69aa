"""A safetensors file written tensor by tensor, so that memory holds one tensor and not the file.

The library writes a file from all of its tensors at once. The format (README of github.com/safetensors/safetensors) is
a header of JSON with the place of each tensor, and then their bytes; the file is read with the library again.
"""

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

_NUM_AHEAD = 6  # parts that wait to be hashed and written while the next one is computed
_SYNC_BYTES = 2**28  # after so many the disk is told to begin, lest all of the file waits for the end
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

    Hashing and writing each have a thread of their own, so that neither they nor the disk keep the caller from
    computing what comes next.

    Args:
        path: The file.
        slots: Its tensors.
        dtype: Type of all of them.
    """

    num_busy = 2  # threads that hash and write, one core each

    def __init__(self, path: Path, slots: Sequence[Slot], *, dtype: torch.dtype) -> None:
        """Write the header."""
        self._slots = list(slots)
        self._dtype = dtype
        self._num_written = 0
        self._sha256 = hashlib.sha256()
        self._hashing, self._writing, self._syncing = (ThreadPoolExecutor(1) for _ in range(3))
        self._ahead: deque[tuple[Future[None], Future[None]]] = deque()
        self._sync: Future[None] = self._syncing.submit(lambda: None)
        self._num_unsynced = 0
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for slot in slots:
            end = offset + slot.num_bytes(dtype)
            header[slot.name] = {"dtype": _CODES[dtype], "shape": slot.shape, "data_offsets": [offset, end]}
            offset = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
        self._stream = path.open("wb")
        self._put(memoryview(len(text).to_bytes(8, "little") + text))

    def write(self, name: str, parts: Iterable[torch.Tensor]) -> None:
        """Write the next tensor.

        Args:
            name: Which one it is.
            parts: Its numbers in their order, row by row; a part must not change after it was given.
        """
        slot = self._slots[self._num_written]
        num_bytes = 0
        for part in parts:
            assert part.dtype == self._dtype
            data = part.contiguous().view(-1).view(torch.uint8).numpy().data
            num_bytes += len(data)
            self._put(data)
        assert (slot.name, slot.num_bytes(self._dtype)) == (name, num_bytes)
        self._num_written += 1

    def close(self) -> str:
        """Bring the file to the disk and return its SHA-256."""
        assert self._num_written == len(self._slots)
        self._wait(0)
        self._sync.result()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.abandon()
        return self._sha256.hexdigest()

    def abandon(self) -> None:
        """Close an unfinished file."""
        for threads in (self._hashing, self._writing, self._syncing):
            threads.shutdown(cancel_futures=True)
        with suppress(OSError):  # a full disk, once more, for what is thrown away
            self._stream.close()

    def _put(self, data: memoryview) -> None:
        hashed = self._hashing.submit(self._sha256.update, data)
        self._ahead.append((hashed, self._writing.submit(self._write, data)))
        self._wait(_NUM_AHEAD)

    def _write(self, data: memoryview) -> None:
        self._stream.write(data)
        self._num_unsynced += len(data)
        if self._num_unsynced >= _SYNC_BYTES and self._sync.done():
            self._sync.result()  # the system tells of a lost page once; the sync at the end would know nothing of it
            self._num_unsynced = 0
            self._sync = self._syncing.submit(self._flush)

    def _flush(self) -> None:
        """Bring what is written to the disk, and out of the memory in which the system keeps files.

        A model as large as that memory would push everything else out of it, and new pages cost more than these.
        """
        os.fsync(self._stream.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def _wait(self, num_left: int) -> None:
        """Wait until no more than so many parts are on their way; what failed there is raised here."""
        while len(self._ahead) > num_left:
            for future in self._ahead.popleft():
                future.result()
