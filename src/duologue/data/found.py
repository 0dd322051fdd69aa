"""What travels between the steps of reading: rows of a file, turns of a dialogue, and notes about both."""

from dataclasses import dataclass
from typing import Literal

from duologue.messages import Role

# Actions that take something out. The first two mean that the file has a fault; the third does not.
FILE_REFUSED = "file refused"
ROW_DROPPED = "row dropped"
DUPLICATE_DROPPED = "duplicate dropped"


class RowFault(Exception):
    """A row that cannot be used: the field and the reason."""

    def __init__(self, field: str, reason: str) -> None:
        """Store where and why."""
        super().__init__(reason)
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Attributes:
        number: Counted from 1: a line of a text file, an element of a JSON array, a record of a table; 1 for a file
            that is one JSON object.
        value: Its parsed JSON value, its text when the file is plain text, or why it could not be parsed.
    """

    number: int
    value: object


@dataclass(frozen=True, slots=True)
class Note:
    """Something noticed while reading and what was done about it; becomes a `Fault` once the file is known.

    Attributes:
        row: The row, counted from 1; 0 for the file as a whole.
        field: Path inside the row, such as `messages[2].content`.
        reason: What was found.
        action: What was done: `ROW_DROPPED`, `merged`, `left out`, ...
    """

    row: int
    field: str
    reason: str
    action: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message as a format reader found it, before anything is merged or resolved.

    Attributes:
        role: Who speaks; None when only the speaker's name is known and `data.load` must be told who is who.
        speaker: Name as written in the file; empty when the format has none.
        text: The text, unstripped.
        row: The row it stands in.
        field: Path of the text inside the row.
        is_trained: False when the file says that this reply is not to be learned (OpenAI's `weight: 0`).
    """

    role: Role | None
    speaker: str
    text: str
    row: int
    field: str
    is_trained: bool = True


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One conversation as a format reader found it.

    Attributes:
        row: The row it is named by: its own, or the first of its messages.
        turns: The messages in order.
        notes: What the reader noticed or left out inside it; never `ROW_DROPPED`.
        rows: How many rows of the file it was made of: 1, or its messages in formats where a row is a message.
    """

    row: int
    turns: tuple[Turn, ...]
    notes: tuple[Note, ...] = ()
    rows: int = 1


DataFormat = Literal[
    "messages",
    "sharegpt",
    "alpaca",
    "prompt-completion",
    "sillytavern",
    "text-generation-webui",
    "risuai",
    "agnai",
    "kobold-lite",
    "cai-tools",
    "open-webui",
    "discord",
    "telegram",
    "whatsapp",
]
