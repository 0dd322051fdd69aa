"""A corpus of files that people could have: broken, odd, or both, with what `duologue data check` has to say of each.

Each file is built here, alone, with a few rows. `faults` lists everything the check may say, no less and no more: row
and field, a fragment of the reason, and the action.
"""

import gzip
import json
import zlib
from dataclasses import dataclass

REFUSED = "file refused"
DROPPED = "row dropped"


@dataclass(frozen=True)
class Expected:
    """An entry of the account."""

    row: int
    field: str
    reason: str
    action: str


@dataclass(frozen=True)
class BadFile:
    """A file and what the check says of it.

    Attributes:
        name: Its name; unique, with the ending the case is about.
        content: Its bytes.
        num_loaded: Rows that are used all the same.
        faults: Everything that is said, in order.
    """

    name: str
    content: bytes
    num_loaded: int
    faults: tuple[Expected, ...]

    @property
    def exit_code(self) -> int:
        """3 where something was refused."""
        return 3 if any(fault.action in (REFUSED, DROPPED) for fault in self.faults) else 0


def bad(name: str, content: object, num_loaded: int, *faults: tuple[int, str, str, str]) -> BadFile:
    """Describe a file; content that is no text is written as JSON."""
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    data = content.encode() if isinstance(content, str) else content
    return BadFile(name, data, num_loaded, tuple(Expected(*fault) for fault in faults))


# ------------------------------------------------------------------------------------------------------- building rows

_PLACES = ("harbour", "orchard", "station", "library", "lighthouse", "market", "bakery", "observatory")


def talk(number: int = 0, **keys: object) -> dict[str, object]:
    """A good row."""
    place = _PLACES[number % len(_PLACES)]
    return {
        "messages": [
            {"role": "user", "content": f"Which way is the {place}, please? ({number})"},
            {"role": "assistant", "content": f"Past bridge {number * 7 + 3}, then left to the {place}."},
        ],
        **keys,
    }


def said(*turns: tuple[object, object]) -> dict[str, object]:
    """A row of roles and contents."""
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


GOOD, MORE = talk(0), talk(1)
G, M = json.dumps(GOOD), json.dumps(MORE)
ASK = ("user", "Is the ferry late today?")
REPLY = ("assistant", "Four minutes early, for once.")


def lines(*rows: object) -> str:
    """JSON lines; a row that is text stands as it is."""
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n"


def bomb() -> bytes:
    """A gzip of ten megabytes that unpacks to ten thousand."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(b" " * 10_000_000) + packer.flush(zlib.Z_FULL_FLUSH)
    return gzip.compress(b"")[:10] + block * 1000


SHAREGPT = {"conversations": [{"from": "human", "value": "Hi there!"}, {"from": "gpt", "value": "Hello you."}]}
ALPACA = {"instruction": "Say bye.", "output": "Bye then."}
PAIR = {"prompt": "Where to?", "completion": "Home."}
TAVERN = (
    {"chat_metadata": {}, "user_name": "Ann", "character_name": "Lila"},
    {"name": "Lila", "is_user": False, "mes": "Good evening."},
    {"name": "Ann", "is_user": True, "mes": "Is the ferry late?"},
    {"name": "Lila", "is_user": False, "mes": "Four minutes early."},
)
