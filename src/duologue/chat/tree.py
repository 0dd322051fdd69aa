"""The tree that a session is: messages with versions beside each other, of which one path is the chat as it is now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from duologue.messages import Message, RecalledLine

NO_MESSAGE = 0  # the parent of the first message; ids count from 1


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session in a list. Times are ISO-8601 in UTC.

    Attributes:
        id: What the other calls take.
        title: As given, or the beginning of the first user message.
        created_at: When it was made.
        updated_at: When its last message came.
        num_messages: Messages of both sides on the chosen path.
        tags: Words the user gave it, in order.
        branched_from: The session it is a branch of; empty for one that began by itself.
    """

    id: str
    title: str
    created_at: str
    updated_at: str
    num_messages: int
    tags: tuple[str, ...] = ()
    branched_from: str = ""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as stored.

    Attributes:
        id: Its row; never used again after a deletion.
        message: Role and text.
        created_at: ISO-8601 time in UTC.
        recalled: The memory lines a reply was made with.
        finish_reason: Why a reply ended; empty for a user's message and for a reply that a crash cut off.
        session_id: Its session.
        parent_id: The message it follows; `NO_MESSAGE` for the first.
        speaker: Name of who speaks, in chats with several characters; empty for the session's own character and user.
        revision: Grows with every change of the text, an undone one included.
        swipe: Which of the versions it is, counted from 1.
        num_swipes: How many versions there are beside each other, itself included.
        is_hidden: Kept and shown, but no part of the prompt.
    """

    id: int
    message: Message
    created_at: str
    recalled: tuple[RecalledLine, ...]
    finish_reason: str
    session_id: str = ""
    parent_id: int = NO_MESSAGE
    speaker: str = ""
    revision: int = 0
    swipe: int = 1
    num_swipes: int = 1
    is_hidden: bool = False


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A message that a search found.

    Attributes:
        message_id: The message; `Sessions.choose` brings the chat to it.
        session_id: Its session.
        title: The session's title, or the beginning of its first user message.
        role: Who said it: `system`, `user` or `assistant`.
        speaker: As in `StoredMessage`.
        created_at: ISO-8601 time in UTC.
        snippet: The part of the text around the words that were found.
        matches: Where they are in the snippet, as begin and end.
    """

    message_id: int
    session_id: str
    title: str
    role: str
    speaker: str
    created_at: str
    snippet: str
    matches: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class TreeMessage:
    """A message of a whole tree, as it travels between sessions and files.

    Attributes:
        id: Its number in the tree, counted from 1; any number that is unique there.
        parent_id: The message it follows; `NO_MESSAGE` for a first one.
        message: Role and text.
        created_at: ISO-8601 time in UTC; empty takes the time of the import.
        speaker: Name of who speaks, as the file has it; empty when it has none.
        finish_reason: As in `StoredMessage`.
        is_hidden: Kept and shown, but no part of the prompt.
        recalled: The memory lines a reply was made with.
        extra: What a file said about the message that has no place here, by format; comes back in an export.
    """

    id: int
    parent_id: int
    message: Message
    created_at: str = ""
    speaker: str = ""
    finish_reason: str = ""
    is_hidden: bool = False
    recalled: tuple[RecalledLine, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionTree:
    """A whole session: every message of every version.

    Attributes:
        messages: Parents before children; versions beside each other in their order.
        chosen: The version shown below each message that has any: parent id to child id, `NO_MESSAGE` for the first.
            Where a parent is missing, its first child is shown.
        title: As given; empty for none.
        tags: Words the user gave it.
        created_at: ISO-8601 time in UTC; empty takes the time of the import.
        states: Values by key, as `Sessions.set_state` stores them.
        extra: What a file said about the chat that has no place here, by format; comes back in an export.
    """

    messages: tuple[TreeMessage, ...]
    chosen: Mapping[int, int] = field(default_factory=dict)
    title: str = ""
    tags: tuple[str, ...] = ()
    created_at: str = ""
    states: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def children(self) -> dict[int, list[TreeMessage]]:
        """Return the versions below each message that has any, in their order."""
        found: dict[int, list[TreeMessage]] = {}
        for message in self.messages:
            found.setdefault(message.parent_id, []).append(message)
        return found

    def path(self) -> tuple[TreeMessage, ...]:
        """Return the chat as it is now: from the first message down, the chosen version at each step."""
        children = self.children()
        path: list[TreeMessage] = []
        at = NO_MESSAGE
        while versions := children.get(at):
            at = self.chosen.get(at, versions[0].id)
            path.append(next(version for version in versions if version.id == at))
        return tuple(path)


def last_reply(stored: Sequence[StoredMessage]) -> StoredMessage | None:
    """Return the last message when it is a reply; a greeting replies to nothing."""
    if not stored or stored[-1].message.role != "assistant":
        return None
    return stored[-1] if any(entry.message.role == "user" for entry in stored) else None
