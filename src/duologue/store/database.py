"""One SQLite file: opened with a check, brought to the newest schema, written in whole transactions."""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from duologue.errors import DataError
from duologue.store.faults import RESTORE, translate

Row = sqlite3.Row  # what `Database.read` returns, for rooms that must not name the driver
BUSY_TIMEOUT_SECONDS = 10.0
_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # every commit reaches the disk before it is acknowledged
    "PRAGMA secure_delete = ON",  # deleted content is overwritten with zeros
    "PRAGMA foreign_keys = ON",
)


def open_database(path: Path, *, migrations: Sequence[str]) -> "Database":
    """Open a database, make it when it is missing, and apply the migrations it lacks.

    Args:
        path: The file; its folder must exist.
        migrations: SQL scripts in order. Script N brings the schema from version N-1 to N (`PRAGMA user_version`).
            A released script never changes.

    Raises:
        DataError: The file is damaged (it is left untouched), comes from a newer duologue, or cannot be written.
    """
    _refuse_damage(path)
    try:
        path.touch(mode=0o600)  # conversations are private
    except OSError as error:
        raise DataError(
            f"the database cannot be opened ({error.strerror})",
            where=str(path),
            action="Check that the folder exists and can be written.",
        ) from error
    database = Database(path)
    try:
        database.migrate(migrations)
    except BaseException:
        database.close()
        raise
    return database


class Database:
    """A connection that threads share: one statement or transaction at a time, others wait.

    Open it with `open_database`.
    """

    def __init__(self, path: Path) -> None:
        """Connect to an existing file and apply the settings of the house."""
        self.path = path
        self._lock = threading.RLock()
        with _translated(path):
            # isolation_level=None: transactions begin and end where we say, not where the module guesses.
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            for setting in _SETTINGS:
                self._connection.execute(setting)

    def read(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Row]:
        """Return all rows of a query.

        Raises:
            DataError: The disk failed or the file is damaged.
        """
        with self._lock, _translated(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Cursor]:
        """Yield a cursor inside one transaction: committed at the end, rolled back when the body raises.

        When the `with` block has ended, the change is on disk.

        Raises:
            DataError: The disk is full or failed, or another program held the database too long. Nothing of the
                transaction is stored.
        """
        with self._lock, _translated(self.path):
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite itself rolls back when the disk is full
                    cursor.execute("ROLLBACK")
                raise
            finally:
                cursor.close()

    def migrate(self, migrations: Sequence[str]) -> None:
        """Apply the migrations the file lacks, each in its own transaction.

        Raises:
            DataError: The file has a newer schema than `migrations` describe.
        """
        version = self._version()
        if version > len(migrations):
            raise DataError(
                f"the database has schema version {version}",
                where=str(self.path),
                needed=f"at most {len(migrations)}",
                action="It was written by a newer duologue: install that version.",
            )
        for number in range(version + 1, len(migrations) + 1):
            with self.write() as cursor:
                if self._version() >= number:  # another process was faster
                    continue
                for statement in _statements(migrations[number - 1]):
                    cursor.execute(statement)
                cursor.execute(f"PRAGMA user_version = {number}")

    def backup(self, target: Path) -> None:
        """Copy the database, as it is now, into one file; the file appears whole or not at all.

        Raises:
            DataError: The target cannot be written.
        """
        partial = target.with_name(target.name + ".partial")
        try:
            partial.unlink(missing_ok=True)
            partial.touch(mode=0o600)
            with self._lock, _translated(target):
                copy = sqlite3.connect(partial, isolation_level=None)
                try:
                    self._connection.backup(copy)
                    copy.execute("PRAGMA journal_mode = DELETE")  # a backup is one file, without a log beside it
                finally:
                    copy.close()
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(target)
        except OSError as error:
            raise DataError(f"the backup cannot be written ({error.strerror})", where=str(target)) from error
        finally:
            partial.unlink(missing_ok=True)

    def purge(self) -> None:
        """Rewrite the file from its live rows and cut the write-ahead log to zero bytes.

        Afterwards no byte of a deleted row is left in either. `secure_delete` alone is not enough: when SQLite moves
        cells between pages, copies stay behind in the gaps (19 of 4,060 deleted lines could still be read).

        Raises:
            DataError: Another program is reading, or the disk has no room for a second copy of the file.
        """
        self.read("VACUUM")
        [row] = self.read("PRAGMA wal_checkpoint(TRUNCATE)")
        if row["busy"]:
            raise DataError(
                "another program reads the database, so deleted text is still in its log",
                where=str(self.path),
                action="Close the other program and repeat the deletion.",
            )

    def close(self) -> None:
        """Close the connection; the log is merged when no other connection is left."""
        with self._lock:
            self._connection.close()

    def _version(self) -> int:
        return int(self.read("PRAGMA user_version")[0][0])


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        translated = translate(error, path)
        if translated is error:
            raise
        raise translated from error


def _refuse_damage(path: Path) -> None:
    """Look at an existing file through a read-only connection, which cannot change a byte of it."""
    size = path.stat().st_size if path.is_file() else 0
    log = path.with_name(path.name + "-wal")
    if size == 0:
        if log.is_file() and log.stat().st_size > 0:
            # SQLite would throw the log away and start anew.
            raise DataError(
                "the database is gone, but its write-ahead log is not empty", where=str(path), action=RESTORE
            )
        return
    with _translated(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None
        )
        try:
            [(verdict,)] = connection.execute("PRAGMA quick_check(1)").fetchall()
        finally:
            connection.close()
    if verdict != "ok":
        raise DataError(f"the database is damaged ({verdict})", where=str(path), action=RESTORE)


def _statements(script: str) -> Iterator[str]:
    """Split at the lines where a statement is complete; `executescript` would commit in between."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    assert not statement.strip(), "a migration ends inside a statement"
