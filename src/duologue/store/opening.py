"""An address to a database: a file is SQLite, `postgresql://…` is PostgreSQL."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard

from duologue.errors import ConfigError
from duologue.store.base import Database
from duologue.store.database import Mend
from duologue.store.database import open_database as open_sqlite
from duologue.store.dialect import Migration, scripts
from duologue.store.rotation import Notify

_SCHEMES = ("postgresql://", "postgres://")


def open_database(
    place: Path | str,
    *,
    migrations: Sequence[Migration],
    name: str = "",
    notify: Notify | None = None,
    mend: Mend | None = None,
) -> Database:
    """Open a database, make it when it is missing, and apply the migrations it lacks.

    Args:
        place: A file for SQLite, whose folder must exist, or `postgresql://user@host/database?schema=lila`.
        migrations: In order. Number N brings the schema from version N-1 to N. A released one never changes.
        name: Which store of a character or an application this is, such as `chats`. In PostgreSQL each store of each
            `schema` has its own tables and its own version; a file holds one store, so it needs no name.
        notify: Is told, in sentences, when a damaged file was restored or a backup failed; by default the log, and so
            stderr. A server restores itself and makes its own backups.
        mend: Puts right what no constraint holds after a file was restored, such as a chain with a lost link.

    Raises:
        ConfigError: A text is no address of PostgreSQL.
        DataError: The database is damaged, cannot be reached or written, or comes from a newer duologue.
    """
    if not is_server(place):
        if isinstance(place, str):
            raise ConfigError(
                "the address of the database is not one of PostgreSQL", needed="postgresql://user@host:5432/database"
            )
        return open_sqlite(place, migrations=scripts(migrations, "sqlite"), notify=notify, mend=mend)
    from duologue.store.postgres import open_postgres  # the driver takes 0.1 s to load

    assert name, "a store on a server has a name"
    return open_postgres(place, migrations=scripts(migrations, "postgres"), name=name)


def is_server(place: Path | str) -> TypeGuard[str]:
    """Return whether a place is the address of a PostgreSQL server rather than a file."""
    return isinstance(place, str) and place.startswith(_SCHEMES)
