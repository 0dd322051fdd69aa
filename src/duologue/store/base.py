"""What a database of ours can do, whichever program keeps it: SQLite in a file, or PostgreSQL on a server."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

Dialect: TypeAlias = Literal["sqlite", "postgres"]
Parameters: TypeAlias = Sequence[Any] | dict[str, Any]
"""Values for the `?` of a statement, or for its `:names`."""


class Row(Protocol):
    """One row of an answer; its values are found by the names of their columns."""

    def __getitem__(self, column: str, /) -> Any:  # noqa: ANN401  (what the column holds)
        """Return the value of a column."""
        ...

    def keys(self) -> Iterable[str]:
        """Return the names of the columns."""
        ...


class Cursor(Protocol):
    """What works inside one transaction."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed; -1 when that is not known."""
        ...

    def execute(self, sql: str, parameters: Parameters = (), /) -> "Cursor":
        """Run a statement; the answer is read from the cursor that comes back."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> "Cursor":
        """Run a statement once for each set of values."""
        ...

    def fetchone(self) -> Any:  # noqa: ANN401  (a Row or None: a query with RETURNING has one)
        """Return the next `Row` of the answer, or None."""
        ...

    def fetchall(self) -> Sequence[Row]:
        """Return the remaining rows of the answer."""
        ...


class Database(Protocol):
    """Rows that last. Threads may share one; `open_database` makes it.

    The statements are SQL that both programs understand (`duologue.store.dialect` has the words that differ).
    """

    @property
    def dialect(self) -> Dialect:
        """Which program keeps the rows."""
        ...

    @property
    def name(self) -> str:
        """The file, or the address without its password, for messages."""
        ...

    def read(self, sql: str, parameters: Parameters = (), /) -> Sequence[Row]:
        """Return all rows of a query; inside `write` it sees what the transaction has done so far.

        Raises:
            DataError: The disk, the server or the way to it failed, or the file is damaged.
        """
        ...

    def write(self) -> AbstractContextManager[Cursor]:
        """Yield a cursor inside one transaction: committed at the end, rolled back when the body raises.

        One transaction at a time changes a store, in whatever process, so what it has read stays true until its end.
        When the `with` block has ended, the change is on disk.

        Raises:
            DataError: The disk is full or failed, or another program held the database too long. Unless the message
                says otherwise, nothing of the transaction is stored.
        """
        ...

    def purge(self) -> None:
        """Erase what deleted rows have left behind, as far as the program lets us (`dialect.kept_elsewhere`).

        Raises:
            DataError: Another program is reading, or there is no room to rewrite the rows.
        """
        ...

    def backup(self, target: Path, /) -> None:
        """Copy the database, as it is now, into one file; the file appears whole or not at all.

        Raises:
            DataError: The target cannot be written, or the server makes the backups.
        """
        ...

    def close(self) -> None:
        """Close every connection."""
        ...
