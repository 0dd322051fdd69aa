"""A damaged database: found before it is used, put aside, restored from the newest good backup and what can be read."""

import contextlib
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from duologue.errors import DataError
from duologue.files import sync
from duologue.store.faults import RESTORE, is_damage, translate
from duologue.store.rotation import Backup, Notify, backups_folder, list_backups, write_copy
from duologue.store.salvage import Salvaged, salvage

BUSY_TIMEOUT_SECONDS = 10.0


def find_damage(path: Path) -> str:
    """Look at an existing file through a read-only connection, which cannot change a byte of it.

    Returns:
        What is wrong with it; empty for a good file, and for one that is to be made.

    Raises:
        DataError: The file cannot be read, or another program holds it.
    """
    size = path.stat().st_size if path.is_file() else 0
    log = path.with_name(path.name + "-wal")
    if size == 0:
        if log.is_file() and log.stat().st_size > 0:
            # SQLite would throw the log away and start anew.
            return "the database is gone, but its write-ahead log is not empty"
        return "the database is gone, but it has backups" if list_backups(path) else ""
    try:
        verdict = quick_check(path)
    except sqlite3.Error as error:
        translated = translate(error, path)
        if not is_damage(error) or not isinstance(translated, DataError):
            raise translated from error
        return translated.found
    return "" if verdict == "ok" else f"the database is damaged ({verdict})"


def quick_check(path: Path) -> str:
    """Return SQLite's verdict on a file: `ok`, or the first thing that is wrong."""
    with contextlib.closing(_read_only(path)) as connection:
        [(verdict,)] = connection.execute("PRAGMA quick_check(1)").fetchall()
        return str(verdict)


def restore(
    path: Path, fault: str, *, migrate: Callable[[Path], None], finish: Callable[[Path], None], notify: Notify
) -> None:
    """Put a damaged file aside and a restored one in its place.

    The new file is whole and on disk before the damaged one is moved; a crash in between leaves either the one or the
    other, or a restored file that the next start finds.

    Args:
        path: The database.
        fault: What `find_damage` said.
        migrate: Brings a copy of a backup to the newest schema, so that rows of the damaged file fit in.
        finish: Puts right what the rows that are missing have left behind.
        notify: Is told what happened, in sentences.

    Raises:
        DataError: There is no good backup; every file is as it was.
    """
    ready = path.with_name(path.name + ".restored")
    if not path.exists() and ready.is_file() and quick_check(ready) == "ok":
        _put_aside(path)  # a crash came between the renames; a log that stayed behind belongs to the damaged file
        _rename(ready, path)
        notify(f"{path.name}: the restoration that was interrupted is complete.")
        return
    backup = _newest_good(path, notify)
    if backup is None:
        raise DataError(fault, where=str(path), action=RESTORE)
    partial = path.with_name(path.name + ".restoring")
    try:
        for ending in ("", "-wal", "-shm"):  # of a restoration that was killed: its log must not be read into this one
            partial.with_name(partial.name + ending).unlink(missing_ok=True)
        with contextlib.closing(_read_only(backup.path)) as source:
            write_copy(source, partial)
        salvaged = _salvaged(path, partial, migrate)
        finish(partial)
        sync(partial)
        _refuse_use(path)
        partial.replace(ready)
    except sqlite3.Error as error:
        raise translate(error, path) from error
    except OSError as error:
        raise _cannot(error, path) from error
    aside = _put_aside(path)
    _rename(ready, path)
    _tell(path, fault, backup=backup, aside=aside, salvaged=salvaged, notify=notify)


def _salvaged(path: Path, partial: Path, migrate: Callable[[Path], None]) -> Salvaged:
    """Add what can be read of the damaged file to the copy of a backup, whichever of the two schemas is the newer."""
    salvaged = salvage(path, partial) if path.is_file() else Salvaged()
    migrate(partial)
    return salvage(path, partial) if salvaged.fault else salvaged


def _newest_good(path: Path, notify: Notify) -> Backup | None:
    for backup in list_backups(path):
        try:
            if quick_check(backup.path) == "ok":
                return backup
        except sqlite3.Error:
            pass
        notify(f"{path.name}: the backup {backup.path.name} is damaged too; the one before it is looked at.")
    return None


def _refuse_use(path: Path) -> None:
    """Refuse to move a file that another program has open: what it writes from now on would be lost.

    SQLite merges the log when this closes the file, so it comes after the reading.
    """
    if not path.is_file():
        return
    connection = sqlite3.connect(path, timeout=1.0, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise DataError(
                "the database is damaged, and another program has it open",
                where=str(path),
                action="Close the other program; the next start restores it.",
            ) from error
        # Too damaged to be locked; nobody else can use it either.
    finally:
        connection.close()


def _put_aside(path: Path) -> Path:
    """Rename what is left of a database to a name with the time, its log last: a log alone is never opened."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    aside = path.with_name(f"{path.stem}.damaged-{stamp}.sqlite")
    for ending in ("", "-wal", "-shm"):
        file = path.with_name(path.name + ending)
        if file.exists():
            _rename(file, aside.with_name(aside.name + ending))
    return aside


def _rename(file: Path, to: Path) -> None:
    try:
        file.replace(to)
        sync(to.parent)
    except OSError as error:
        raise _cannot(error, to) from error


def _cannot(error: OSError, path: Path) -> DataError:
    return DataError(
        f"the restored database cannot be put in its place ({error.strerror})",
        where=str(path),
        action="Check the disk and the permissions of the folder; the next start tries again.",
    )


def _tell(path: Path, fault: str, *, backup: Backup, aside: Path, salvaged: Salvaged, notify: Notify) -> None:
    made_at = backup.made_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    sentences = [f"{path.name}: {fault}.", f"It was restored from the backup of {made_at}."]
    if salvaged.num_new or salvaged.num_changed:
        sentences.append(
            f"{salvaged.num_new:,} newer rows and {salvaged.num_changed:,} changed ones could still be read in the"
            " damaged file and are in it."
        )
    if salvaged.num_unreadable:
        sentences.append(f"Up to {salvaged.num_unreadable:,} rows could not be read.")
    if salvaged.num_refused:
        sentences.append(f"{salvaged.num_refused:,} rows were read but made no sense and were left out.")
    if salvaged.fault:
        sentences.append(f"Newer rows could not be looked for: {salvaged.fault}.")
    if aside.exists() or aside.with_name(aside.name + "-wal").exists():
        sentences.append(f"The damaged file is kept as {aside.name} until something is forgotten.")
    elif backups_folder(path).is_dir():
        sentences.append("To start anew, move the folder backups away too.")
    notify(" ".join(sentences))


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None
    )
