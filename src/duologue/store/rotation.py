"""Backups that are made by themselves, verified before an older one goes, and replaced when something is forgotten.

They lie in `backups/` beside the database, readable by their owner only. Kept are the newest five and the newest of
each of the last seven days that have one. One is made when a file is opened that has changed since a backup older than
an hour, before a migration, after 500 transactions, and once a day.
"""

import contextlib
import os
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from duologue.errors import DataError
from duologue.files import sync
from duologue.store.faults import translate

if sys.platform != "win32":
    import fcntl

NUM_NEWEST = 5
NUM_DAYS = 7
WRITES_BETWEEN = 500
_SECONDS_AT_OPEN = 3600.0
_SECONDS_BETWEEN = 86_400.0
_LOCK_WAIT_SECONDS = 60.0
_TIME = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"-(\d{6,})-(\d{8}T\d{6}Z)\.sqlite")

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup.

    Attributes:
        path: The file.
        number: Counts up; the clock of the machine may go back, this does not.
        made_at: When it was made, as its name says.
    """

    path: Path
    number: int
    made_at: datetime


class Rotation:
    """The backups of one database file. A backup is made in a thread of its own, so that no writer waits for it."""

    def __init__(self, path: Path, *, notify: Notify) -> None:
        """Look after a file; nothing is made before `start`."""
        self._path = path
        self._folder = backups_folder(path)
        self._notify = notify
        self._thread: threading.Thread | None = None
        self._num_writes = 0
        self._made_at = time.monotonic()

    def is_due_at_open(self) -> bool:
        """Return whether an existing file has changed since its newest backup, and that is old enough."""
        newest = next(iter(list_backups(self._path)), None)
        if newest is None:
            return True
        log = self._path.with_name(self._path.name + "-wal")
        changed_at = max(file.stat().st_mtime for file in (self._path, log) if file.exists())
        if changed_at <= newest.path.stat().st_mtime:
            return False
        age_seconds = (datetime.now(UTC) - newest.made_at).total_seconds()
        return not 0 <= age_seconds < _SECONDS_AT_OPEN

    def written(self) -> None:
        """Count a transaction; begin a backup when there were enough, or a day has passed."""
        self._num_writes += 1
        if self._num_writes >= WRITES_BETWEEN or time.monotonic() - self._made_at >= _SECONDS_BETWEEN:
            self.start()

    def start(self) -> None:
        """Begin a backup unless one is being made."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._num_writes, self._made_at = 0, time.monotonic()
        self._thread = threading.Thread(target=self._make, name=f"backup of {self._path.name}")
        self._thread.start()

    def wait(self) -> None:
        """Return when no backup is being made."""
        if self._thread is not None:
            self._thread.join()

    def make_now(self) -> None:
        """Make a backup and return when it is safe on disk.

        Raises:
            DataError: The folder cannot be written, or the copy is not whole.
        """
        with self.locked():
            self._add()
            try:
                _prune(self._path, keep=kept_backups(list_backups(self._path)))
            except OSError as error:
                raise DataError(f"old backups cannot be deleted ({error.strerror})", where=str(self._folder)) from error

    @contextlib.contextmanager
    def replaced(self) -> Iterator[None]:
        """Hold back every other backup; at the end, replace all backups by one of the file as it is then.

        Where there is no backup yet, none is made. A damaged file that was put aside goes too: what was forgotten may
        be in it.

        Raises:
            DataError: The new backup cannot be written; the old ones are still there.
        """
        self.wait()
        if not self._folder.is_dir():  # and so no process makes one now, and no file was ever put aside
            yield
            return
        with self.locked():
            yield
            kept = [self._add()] if list_backups(self._path) else []
            try:
                _prune(self._path, keep=kept)
                for file in aside_files(self._path):
                    file.unlink()
            except OSError as error:
                raise DataError(
                    f"what was deleted is still in a backup that cannot be removed ({error.strerror})",
                    where=str(self._folder),
                    action="Check the permissions of the folder and repeat the deletion.",
                ) from error

    def _make(self) -> None:
        try:
            self.make_now()
        except DataError as error:
            self._notify(f"No backup was made: {error}")

    def _add(self) -> Backup:
        """Write the next backup."""
        number = max((backup.number for backup in list_backups(self._path)), default=0) + 1
        made_at = datetime.now(UTC).replace(microsecond=0)
        target = self._folder / f"{self._path.stem}-{number:06}-{made_at.strftime(_TIME)}.sqlite"
        source = sqlite3.connect(self._path, timeout=_LOCK_WAIT_SECONDS, isolation_level=None)
        try:
            source.execute("PRAGMA query_only = ON")
            write_copy(source, target)
        except sqlite3.Error as error:
            raise translate(error, target) from error
        finally:
            source.close()
        return Backup(target, number, made_at)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other process make, replace or restore a backup of the same file meanwhile."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(self._folder / f".{self._path.stem}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DataError(
                f"the folder for backups cannot be written ({error.strerror})", where=str(self._folder)
            ) from error
        try:
            _lock(handle, self._folder)
            yield
        finally:
            os.close(handle)


