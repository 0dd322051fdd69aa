"""One schema of a PostgreSQL server: opened, brought to the newest version, written in whole transactions."""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import psycopg
from psycopg.rows import dict_row

from duologue.errors import DataError
from duologue.store.address import Address, parse_address
from duologue.store.base import Parameters
from duologue.store.pool import Connection, Pool
from duologue.store.server_faults import translate as translate_error
from duologue.store.statement import translate

OLDEST_SERVER = 130000  # PostgreSQL 13 is the first whose transactions can be asked for by their 64-bit number
REWRITE_BYTES = 256 * 2**20  # below, a purge rewrites the tables: about a second in which others wait
_SETTINGS = (
    "SET statement_timeout = '30s'",
    "SET lock_timeout = '10s'",
    "SET idle_in_transaction_session_timeout = '60s'",  # a replica that hangs does not hold the others for longer
    "SET client_min_messages = 'warning'",
)
_NOT_REMOVED = re.compile(r"(\d+) (?:dead row versions? cannot be removed|are dead but not yet removable)")
_Answer = TypeVar("_Answer")


def open_postgres(place: str, *, migrations: Sequence[str], name: str) -> "PostgresDatabase":
    """Open a store on a server, make its schema when it is missing, and apply the migrations it lacks.

    Args:
        place: `postgresql://user@host:5432/database?schema=lila`.
        migrations: SQL scripts in order, in PostgreSQL's words.
        name: The store, such as `chats`.

    Raises:
        ConfigError: The address cannot be read.
        DataError: The server cannot be reached or refuses us, is too old, or comes from a newer duologue.
    """
    database = PostgresDatabase(parse_address(place, name=name))
    try:
        database.migrate(migrations)
    except BaseException:
        database.close()
        raise
    return database


