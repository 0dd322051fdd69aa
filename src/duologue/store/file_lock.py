"""A file that several processes write: one after the other."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl


@contextlib.contextmanager
def written_alone(path: Path) -> Iterator[None]:
    """Wait for other processes that write the same file; on Windows the last one to write wins.

    Raises:
        OSError: The folder cannot be written.
    """
    with path.with_name(f".{path.name}.lock").open("w", encoding="utf-8") as handle:
        if sys.platform != "win32":
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
