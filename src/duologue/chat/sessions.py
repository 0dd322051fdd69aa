"""Saved conversations in `chats.sqlite`. A message that was accepted is on disk before anything else happens."""

import json
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from duologue.errors import DataError
from duologue.messages import Message, RecalledLine
from duologue.store import Database, Row, open_database

_TITLE_CHARS = 60
_MIGRATIONS = (
    """
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        character TEXT NOT NULL,
        user TEXT NOT NULL,
        title TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    );
    CREATE INDEX sessions_in_order ON sessions (character, user, updated_at);
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
        content TEXT NOT NULL,
        recalled TEXT NOT NULL DEFAULT '[]',
        finish_reason TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL
    );
    CREATE INDEX messages_in_order ON messages (session_id, id);
    """,
)


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session in a list. Times are ISO-8601 in UTC.

    Attributes:
        id: What the other calls take.
        title: As given, or the beginning of the first user message.
        created_at: When it was made.
        updated_at: When its last message came.
        num_messages: Messages of both sides.
    """

    id: str
    title: str
    created_at: str
    updated_at: str
    num_messages: int


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as stored.

    Attributes:
        id: Its row; never used again after a deletion.
        message: Role and text.
        created_at: ISO-8601 time in UTC.
        recalled: The memory lines a reply was made with.
        finish_reason: Why a reply ended; empty for a user's message and for a reply that a crash cut off.
    """

    id: int
    message: Message
    created_at: str
    recalled: tuple[RecalledLine, ...]
    finish_reason: str


