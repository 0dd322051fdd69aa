"""What a reader of another program's chats works with: a tree that grows, faults with their place, counted notes."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from duologue.chat.tree import NO_MESSAGE, SessionTree, TreeMessage
from duologue.data.formats import RowFault
from duologue.errors import DataError
from duologue.messages import Message, Role

MAX_LISTED_FAULTS = 20
_OLD_DATE = re.compile(r"(\w+) (\d{1,2}), (\d{4}) (\d{1,2}):(\d{2})\s*([ap]m)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Names:
    """Who speaks where a message does not name its speaker.

    Attributes:
        character: Name of the character.
        user: Name of the user.
    """

    character: str
    user: str

    def of(self, message: TreeMessage) -> str:
        """Return the name to show for a message."""
        return message.speaker or {"user": self.user, "assistant": self.character}.get(message.message.role, "System")


@dataclass(frozen=True, slots=True)
class ImportedChat:
    """A chat of a file.

    Attributes:
        tree: All its messages.
        character: Name of the character as the file has it; empty when it has none, or several.
        user: Name of the user as the file has it; empty when it has none, or several.
    """

    tree: SessionTree
    character: str = ""
    user: str = ""


@dataclass(slots=True)
class Account:
    """What was noticed while reading or writing; nothing is left out without being counted here.

    Attributes:
        where: Name of the file.
        notes: How often something was noticed and what was done about it, such as `an empty message: left out`.
        faults: Row, field and reason of what cannot be used.
    """

    where: str
    notes: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str, str]] = field(default_factory=list)

    def note(self, what: str, num: int = 1) -> None:
        """Count something."""
        if num:
            self.notes[what] += num

    def fault(self, row: int, fault: RowFault) -> None:
        """Keep a fault, to name it with the others."""
        self.faults.append((row, fault.field, fault.reason))

    def raise_faults(self) -> None:
        """Refuse the file when there were faults.

        Raises:
            DataError: Naming them together.
        """
        if not self.faults:
            return
        places = [
            f"{self.where}:{row}: {name}: {why}" if name else f"{self.where}:{row}: {why}"
            for row, name, why in self.faults
        ]
        listed = "\n".join(f"  {place}" for place in places[:MAX_LISTED_FAULTS])
        more = len(places) - MAX_LISTED_FAULTS
        listed += f"\n  and {more} more" if more > 0 else ""
        raise DataError(
            f"{len(places)} messages or chats cannot be read:\n{listed}\n",
            where=self.where,
            action="Mend or remove them; nothing was imported.",
        )

    def sentences(self) -> tuple[str, ...]:
        """Return the notes as people read them, in the order in which they were first made."""
        return tuple(f"{num:,} times: {what}" for what, num in self.notes.items())


class GrowingTree:
    """A tree to which a reader adds one message after another."""

    def __init__(self) -> None:
        """Begin without messages."""
        self._messages: list[TreeMessage] = []
        self._chosen: dict[int, int] = {}

    def add(self, parent_id: int, role: Role, text: str, **values: Any) -> int:  # noqa: ANN401  (fields of TreeMessage)
        """Add a version below a message and return its id; the first one is shown until another is chosen."""
        message_id = len(self._messages) + 1
        self._messages.append(TreeMessage(message_id, parent_id, Message(role, text), **values))
        self._chosen.setdefault(parent_id, message_id)
        return message_id

    def show(self, parent_id: int, message_id: int) -> None:
        """Show a version below a message."""
        self._chosen[parent_id] = message_id

    def finished(self, **values: Any) -> SessionTree:  # noqa: ANN401  (fields of SessionTree)
        """Return the tree.

        Raises:
            RowFault: It has no message.
        """
        if not self._messages:
            raise RowFault("", "the chat holds no message")
        return SessionTree(tuple(self._messages), self._chosen, **values)


def as_line(tree: SessionTree, account: Account, *, has_system: bool = False) -> list[TreeMessage]:
    """Return the path of a chat for a format that knows a single line of messages; what does not fit is counted.

    Args:
        tree: The chat.
        account: Counts what is left out.
        has_system: Whether the format has messages that neither side says.
    """
    path = tree.path()
    kept = [entry for entry in path if not entry.is_hidden and (has_system or entry.message.role != "system")]
    account.note("messages hidden from the character: left out", sum(entry.is_hidden for entry in path))
    num_system = sum(not entry.is_hidden and entry.message.role == "system" for entry in path)
    account.note("system messages: left out", 0 if has_system else num_system)
    return kept


def versions_of(tree: SessionTree, account: Account) -> dict[int, list[TreeMessage]]:
    """Return the versions beside each message of the path; messages elsewhere in the tree are counted as left out."""
    children = tree.children()
    versions = {entry.id: children[entry.parent_id] for entry in tree.path()}
    num_kept = sum(len(beside) for beside in versions.values())
    account.note("messages of other branches: left out", len(tree.messages) - num_kept)
    return versions


def without(document: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return an object without some of its keys: what a message says besides what we store ourselves."""
    return {key: value for key, value in document.items() if key not in keys}


def iso_of_unix(value: object, *, per_second: int = 1) -> str:
    """Return a Unix time as it is stored; empty for what is no number, or is a time that no calendar has.

    Args:
        value: From a file.
        per_second: 1000 where it counts milliseconds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    try:
        return datetime.fromtimestamp(value / per_second, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return ""


def seconds_of_iso(text: str) -> float:
    """Return a stored time as Unix time."""
    return datetime.fromisoformat(text).timestamp()


def iso_date(value: object) -> str:
    """Return a date of a file as it is stored; empty where it is missing or in a form that is not known."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if not isinstance(value, str):
        return iso_of_unix(value, per_second=1000)
    try:
        if match := _OLD_DATE.fullmatch(value.strip()):
            month, day, year, hour, minute, half = match.groups()
            date = datetime.strptime(f"{month} {day} {year} {hour}:{minute} {half.upper()}", "%B %d %Y %I:%M %p")
        else:
            date = datetime.fromisoformat(value)
    except ValueError:
        return ""
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return date.astimezone(UTC).isoformat(timespec="milliseconds")


__all__ = [
    "NO_MESSAGE",
    "Account",
    "GrowingTree",
    "ImportedChat",
    "Names",
    "as_line",
    "iso_date",
    "iso_of_unix",
    "seconds_of_iso",
    "versions_of",
    "without",
]
