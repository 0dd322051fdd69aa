"""One SQLite file: opened with a check, brought to the newest schema, written in whole transactions."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from duologue.errors import DataError
from duologue.store.base import Cursor, Dialect, Parameters
from duologue.store.faults import RESTORE, translate
from duologue.store.restore import BUSY_TIMEOUT_SECONDS, find_damage, restore
from duologue.store.rotation import Notify, Rotation, list_backups, write_copy

_LOG = logging.getLogger(__name__)
_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # every commit reaches the disk before it is acknowledged
    "PRAGMA secure_delete = ON",  # deleted content is overwritten with zeros
    "PRAGMA foreign_keys = ON",
)
Mend = Callable[[Cursor], None]


def open_database(
    path: Path, *, migrations: Sequence[str], notify: Notify | None = None, mend: Mend | None = None
) -> "SqliteDatabase":
    """Open a database, make it when it is missing, and apply the migrations it lacks.

    A damaged or vanished file that has a backup is put aside and restored first, with what can still be read of it.
    Backups are made from now on (`rotation`).

    Args:
        path: The file; its folder must exist.
        migrations: SQL scripts in order. Script N brings the schema from version N-1 to N (`PRAGMA user_version`).
            A released script never changes.
        notify: Is told, in sentences, when a file was restored or a backup failed; may be called from another thread.
            By default it goes to the log of this module, which is shown on stderr.
        mend: Puts right what no constraint holds, such as a chain with a link that is lost; called inside a transaction
            after a file was restored.

    Raises:
        DataError: The file is damaged and has no backup (it is left untouched), comes from a newer duologue, or cannot
            be written.
    """
    notify = notify or _LOG.warning
    rotation = Rotation(path, notify=notify)
    _restore_damage(path, rotation, migrations, mend=mend, notify=notify)
    is_new = not path.is_file() or path.stat().st_size == 0
    try:
        path.touch(mode=0o600)  # conversations are private
    except OSError as error:
        raise DataError(
            f"the database cannot be opened ({error.strerror})",
            where=str(path),
            action="Check that the folder exists and can be written.",
        ) from error
    database = SqliteDatabase(path, rotation)
    try:
        if not is_new and database.version() < len(migrations):
            with _noted(notify):
                rotation.make_now()
        database.migrate(migrations)
        if not is_new and rotation.is_due_at_open():
            rotation.start()
    except BaseException:
        database.close()
        raise
    return database


class SqliteDatabase:
    """A connection that threads share: one statement or transaction at a time, others wait.

    Open it with `open_database`.
    """

    def __init__(self, path: Path, rotation: Rotation | None = None) -> None:
        """Connect to an existing file and apply the settings of the house; without a rotation no backups are made."""
        self.path = path
        self.name = str(path)
        self.dialect: Dialect = "sqlite"
        self._rotation = rotation
        self._lock = threading.RLock()
        with _translated(path):
            # isolation_level=None: transactions begin and end where we say, not where the module guesses.
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            for setting in _SETTINGS:
                self._connection.execute(setting)

    def read(self, sql: str, parameters: Parameters = (), /) -> list[sqlite3.Row]:
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
        if self._rotation is not None:
            self._rotation.written()

    def migrate(self, migrations: Sequence[str]) -> None:
        """Apply the migrations the file lacks, each in its own transaction.

        Raises:
            DataError: The file has a newer schema than `migrations` describe.
        """
        version = self.version()
        if version > len(migrations):
            raise DataError(
                f"the database has schema version {version}",
                where=str(self.path),
                needed=f"at most {len(migrations)}",
                action="It was written by a newer duologue: install that version.",
            )
        for number in range(version + 1, len(migrations) + 1):
            with self.write() as cursor:
                if self.version() >= number:  # another process was faster
                    continue
                for statement in _statements(migrations[number - 1]):
                    cursor.execute(statement)
                cursor.execute(f"PRAGMA user_version = {number}")

    def backup(self, target: Path, /) -> None:
        """Copy the database, as it is now, into one file; the file appears whole or not at all.

        Raises:
            DataError: The target cannot be written.
        """
        with self._lock, _translated(target):
            write_copy(self._connection, target)

    def purge(self) -> None:
        """Rewrite the file from its live rows, cut the write-ahead log to zero bytes, and make the backups anew.

        Afterwards no byte of a deleted row is left in any of them, nor in a damaged file that was put aside.
        `secure_delete` alone is not enough: when SQLite moves cells between pages, copies stay behind in the gaps (19
        of 4,060 deleted lines could still be read).

        Raises:
            DataError: Another program is reading, or the disk has no room for a second copy of the file.
        """
        if self._rotation is None:
            self._rewrite()
            return
        with self._rotation.replaced():
            self._rewrite()

    def close(self) -> None:
        """Close the connection when no backup is being made; the log is merged when no other connection is left."""
        if self._rotation is not None:
            self._rotation.wait()
        with self._lock:
            self._connection.close()

    def version(self) -> int:
        """Return how many migrations the file has had."""
        return int(self.read("PRAGMA user_version")[0][0])

    def _rewrite(self) -> None:
        self.read("VACUUM")
        [row] = self.read("PRAGMA wal_checkpoint(TRUNCATE)")
        if row["busy"]:
            raise DataError(
                "another program reads the database, so deleted text is still in its log",
                where=str(self.path),
                action="Close the other program and repeat the deletion.",
            )


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        translated = translate(error, path)
        if translated is error:
            raise
        raise translated from error


def _restore_damage(
    path: Path, rotation: Rotation, migrations: Sequence[str], *, mend: Mend | None, notify: Notify
) -> None:
    """Restore a damaged or vanished file."""

    def migrate(copy: Path) -> None:
        with closing(SqliteDatabase(copy)) as database:
            database.migrate(migrations)

    def finish(copy: Path) -> None:
        if mend is not None:
            with closing(SqliteDatabase(copy)) as database, database.write() as cursor:
                mend(cursor)

    fault = find_damage(path)
    if fault and not list_backups(path):
        raise DataError(fault, where=str(path), action=RESTORE)
    if fault:
        with rotation.locked():
            fault = find_damage(path)  # another process may have been faster
            if fault:
                restore(path, fault, migrate=migrate, finish=finish, notify=notify)


@contextmanager
def _noted(notify: Notify) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        notify(f"No backup was made: {error}")


def _statements(script: str) -> Iterator[str]:
    """Split at the lines where a statement is complete; `executescript` would commit in between."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    assert not statement.strip(), "a migration ends inside a statement"
