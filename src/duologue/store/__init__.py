"""Rows that must last: databases that are checked, migrated, durable and safe to share, in a file or on a server."""

from duologue.store.base import Cursor, Database, Dialect, Parameters, Row
from duologue.store.dialect import Migration, Script, kept_elsewhere, scripts
from duologue.store.file_lock import written_alone
from duologue.store.opening import is_server, open_database
from duologue.store.postgres_words import LEXEMES_SCRIPT
from duologue.store.trouble import is_of_storage

__all__ = [
    "LEXEMES_SCRIPT",
    "Cursor",
    "Database",
    "Dialect",
    "Migration",
    "Parameters",
    "Row",
    "Script",
    "is_of_storage",
    "is_server",
    "kept_elsewhere",
    "open_database",
    "scripts",
    "written_alone",
]