def backups_folder(path: Path) -> Path:
    """Return where the backups of a database lie."""
    return path.parent / "backups"


def list_backups(path: Path) -> list[Backup]:
    """Return the backups of a database, newest first."""
    found = []
    for file in backups_folder(path).glob(f"{path.stem}-*.sqlite"):
        match = _NAME.fullmatch(file.name[len(path.stem) :])
        if match:
            made_at = datetime.strptime(match[2], _TIME).replace(tzinfo=UTC)
            found.append(Backup(file, int(match[1]), made_at))
    return sorted(found, key=lambda backup: backup.number, reverse=True)


def kept_backups(backups: list[Backup]) -> list[Backup]:
    """Return which backups stay: the newest ones, and the newest of each of the last days that have one."""
    newest_of_day = {backup.made_at.date(): backup for backup in reversed(backups)}
    days = sorted(newest_of_day, reverse=True)[:NUM_DAYS]
    kept = {backup.number for backup in backups[:NUM_NEWEST]} | {newest_of_day[day].number for day in days}
    return [backup for backup in backups if backup.number in kept]


def aside_files(path: Path) -> Iterator[Path]:
    """Yield the damaged files that were put aside, with what belongs to them."""
    yield from sorted(path.parent.glob(f"{path.stem}.damaged-*"))


def write_copy(source: sqlite3.Connection, target: Path) -> None:
    """Copy an open database into one file that appears whole, checked and on disk, or not at all.

    Raises:
        DataError: The target cannot be written, or the copy is damaged.
        sqlite3.Error: The source cannot be read.
    """
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)
        copy = sqlite3.connect(partial, isolation_level=None)
        try:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # a backup is one file, without a log beside it
            [(verdict,)] = copy.execute("PRAGMA quick_check(1)").fetchall()
        finally:
            copy.close()
        if verdict != "ok":
            raise DataError(f"the copy of the database is damaged ({verdict})", where=str(target))
        sync(partial)
        partial.replace(target)
        sync(target.parent)
    except OSError as error:
        raise DataError(f"the backup cannot be written ({error.strerror})", where=str(target)) from error
    finally:
        partial.unlink(missing_ok=True)


def _prune(path: Path, *, keep: list[Backup]) -> None:
    """Delete the other backups, and copies that a killed process left unfinished."""
    names = {backup.path.name for backup in keep}
    for backup in list_backups(path):
        if backup.path.name not in names:
            backup.path.unlink(missing_ok=True)
    for partial in backups_folder(path).glob(f"{path.stem}-*.partial*"):
        partial.unlink(missing_ok=True)


def _lock(handle: int, folder: Path) -> None:
    if sys.platform == "win32":
        return
    deadline = time.monotonic() + _LOCK_WAIT_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise DataError(
                    "another program has been making a backup for a minute",
                    where=str(folder),
                    action="Close the other program and try again.",
                ) from error
            time.sleep(0.02)
        else:
            return