class Sessions:
    """The sessions of a character's folder. Threads may share it."""

    def __init__(self, database: Database) -> None:
        """Use an open database; `Sessions.open` is the way in."""
        self._database = database

    @classmethod
    def open(cls, path: Path) -> "Sessions":
        """Open chats.sqlite, making it when it is missing.

        Raises:
            DataError: The file is damaged or cannot be written.
        """
        return cls(open_database(path, migrations=_MIGRATIONS))

    def create(self, *, character: str, user: str = "local") -> str:
        """Make an empty session and return its id.

        Args:
            character: `Bot.model_id` of whom the session is with.
            user: Whose session it is.
        """
        session_id, now = uuid.uuid4().hex, utc_now()
        with self._database.write() as cursor:
            cursor.execute("INSERT INTO sessions VALUES (?, ?, ?, '', ?, ?)", (session_id, character, user, now, now))
        return session_id

    def has(self, session_id: str, *, character: str, user: str = "local") -> bool:
        """Return whether there is such a session of this user with this character."""
        return bool(
            self._database.read(
                "SELECT 1 FROM sessions WHERE id = ? AND character = ? AND user = ?", (session_id, character, user)
            )
        )

    def list_sessions(self, *, character: str, user: str = "local") -> tuple[SessionInfo, ...]:
        """Return the sessions of a user with a character, the latest used first."""
        rows = self._database.read(
            """
            SELECT *,
                (SELECT count(*) FROM messages WHERE session_id = sessions.id) AS num_messages,
                (SELECT content FROM messages WHERE session_id = sessions.id AND role = 'user' ORDER BY id LIMIT 1)
                    AS first_message
            FROM sessions WHERE character = ? AND user = ? ORDER BY updated_at DESC, rowid DESC
            """,
            (character, user),
        )
        return tuple(
            SessionInfo(
                id=row["id"],
                title=row["title"] or _title(row["first_message"]),
                created_at=row["created_at"],
                updated_at=row["updated_at"],
                num_messages=row["num_messages"],
            )
            for row in rows
        )

    def messages(self, session_id: str) -> tuple[StoredMessage, ...]:
        """Return the messages of a session, oldest first; none for an unknown session."""
        rows = self._database.read("SELECT * FROM messages WHERE session_id = ? ORDER BY id", (session_id,))
        return tuple(map(_stored, rows))

    def append(
        self, session_id: str, message: Message, *, recalled: Sequence[RecalledLine] = (), finish_reason: str = ""
    ) -> int:
        """Store a message and return its id. When this returns, the message is on disk.

        Raises:
            DataError: The disk is full or failed, or there is no such session.
        """
        now = utc_now()
        with self._database.write() as cursor:
            cursor.execute("UPDATE sessions SET updated_at = ? WHERE id = ?", (now, session_id))
            if cursor.rowcount == 0:
                raise DataError(f"there is no session '{session_id}'", where=str(self._database.path))
            cursor.execute(
                "INSERT INTO messages (session_id, role, content, recalled, finish_reason, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (session_id, message.role, message.content, _as_json(recalled), finish_reason, now),
            )
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def update(self, message_id: int, content: str, finish_reason: str) -> None:
        """Replace the text of a message, such as a reply that has grown."""
        with self._database.write() as cursor:
            cursor.execute(
                "UPDATE messages SET content = ?, finish_reason = ? WHERE id = ?", (content, finish_reason, message_id)
            )

    def delete_last_reply(self, session_id: str) -> int | None:
        """Delete the last message when it replies to an earlier one; return its id, or None when it does not."""
        reply = last_reply(self.messages(session_id))
        if reply is None:
            return None
        self.delete_message(reply.id)
        return reply.id

    def delete_message(self, message_id: int) -> None:
        """Delete one message."""
        with self._database.write() as cursor:
            cursor.execute("DELETE FROM messages WHERE id = ?", (message_id,))

    def rename(self, session_id: str, title: str) -> None:
        """Give a session a title; an empty one shows its first message again."""
        with self._database.write() as cursor:
            cursor.execute("UPDATE sessions SET title = ? WHERE id = ?", (" ".join(title.split()), session_id))

    def delete(self, session_id: str) -> None:
        """Delete a session, what other sessions quote of it, and every byte of both.

        Raises:
            DataError: Another program reads the file, or the disk has no room to rewrite it. The session is deleted;
                repeat the call to erase what is left.
        """
        self._strip_recalled(lambda line: line.session_id == session_id)
        with self._database.write() as cursor:
            cursor.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
        self._database.purge()

    def forget_recalled(self, memory_ids: Collection[int]) -> None:
        """Remove forgotten memory lines from the replies they were recalled for, to the last byte, as `delete` does."""
        self._strip_recalled(lambda line: line.memory_id in memory_ids)
        self._database.purge()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _strip_recalled(self, is_removed: Callable[[RecalledLine], bool]) -> None:
        with self._database.write() as cursor:
            for row in self._database.read("SELECT id, recalled FROM messages WHERE recalled <> '[]'"):
                lines = _from_json(row["recalled"])
                kept = [line for line in lines if not is_removed(line)]
                if len(kept) < len(lines):
                    cursor.execute("UPDATE messages SET recalled = ? WHERE id = ?", (_as_json(kept), row["id"]))


def last_reply(stored: Sequence[StoredMessage]) -> StoredMessage | None:
    """Return the last message when it is a reply; a greeting replies to nothing."""
    if not stored or stored[-1].message.role != "assistant":
        return None
    return stored[-1] if any(entry.message.role == "user" for entry in stored) else None


def utc_now() -> str:
    """Return the present time as stored: ISO-8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _stored(row: Row) -> StoredMessage:
    message = Message(row["role"], row["content"])
    return StoredMessage(row["id"], message, row["created_at"], _from_json(row["recalled"]), row["finish_reason"])


def _as_json(lines: Sequence[RecalledLine]) -> str:
    return json.dumps([asdict(line) for line in lines], ensure_ascii=False)


def _from_json(text: str) -> tuple[RecalledLine, ...]:
    documents: list[dict[str, Any]] = json.loads(text)
    return tuple(RecalledLine(**document) for document in documents)


def _title(first_message: str | None) -> str:
    text = " ".join((first_message or "New chat").split())
    return text if len(text) <= _TITLE_CHARS else text[: _TITLE_CHARS - 1] + "…"
