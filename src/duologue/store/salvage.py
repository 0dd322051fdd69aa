"""Rows out of a damaged SQLite file: what can still be read of each table goes into a good copy of an older state."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_UNUSED_IDS = 10_000  # skipped where it cannot be read which ids were given out; between two backups are far fewer
_LAST_ROW = 2**62


@dataclass(slots=True)
class Salvaged:
    """What was found in a damaged file.

    Attributes:
        num_new: Rows that the older state did not have.
        num_changed: Rows that it had otherwise.
        num_unreadable: At most this many rows stood where the file cannot be read, and are in no backup either.
        num_refused: Rows that contradict the schema, or belong to rows that are lost.
        fault: Why nothing could be looked for; empty otherwise.
    """

    num_new: int = 0
    num_changed: int = 0
    num_unreadable: int = 0
    num_refused: int = 0
    fault: str = ""


def salvage(damaged: Path, good: Path) -> Salvaged:
    """Add the rows of a damaged file to a good one of the same schema; nothing is deleted from it.

    Args:
        damaged: Is only read.
        good: Is changed, in one transaction.

    Raises:
        sqlite3.Error: The good file cannot be written.
    """
    found = Salvaged()
    with (
        contextlib.closing(sqlite3.connect(f"{damaged.absolute().as_uri()}?mode=ro", uri=True)) as source,
        contextlib.closing(sqlite3.connect(good, isolation_level=None)) as target,
    ):
        source.row_factory = target.row_factory = sqlite3.Row
        [version] = target.execute("PRAGMA user_version").fetchone()
        try:
            [found_version] = source.execute("PRAGMA user_version").fetchone()
            names = {row["name"] for row in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except sqlite3.Error as error:
            found.fault = str(error)
            return found
        if found_version != version:
            found.fault = f"its schema has version {found_version}, that of the backup {version}"
            return found
        target.execute("PRAGMA foreign_keys = OFF")
        target.execute("BEGIN IMMEDIATE")
        for table in _tables(target):
            if table in names:
                _add_rows(source, target, table, found)
        _keep_ids_unused(source, target)
        found.num_refused += _drop_strays(target)
        _index_words(target)
        target.execute("COMMIT")
    return found


def _tables(target: sqlite3.Connection) -> list[str]:
    """Return the tables with rows of our own: not those of an index or of SQLite itself."""
    rows = target.execute("PRAGMA main.table_list").fetchall()
    return sorted(row["name"] for row in rows if row["type"] == "table" and not row["name"].startswith("sqlite_"))


def _add_rows(source: sqlite3.Connection, target: sqlite3.Connection, table: str, found: Salvaged) -> None:
    columns = [row["name"] for row in target.execute(f'PRAGMA table_info("{table}")')]
    keys = [row["name"] for row in target.execute(f'PRAGMA table_info("{table}")') if row["pk"]] or columns
    all_names = ", ".join(f'"{name}"' for name in columns)
    where = " AND ".join(f'"{name}" IS ?' for name in keys)
    changes = ", ".join(f'"{name}" = ?' for name in columns)
    places = ", ".join("?" for _ in columns)
    for row in _readable_rows(source, table, all_names, found):
        values, key = tuple(row[name] for name in columns), tuple(row[name] for name in keys)
        old = target.execute(f'SELECT {all_names} FROM "{table}" WHERE {where}', key).fetchone()  # noqa: S608
        try:
            if old is None:
                target.execute(f'INSERT INTO "{table}" ({all_names}) VALUES ({places})', values)  # noqa: S608
                found.num_new += 1
            elif tuple(old) != values:
                target.execute(f'UPDATE "{table}" SET {changes} WHERE {where}', (*values, *key))  # noqa: S608
                found.num_changed += 1
        except sqlite3.IntegrityError:
            found.num_refused += 1


def _readable_rows(source: sqlite3.Connection, table: str, names: str, found: Salvaged) -> Iterator[sqlite3.Row]:
    """Yield the rows of a table in order, leaping over the places that cannot be read."""
    sql = f'SELECT rowid AS row_number, {names} FROM "{table}" NOT INDEXED WHERE rowid >= ? ORDER BY rowid'  # noqa: S608
    at = 1
    while True:
        cursor = source.execute(sql, (at,)) if _is_readable(source, sql, at) else None
        while cursor is not None:
            try:
                row = cursor.fetchone()
            except sqlite3.Error:
                break
            if row is None:
                return
            yield row
            at = row["row_number"] + 1
        after = _next_readable(source, sql, at)
        first = _first_row(source, sql, after) if after is not None else None
        if first is None:
            found.num_unreadable += max(0, _last_given(source, table) - at + 1)
            return
        found.num_unreadable += first - at
        at = first


def _is_readable(source: sqlite3.Connection, sql: str, at: int) -> bool:
    try:
        source.execute(sql, (at,)).fetchone()
    except sqlite3.Error:
        return False
    return True


def _first_row(source: sqlite3.Connection, sql: str, at: int) -> int | None:
    row = source.execute(sql, (at,)).fetchone()
    return None if row is None else int(row["row_number"])


def _next_readable(source: sqlite3.Connection, sql: str, at: int) -> int | None:
    """Return the first row number from which reading works again: leaps that double, then halves."""
    leap = 1
    while not _is_readable(source, sql, at + leap):
        leap *= 2
        if at + leap > _LAST_ROW:
            return None
    low, high = at + leap // 2, at + leap
    while low + 1 < high:
        middle = (low + high) // 2
        if _is_readable(source, sql, middle):
            high = middle
        else:
            low = middle
    return high


def _last_given(source: sqlite3.Connection, table: str) -> int:
    with contextlib.suppress(sqlite3.Error):
        row = source.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        return int(row["seq"]) if row else 0
    return 0


def _keep_ids_unused(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Never give out an id again that the damaged file had given out, whether its row could be read or not."""
    if not target.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone():
        return
    given: dict[str, Any] = {}
    with contextlib.suppress(sqlite3.Error):
        given = {row["name"]: row["seq"] for row in source.execute("SELECT name, seq FROM sqlite_sequence")}
    for row in target.execute("SELECT name, seq FROM sqlite_sequence").fetchall():
        last = given.get(row["name"])
        seq = max(row["seq"], last) if isinstance(last, int) else row["seq"] + _UNUSED_IDS
        target.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (seq, row["name"]))


def _drop_strays(target: sqlite3.Connection) -> int:
    """Delete rows that refer to rows which are lost, such as messages of an unreadable session."""
    num_strays = 0
    while strays := target.execute("PRAGMA foreign_key_check").fetchall():
        for stray in strays:
            target.execute(f'DELETE FROM "{stray["table"]}" WHERE rowid = ?', (stray["rowid"],))  # noqa: S608
        num_strays += len({(stray["table"], stray["rowid"]) for stray in strays})
    return num_strays


def _index_words(target: sqlite3.Connection) -> None:
    """Build the full-text indexes anew from the rows they index."""
    sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%fts5%content%'"
    for row in target.execute(sql).fetchall():
        with contextlib.suppress(sqlite3.OperationalError):  # an index that holds no content cannot be rebuilt
            target.execute(f'INSERT INTO "{row["name"]}" ("{row["name"]}") VALUES (\'rebuild\')')  # noqa: S608
