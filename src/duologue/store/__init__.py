"""Rows that must last: SQLite databases that are checked, migrated, durable and safe to share between threads."""

from duologue.store.database import Database, Row, open_database

__all__ = ["Database", "Row", "open_database"]
