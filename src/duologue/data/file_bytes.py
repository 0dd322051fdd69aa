"""The bytes of a file, read once: only a regular file is opened, its hash is taken on the way, and gzip is unpacked."""

import errno
import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

CHUNK_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"

# Conversations in gzip are some 3 to 20 times larger unpacked; deflate can reach 1,032. What exceeds 100 over a stretch
# this long was made to fill a disk or a memory.
MAX_GZIP_RATIO = 100
GZIP_STRETCH_BYTES = 64 << 20
_GZIP_PIECE_BYTES = 1024


class Refusal(Exception):
    """Why a file, or the rest of it, cannot be read; a sentence for people."""

    def __init__(self, reason: str) -> None:
        """Store the reason."""
        super().__init__(reason)
        self.reason = reason


class BombRefusal(Refusal):
    """A gzip that was made to fill a disk or a memory; none of it is to be used."""


class FileBytes:
    """A regular file that is open for one pass.

    Attributes:
        num_bytes: How many bytes were read so far.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            Refusal: It is missing, no regular file, or may not be read.
        """
        self._path = path
        self._descriptor, self._opened = _open_regular(path)
        self._digest = hashlib.sha256()
        self._is_ended = False
        self.num_bytes = 0

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in order.

        Raises:
            Refusal: The disk reports an error.
        """
        while not self._is_ended:
            try:
                chunk = os.read(self._descriptor, CHUNK_BYTES)
            except OSError as error:
                self._is_ended = True
                raise Refusal(f"the file cannot be read at byte {self.num_bytes:,} ({error.strerror})") from error
            self._is_ended = not chunk
            self.num_bytes += len(chunk)
            self._digest.update(chunk)
            if chunk:
                yield chunk

    def sha256(self) -> str:
        """Read what is left and return the hash of all bytes.

        Raises:
            Refusal: The disk reports an error.
        """
        for _ in self.chunks():
            pass
        return self._digest.hexdigest()

    def signature(self) -> tuple[int, int, int, int]:
        """Return size, time of change, inode and device as they were when the file was opened."""
        return _signature(self._opened)

    def change(self, before: tuple[int, int, int, int]) -> str:
        """Return what changed since a signature, after all bytes were read; nothing when nothing did."""
        try:
            now = self._path.stat()
        except OSError as error:
            return f"it is gone ({error.strerror})"
        if _signature(now)[2:] != before[2:]:
            return "another file took its place"
        if now.st_size != before[0] or self.num_bytes != before[0]:
            return f"it had {before[0]:,} bytes, {self.num_bytes:,} were read, and now it has {now.st_size:,}"
        return "" if _signature(now) == before else "its time of change is another"

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def unzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the content of a gzip with one or several members; its declared size is never used.

    Raises:
        Refusal: The gzip is cut off or damaged, unpacks to something absurdly large, or is followed by something else.
    """
    num_read = 0
    meter = _Meter()
    unzip = zlib.decompressobj(wbits=31)
    for piece in _pieces(chunks):
        num_read += len(piece)
        rest = piece
        while rest:
            if unzip.eof:
                rest = rest.lstrip(b"\0")  # padding, which tapes put behind a gzip
                if not rest:
                    break
                if not rest.startswith(GZIP_MAGIC[: len(rest)]):
                    raise Refusal(f"at byte {num_read - len(rest):,} something follows that is no gzip; remove it")
                unzip = zlib.decompressobj(wbits=31)
            try:
                unpacked = unzip.decompress(rest, CHUNK_BYTES)
            except zlib.error as error:
                cause = str(error).rpartition(": ")[2]
                at = num_read - len(rest)
                raise Refusal(f"the gzip is damaged near byte {at:,} ({cause}); copy or download it again") from error
            rest = unzip.unused_data if unzip.eof else unzip.unconsumed_tail
            meter.count(num_read - len(rest), len(unpacked))
            if unpacked:
                yield unpacked
    if not unzip.eof:
        raise Refusal(f"the gzip is cut off at byte {num_read:,}, its end is missing; copy or download it again")


def _pieces(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut chunks up small, so that what stands before damaged bytes is given out and the damage is placed."""
    for chunk in chunks:
        for start in range(0, len(chunk), _GZIP_PIECE_BYTES):
            yield chunk[start : start + _GZIP_PIECE_BYTES]


class _Meter:
    """Compares what goes into a gzip's unpacking with what comes out, stretch by stretch."""

    def __init__(self) -> None:
        self._read_before = 0
        self._unpacked = 0

    def count(self, num_read: int, num_unpacked: int) -> None:
        self._unpacked += num_unpacked
        if self._unpacked < GZIP_STRETCH_BYTES:
            return
        read = num_read - self._read_before
        if self._unpacked > MAX_GZIP_RATIO * max(read, 1):
            raise BombRefusal(
                f"{read:,} bytes of the gzip unpack to {self._unpacked:,}, more than {MAX_GZIP_RATIO} times as much, "
                "as in a file made to fill a disk; unpack it yourself (gunzip) and name the result if you trust it"
            )
        self._read_before, self._unpacked = num_read, 0


def _open_regular(path: Path) -> tuple[int, os.stat_result]:
    """Open without waiting: a pipe without a writer would hang an ordinary open."""
    try:
        _refuse_irregular(path.stat().st_mode)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except OSError as error:
        raise Refusal(_open_reason(path, error)) from error
    except ValueError as error:  # a NUL or half of a surrogate pair in the name
        raise Refusal("the name of the file is not one that a disk can have") from error
    opened = os.fstat(descriptor)
    try:
        _refuse_irregular(opened.st_mode)  # it may have been exchanged in between
    except Refusal:
        os.close(descriptor)
        raise
    return descriptor, opened


def _refuse_irregular(mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise Refusal("this is a folder; name the files in it, for example 'FOLDER/*.jsonl'")
    kinds = (
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a disk"),
    )
    kind = next((name for is_kind, name in kinds if is_kind(mode)), "no file")
    raise Refusal(f"this is {kind}, no regular file; save its content to a file first")


def _open_reason(path: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT and path.is_symlink():
        return f"the link points to {str(path.readlink())!r}, which is not there"
    reasons = {
        errno.ENOENT: "there is no such file; check the name",
        errno.ENOTDIR: "there is no such file; a part of its path is a file, no folder",
        errno.EACCES: "the file may not be read (permission denied); change its permissions",
        errno.ELOOP: "the link leads back to itself",
        errno.ENAMETOOLONG: "the name of the file is too long",
    }
    return reasons.get(error.errno or 0, f"the file cannot be read ({error.strerror})")


def _signature(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev
