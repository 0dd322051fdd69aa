"""SQLite's errors to house errors: what happened to the file and what the person can do."""

import sqlite3
from pathlib import Path

from duologue.errors import DataError

RESTORE = "Put a backup in its place, or move the file away to start anew; it was left as it is."
_FULL = ("the disk is full", "Free some space and try again.")
_DAMAGED = ("the database is damaged", RESTORE)
_CAUSES = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: ("the file is not a database, or it is damaged", RESTORE),
    sqlite3.SQLITE_BUSY: ("another program holds the database", "Close the other program and try again."),
    sqlite3.SQLITE_LOCKED: ("another program holds the database", "Close the other program and try again."),
    sqlite3.SQLITE_READONLY: ("the database cannot be written", "Check the permissions of the file and its folder."),
    sqlite3.SQLITE_CANTOPEN: ("the database cannot be opened", "Check that the folder exists and can be written."),
    sqlite3.SQLITE_IOERR: ("reading or writing the disk failed", "Check the disk and its free space, then try again."),
}


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error says that the file itself is damaged."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def translate(error: sqlite3.Error, path: Path) -> Exception:
    """Return the house error for what the disk or another program did; our own mistakes come back unchanged."""
    code = getattr(error, "sqlite_errorcode", 0)  # absent on errors that the sqlite3 module raises by itself
    cause = _CAUSES.get(code & 0xFF)  # the low byte is the primary code
    if cause is None:
        return error
    found, action = cause
    return DataError(f"{found} ({error})", where=str(path), action=action)
