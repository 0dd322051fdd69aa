"""Files that are there whole or not at all, whatever ends the program while they are written."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, content: str | bytes, *, mode: int | None = None) -> None:
    """Write a small file; text is written as UTF-8.

    Args:
        path: Where to; what stands there stays until the new file is on the disk.
        content: All of it.
        mode: Permissions; None keeps those of the file that is replaced.

    Raises:
        OSError: The disk is full, or the place cannot be written; what stood there is untouched.
    """
    with replacing(path, mode=mode) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, *, mode: int | None = None) -> Iterator[Path]:
    """Yield the name of a file beside `path`; what the block writes there takes its place when the block ends well.

    The name is this process's own, so that of two that write at once the later holds. Nothing is left behind.

    Raises:
        OSError: The disk is full, or the place cannot be written; what stood there is untouched.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        permissions = _permissions(path) if mode is None else mode
        if permissions is not None:
            partial.chmod(permissions)
        sync(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    if path.is_dir() and sys.platform == "win32":
        return  # Windows has no handle for a folder; a rename is kept in its journal
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _permissions(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
