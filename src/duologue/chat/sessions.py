"""Saved conversations in `chats.sqlite`. A message that was accepted is on disk before anything else happens."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from duologue.messages import Message, RecalledLine, Role
from duologue.store import Database, Row, open_database

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
    CREATE INDEX sessions_of ON sessions (character, user, updated_at);
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        role TEXT NOT NULL,
        content TEXT NOT NULL,
        recalled TEXT NOT NULL DEFAULT '[]',
        finish_reason TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL
    );
    CREATE INDEX messages_of ON messages (session_id, id);
    """,
)
_TITLE_CHARS = 60


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session in a list. Times are ISO-8601 in UTC."""

    id: str
    title: str
    created_at: str
    updated_at: str
    num_messages: int


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as stored; `finish_reason` is empty for a user's message and for a reply that was never finished."""

    id: int
    message: Message
    created_at: str
    recalled: tuple[RecalledLine, ...]
    finish_reason: str


class Sessions:
    """The sessions of one character's folder."""

    def __init__(self, database: Database) -> None:
        """Wrap an open database; `Sessions.open` opens one."""
        self._database = database

    @classmethod
    def open(cls, path: Path) -> "Sessions":
        """Open or make the file.

        Raises:
            DataError: The file is damaged or cannot be written.
        """
        return cls(open_database(path, migrations=_MIGRATIONS))

    def create(self, *, character: str, user: str = "local") -> str:
        """Return the id of a new session."""
        session_id, now = uuid.uuid4().hex, _now()
        with self._database.write() as cursor:
            cursor.execute("INSERT INTO sessions VALUES (?, ?, ?, '', ?, ?)", (session_id, character, user, now, now))
        return session_id

    def list_sessions(self, *, character: str, user: str = "local") -> tuple[SessionInfo, ...]:
        """Return a user's sessions with a character, the newest first."""
        rows = self._database.read(
            """
            SELECT s.id, s.title, s.created_at, s.updated_at, count(m.id) AS num_messages,
                (SELECT content FROM messages WHERE session_id = s.id AND role = 'user' ORDER BY id LIMIT 1) AS first
            FROM sessions s LEFT JOIN messages m ON m.session_id = s.id
            WHERE s.character = ? AND s.user = ? GROUP BY s.id ORDER BY s.updated_at DESC, s.rowid DESC
            """,
            (character, user),
        )
        return tuple(
            SessionInfo(r["id"], r["title"] or _title(r["first"]), r["created_at"], r["updated_at"], r["num_messages"])
            for r in rows
        )

    def messages(self, session_id: str) -> tuple[StoredMessage, ...]:
        """Return a session's messages in order; none for an unknown session."""
        rows = self._database.read("SELECT * FROM messages WHERE session_id = ? ORDER BY id", (session_id,))
        return tuple(_stored(row) for row in rows)

    def append(
        self, session_id: str, message: Message, *, recalled: Sequence[RecalledLine] = (), finish_reason: str = ""
    ) -> int:
        """Store a message and return its id. When this returns, the message is on disk.

        Raises:
            DataError: The disk is full or failed, or there is no such session.
        """
        now = _now()
        lines = json.dumps([asdict(line) for line in recalled], ensure_ascii=False)
        with self._database.write() as cursor:
            cursor.execute(
                "INSERT INTO messages (session_id, role, content, recalled, finish_reason, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (session_id, message.role, message.content, lines, finish_reason, now),
            )
            message_id = cursor.lastrowid
            cursor.execute("UPDATE sessions SET updated_at = ? WHERE id = ?", (now, session_id))
        assert message_id is not None
        return message_id

    def update(self, message_id: int, content: str, finish_reason: str) -> None:
        """Replace the text of a message, such as a reply that has grown."""
        with self._database.write() as cursor:
            cursor.execute(
                "UPDATE messages SET content = ?, finish_reason = ? WHERE id = ?", (content, finish_reason, message_id)
            )

    def delete_last_reply(self, session_id: str) -> int | None:
        """Delete the last message when it is a reply to something; return its id, or None when there is none."""
        stored = self.messages(session_id)
        if len(stored) < 2 or stored[-1].message.role != "assistant":
            return None
        with self._database.write() as cursor:
            cursor.execute("DELETE FROM messages WHERE id = ?", (stored[-1].id,))
        return stored[-1].id

    def rename(self, session_id: str, title: str) -> None:
        """Give a session a title."""
        with self._database.write() as cursor:
            cursor.execute("UPDATE sessions SET title = ? WHERE id = ?", (title.strip(), session_id))

    def delete(self, session_id: str) -> None:
        """Delete a session and its messages."""
        with self._database.write() as cursor:
            cursor.execute("DELETE FROM sessions WHERE id = ?", (session_id,))

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _stored(row: Row) -> StoredMessage:
    recalled = tuple(RecalledLine(**line) for line in json.loads(row["recalled"]))
    message = Message(cast(Role, row["role"]), row["content"])
    return StoredMessage(row["id"], message, row["created_at"], recalled, row["finish_reason"])


def _title(first_message: str | None) -> str:
    text = " ".join((first_message or "New chat").split())
    return text if len(text) <= _TITLE_CHARS else text[: _TITLE_CHARS - 1] + "…"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
