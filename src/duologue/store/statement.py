"""House SQL to PostgreSQL's: `?` and `:name` become `$1`, `$2`…, and the column `user` is quoted."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from duologue.store.base import Parameters

_TOKEN = re.compile(
    r"""
      (?P<kept> '(?:[^']|'')*' | "(?:[^"]|"")*"   # texts and quoted names
      | --[^\n]* | /\*.*?\*/                      # comments
      | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$           # bodies of functions
      | :: )                                      # a type follows
    | (?P<mark> \? )
    | :(?P<name> [a-z_][a-z0-9_]* )
    | (?P<reserved> \b user \b )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as PostgreSQL reads it.

    Attributes:
        sql: With `$1`, `$2`… for its values.
        names: The names that stand for the values, in order; empty when the house text had `?`.
    """

    sql: str
    names: tuple[str, ...]

    def values(self, parameters: Parameters) -> tuple[Any, ...]:
        """Return the values in the order of `$1`, `$2`…; True and False become 1 and 0, as in SQLite."""
        if isinstance(parameters, dict):
            values: Iterator[Any] = (parameters[name] for name in self.names)
        else:
            assert not self.names, "a statement with :names takes its values by name"
            values = iter(parameters)
        return tuple(int(value) if isinstance(value, bool) else value for value in values)


@lru_cache(maxsize=512)
def translate(sql: str) -> Statement:
    """Return a house statement in PostgreSQL's words. What is quoted or commented stays as it is."""
    names: list[str] = []
    num_marks = 0

    def replaced(token: re.Match[str]) -> str:
        nonlocal num_marks
        if token["mark"]:
            num_marks += 1
            return f"${num_marks}"
        if token["name"]:
            if token["name"] not in names:
                names.append(token["name"])
            return f"${names.index(token['name']) + 1}"
        return '"user"' if token["reserved"] else token[0]

    translated = _TOKEN.sub(replaced, sql)
    assert not (names and num_marks), "a statement has ? or :names, not both"
    return Statement(translated, tuple(names))
