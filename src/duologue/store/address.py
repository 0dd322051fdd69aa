"""The address of a PostgreSQL server: what libpq needs, which schema is ours, and a name without the password."""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from duologue.errors import ConfigError

DEFAULT_SCHEMA = "duologue"
_SCHEMA = re.compile(r"[a-z][a-z0-9_]{0,39}")
_EXAMPLE = "postgresql://user@host:5432/database?schema=lila"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store lies.

    Attributes:
        connection: What libpq connects with, password included; never shown.
        schema: The schema of the store's tables.
        label: The address for messages, without the password.
    """

    connection: dict[str, Any] = field(repr=False)
    schema: str
    label: str


def parse_address(place: str, *, name: str) -> Address:
    """Return the parts of `postgresql://…`.

    Args:
        place: With any setting of libpq in its query (`sslmode`, `host`, …), and `schema`, which is ours: two
            characters or applications in one database take two names. It is `duologue` when it is not given.
        name: The store; its tables lie in the schema `{schema}_{name}`.

    Raises:
        ConfigError: It cannot be read. The message does not repeat it, because it may hold a password.
    """
    head, _, query = place.partition("?")
    settings = parse_qsl(query, keep_blank_values=True)
    schema = dict(settings).get("schema", DEFAULT_SCHEMA)
    if not _SCHEMA.fullmatch(schema):
        raise ConfigError(
            f"the schema '{schema}' in the address of the database is no plain name",
            needed="1 to 40 small letters, digits and underscores, a letter first",
        )
    others = urlencode([pair for pair in settings if pair[0] != "schema"])
    try:
        parts = conninfo_to_dict(f"{head}?{others}" if others else head)
    except (psycopg.ProgrammingError, UnicodeError):
        raise ConfigError(
            "the address of the database cannot be read",
            needed=_EXAMPLE,
            action="In a user name or a password, write characters such as @ : / ? as % and two hexadecimal digits.",
        ) from None  # libpq's own message quotes parts of the address
    label = f"postgresql://{parts.get('user', '')}@{parts.get('host', '')}:{parts.get('port', 5432)}"
    return Address(
        connection={"connect_timeout": 5, "application_name": "duologue", "keepalives_idle": 30, **parts},
        schema=f"{schema}_{name}",
        label=f"{label}/{parts.get('dbname', '')}?schema={schema}",
    )
