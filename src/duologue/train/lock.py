"""One training at a time per character: a lock the operating system drops when the process dies, however it dies."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from duologue.errors import ConfigError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


@contextlib.contextmanager
def training_lock(runs: Path) -> Iterator[None]:
    """Hold the lock of a character's `runs/` folder.

    Raises:
        ConfigError: Another process trains this character.
    """
    runs.mkdir(parents=True, exist_ok=True)
    handle = os.open(runs / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _lock(handle)
        except OSError as error:
            owner = os.pread(handle, 20, 1).decode() if sys.platform != "win32" else ""
            process = f"process {owner.strip()}" if owner.strip() else "another process"
            raise ConfigError(
                f"{process} is training this character",
                where=str(runs),
                action="Wait for it, or stop it with Ctrl-C in its window; it keeps what it has.",
            ) from error
        os.ftruncate(handle, 1)
        os.lseek(handle, 1, os.SEEK_SET)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