class PostgresCursor:
    """What works inside one transaction; takes house SQL."""

    def __init__(self, cursor: psycopg.RawCursor[dict[str, Any]]) -> None:
        """Use a cursor of the driver."""
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed; -1 when that is not known."""
        return self._cursor.rowcount

    def execute(self, sql: str, parameters: Parameters = (), /) -> "PostgresCursor":
        """Run a statement; the answer is read from the cursor that comes back."""
        statement = translate(sql)
        # Without values, the driver takes several statements at once: migrations are such texts.
        self._cursor.execute(statement.sql.encode(), statement.values(parameters) or None)
        return self

    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> "PostgresCursor":
        """Run a statement once for each set of values; `rowcount` is their sum."""
        statement = translate(sql)
        self._cursor.executemany(statement.sql.encode(), [statement.values(values) for values in parameters])
        return self

    def fetchone(self) -> dict[str, Any] | None:
        """Return the next row of the answer, or None."""
        return self._cursor.fetchone()

    def fetchall(self) -> list[dict[str, Any]]:
        """Return the remaining rows of the answer; none for a statement that gives none."""
        return self._cursor.fetchall() if self._cursor.description is not None else []


class PostgresDatabase:
    """A store on a server. Threads share it, and so do processes: one transaction at a time changes a store.

    Open it with `open_postgres`. Readers never wait. A read whose connection was lost is asked once more on a new one.
    A write is not repeated; when the connection is lost while it is being stored, the server is asked what became of
    it.
    """

    dialect: Literal["postgres"] = "postgres"

    def __init__(self, address: Address) -> None:
        """Connect to nothing yet."""
        self.name = address.label
        self.schema = address.schema
        self._address = address
        self._pool = Pool(self._connect, label=self.name)
        self._writing = threading.Lock()
        self._own = threading.local()
        digest = hashlib.sha256(f"duologue {address.schema}".encode()).digest()
        self._lock_number = int.from_bytes(digest[:8], signed=True)

    def read(self, sql: str, parameters: Parameters = (), /) -> list[dict[str, Any]]:
        """Return all rows of a query; inside `write` it sees what the transaction has done so far.

        Raises:
            DataError: The server or the way to it failed.
        """

        def ask(connection: Connection) -> list[dict[str, Any]]:
            return PostgresCursor(psycopg.RawCursor(connection)).execute(sql, parameters).fetchall()

        own: Connection | None = getattr(self._own, "connection", None)
        with self._translated(), ExitStack() as lent:
            return ask(own) if own is not None else self._ask(lent, ask)[1]

    @contextmanager
    def write(self) -> Iterator[PostgresCursor]:
        """Yield a cursor inside one transaction: committed at the end, rolled back when the body raises.

        Writers of one schema come one after another, also from other processes, so that nothing a transaction has
        read changes before its end. When the `with` block has ended, the change is on the server's disk.

        Raises:
            DataError: The server or the way to it failed, or another program held the schema for 10 s.
        """
        assert getattr(self._own, "connection", None) is None, "a transaction is open in this thread already"
        with self._translated(), self._writing, ExitStack() as lent:
            connection, number = self._ask(lent, self._begin)
            self._own.connection = connection
            try:
                yield PostgresCursor(psycopg.RawCursor(connection))
            except BaseException:
                with suppress(psycopg.Error):  # when the connection is lost, the server has rolled back
                    connection.execute("ROLLBACK")
                raise
            finally:
                self._own.connection = None
            self._commit(connection, number)

    def migrate(self, migrations: Sequence[str]) -> None:
        """Apply the migrations the schema lacks, all in one transaction; processes that start together take turns.

        Raises:
            DataError: The schema is newer than `migrations` describe, or the server is too old or not in UTF8.
        """
        with self.write() as cursor:
            self._refuse_unfit_server()
            cursor.execute("SET LOCAL statement_timeout = 0")
            if not self.read("SELECT 1 FROM pg_namespace WHERE nspname = ?", (self.schema,)):
                cursor.execute(f"CREATE SCHEMA {self.schema}")  # needs a right that later starts need not have
            cursor.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
            row = cursor.execute("SELECT max(version) AS version FROM schema_version").fetchone()
            version = (row and row["version"]) or 0
            if version > len(migrations):
                raise DataError(
                    f"the database has schema version {version}",
                    where=self.name,
                    needed=f"at most {len(migrations)}",
                    action="It was written by a newer duologue: install that version.",
                )
            for number in range(version + 1, len(migrations) + 1):
                cursor.execute(migrations[number - 1])
                cursor.execute("DELETE FROM schema_version")
                cursor.execute("INSERT INTO schema_version VALUES (?)", (number,))

    def backup(self, target: Path, /) -> None:
        """Refuse: a server's rows are saved by its own tools, with its own rights.

        Raises:
            DataError: Always, with the command that does it.
        """
        raise DataError(
            "a database on a server is not copied into a file here",
            where=self.name,
            action=f"Use PostgreSQL's own tool: pg_dump --schema={self.schema} --file={target} (and the address).",
        )

    def purge(self) -> None:
        """Clean the tables of deleted rows.

        Tables up to 256 MiB together are written anew, so that no byte of a deleted row is left in them. Larger ones
        are vacuumed only: their rows cannot be read any more, and their bytes are overwritten as new rows come.

        Raises:
            DataError: Another program has a transaction open that may still see the deleted rows.
        """
        rows = self.read(
            "SELECT quote_ident(tablename) AS name, pg_total_relation_size(quote_ident(tablename)::regclass) AS size"
            " FROM pg_tables WHERE schemaname = current_schema()"
        )
        is_rewritten = sum(row["size"] for row in rows) <= REWRITE_BYTES
        said: list[str] = []
        with self._translated(), self._pool.lend() as connection:
            connection.add_notice_handler(
                lambda notice: said.append(f"{notice.message_primary} {notice.message_detail}")
            )
            connection.execute("SET statement_timeout = 0")
            connection.execute("SET client_min_messages = 'info'")
            try:
                for row in rows:
                    connection.execute(f"VACUUM ({'FULL, ' if is_rewritten else ''}VERBOSE) {row['name']}".encode())
            finally:
                connection.close()  # its settings and its handler are for this alone
        num_left = sum(int(number) for line in said for number in _NOT_REMOVED.findall(line))
        if num_left:
            raise DataError(
                f"another program has an old transaction open, so {num_left} deleted rows are still in the tables",
                where=self.name,
                action="Close the other program and repeat the deletion.",
            )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _connect(self) -> Connection:
        connection = psycopg.connect(
            **self._address.connection,
            autocommit=True,  # transactions begin and end where we say
            row_factory=dict_row,
            prepare_threshold=None,  # a prepared statement breaks when another replica migrates the schema
        )
        connection.execute(f"SET search_path = {self.schema}, public; {'; '.join(_SETTINGS)}".encode())
        return connection

    def _ask(self, lent: ExitStack, ask: Callable[[Connection], _Answer]) -> tuple[Connection, _Answer]:
        """Borrow a connection and ask it something that changes nothing, on a new one when it turns out dead."""
        with ExitStack() as first:
            connection = first.enter_context(self._pool.lend())
            try:
                answer = ask(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if not _was_lost(connection):
                    raise
                self._pool.drop_idle()  # the others went with the same server
            else:
                lent.enter_context(first.pop_all())
                return connection, answer
        connection = lent.enter_context(self._pool.lend())
        return connection, ask(connection)

    def _begin(self, connection: Connection) -> str:
        """Return the number of a new transaction once no other one changes the schema."""
        cursor = connection.execute(
            f"BEGIN; SELECT pg_advisory_xact_lock({self._lock_number}), pg_current_xact_id()::text AS number".encode()
        )
        cursor.nextset()
        [row] = cursor.fetchall()
        return str(row["number"])

    def _commit(self, connection: Connection, number: str) -> None:
        status = connection.info.transaction_status
        assert status != psycopg.pq.TransactionStatus.INERROR, "a statement failed, and its error was swallowed"
        try:
            connection.execute("COMMIT")
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if not _was_lost(connection):
                raise
            self._pool.drop_idle()
            if not self._was_stored(number):
                raise DataError(
                    "the connection to the database was lost; nothing of the change was stored",
                    where=self.name,
                    action="Try again.",
                ) from error

    def _was_stored(self, number: str) -> bool:
        """Ask the server what became of a transaction whose end we did not hear.

        Raises:
            DataError: It does not answer.
        """
        for _ in range(20):
            try:
                rows = self.read("SELECT pg_xact_status(?::xid8) AS status", (number,))
            except DataError:
                break
            if rows[0]["status"] in {"committed", "aborted"}:
                return bool(rows[0]["status"] == "committed")
            time.sleep(0.1)
        raise DataError(
            "the connection to the database was lost while a change was being stored; whether it was is not known",
            where=self.name,
            action="Look whether it is there before you repeat it.",
        )

    def _refuse_unfit_server(self) -> None:
        [row] = self.read(
            "SELECT current_setting('server_version_num')::int AS number,"
            " current_setting('server_encoding') AS encoding"
        )
        if row["number"] < OLDEST_SERVER:
            raise DataError(f"the server is PostgreSQL {row['number'] // 10000}", where=self.name, needed="13 or newer")
        if row["encoding"] != "UTF8":
            raise DataError(
                f"the database stores texts as {row['encoding']}",
                where=self.name,
                needed="UTF8",
                action="Make another one: createdb --encoding=UTF8 --template=template0 NAME",
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            translated = translate_error(error, self.name, password=str(self._address.connection.get("password", "")))
            if translated is error:
                raise
            raise translated from error


def _was_lost(connection: Connection) -> bool:
    """Return whether an error ended the connection, rather than only the statement."""
    return bool(connection.closed or connection.broken)
