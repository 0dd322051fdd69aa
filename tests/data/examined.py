"""Files as people bring them, and what a careful reader expects of each: written down from the promises alone.

A row of the table says: the bytes, what must be refused (exactly these), what must at least be noticed, the counts, and
the words that training must or must not see. `ANY` stands for a place that two careful readers may name differently.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ANY = None
Place = tuple[int | None, str | None, str]  # row, field, pattern in reason and action


@dataclass(frozen=True)
class Case:
    """One call of `data check` and what it must say."""

    name: str
    content: "bytes | Callable[[Path], object]"
    refused: tuple[Place, ...] = ()
    noted: tuple[Place, ...] = ()
    rows: tuple[int, int, int] | None = None  # in the file, loaded, dropped
    turns: int | None = None
    conversations: int | None = None
    texts: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    format: str = ""
    arguments: tuple[str, ...] = ()
    exit_code: int | None = None
    is_loud: bool = False  # refused or noted, both are right; silence is not
    is_clean: bool = False  # nothing at all to say


TOPICS = (
    ("Where does the ferry to the lighthouse leave from?", "From the third pier, just behind the net-mender's shed."),
    ("Can you teach me a knot for a hammock?", "Start with a bowline; it holds firm and never jams on you."),
    ("What grows in the shade of your garden?", "Ferns, mostly, and one stubborn hydrangea that refuses to bloom."),
    ("Did the clockmaker mend your watch?", "He did, though it now chimes whenever somebody lies near it."),
    ("Which tea do you keep for stormy evenings?", "Smoked black leaves with a slice of dried orange on top."),
    ("How far is the old observatory?", "Two hours uphill, longer if the goats block the path again."),
)


def messages(at: int = 0) -> list[dict[str, Any]]:
    """One good conversation."""
    ask, reply = TOPICS[at]
    return [{"role": "user", "content": ask}, {"role": "assistant", "content": reply}]


def good(at: int = 0) -> dict[str, Any]:
    """One good row."""
    return {"messages": messages(at)}


def dump(value: object) -> str:
    """Strict JSON on one line."""
    return json.dumps(value, ensure_ascii=False)


def lines(*rows: object) -> bytes:
    """JSON Lines; a string is taken as it is."""
    return "".join((row if isinstance(row, str) else dump(row)) + "\n" for row in rows).encode()


def around(row: object) -> bytes:
    """A good row, the row in question, a good row."""
    return lines(good(0), row, good(1))


def said(*contents: object, roles: tuple[object, ...] = ("user", "assistant") * 9) -> dict[str, Any]:
    """A row of messages."""
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]}


REPLY = TOPICS[2][1]
ASK = TOPICS[2][0]
BASE = dump(good(2))
