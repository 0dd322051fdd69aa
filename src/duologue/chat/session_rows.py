"""Whole sessions in their rows: list entries, states, a tree as one value, and what is quoted from elsewhere."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from duologue.chat import tree_rows, undo
from duologue.chat.tree import SearchHit, SessionInfo, SessionTree
from duologue.messages import RecalledLine
from duologue.store import Cursor, Database, Row

_TITLE_CHARS = 60
_INFO = """
    SELECT sessions.*, (
        WITH RECURSIVE walk (role, content, next_id) AS (
            SELECT role, content, chosen_child_id FROM messages WHERE messages.id = sessions.root_id
            UNION ALL
            SELECT messages.role, messages.content, messages.chosen_child_id
                FROM walk JOIN messages ON messages.id = walk.next_id WHERE walk.role <> 'user'
        )
        SELECT content FROM walk WHERE role = 'user'
    ) AS first_message
    FROM sessions
"""


_COUNT = """
    SELECT coalesce(sum(num), 0) AS num FROM (
        SELECT length(title) + length(tags) + length(extra) AS num FROM sessions WHERE character = ? AND user = ?
        UNION ALL
        SELECT length(content) + length(recalled) + length(extra) FROM messages
        WHERE session_id IN (SELECT id FROM sessions WHERE character = ? AND user = ?)
        UNION ALL
        SELECT length(value) FROM session_states
        WHERE session_id IN (SELECT id FROM sessions WHERE character = ? AND user = ?)
        UNION ALL
        SELECT length(step) FROM undo_steps
        WHERE session_id IN (SELECT id FROM sessions WHERE character = ? AND user = ?)
    ) AS parts
"""


def read_infos(database: Database, condition: str, parameters: tuple[str, ...]) -> tuple[SessionInfo, ...]:
    """Return the sessions for which an SQL condition holds, the latest used first."""
    rows = database.read(f"{_INFO} WHERE {condition} ORDER BY updated_at DESC, id DESC", parameters)
    return tuple(
        SessionInfo(
            id=row["id"],
            title=row["title"] or _title(row["first_message"]),
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            num_messages=row["num_messages"],
            tags=tuple(json.loads(row["tags"])),
            branched_from=row["branched_from"],
        )
        for row in rows
    )


def count_chars(database: Database, character: str, user: str) -> int:
    """Return how many characters a user's sessions with a character hold, with every version and all that came along.

    What an undo would bring back is counted as well, since it is on the disk.
    """
    rows = database.read(_COUNT, (character, user) * 4)
    return int(rows[0]["num"])


def read_session(database: Database, session_id: str) -> SessionTree | None:
    """Return a whole session; None for an unknown one."""
    rows = database.read("SELECT * FROM sessions WHERE id = ?", (session_id,))
    if not rows:
        return None
    states = database.read("SELECT name, value FROM session_states WHERE session_id = ? ORDER BY name", (session_id,))
    messages, chosen = tree_rows.read_tree(database, session_id)
    return SessionTree(
        messages,
        chosen,
        title=rows[0]["title"],
        tags=tuple(json.loads(rows[0]["tags"])),
        created_at=rows[0]["created_at"],
        states={row["name"]: json.loads(row["value"]) for row in states},
        extra=json.loads(rows[0]["extra"]),
    )


def insert_session(
    cursor: Cursor, tree: SessionTree, *, character: str, user: str, branched_from: str = ""
) -> tuple[str, dict[int, int]]:
    """Insert a session with all it holds; return its id, and the row of each message by its id in the tree."""
    # The time leads, so that ids sort by age where two sessions were used in the same millisecond.
    session_id, now = f"{time.time_ns():016x}{secrets.token_hex(8)}", utc_now()
    cursor.execute(
        """
        INSERT INTO sessions (id, character, user, title, tags, extra, branched_from, created_at, updated_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        (
            session_id,
            character,
            user,
            " ".join(tree.title.split()),
            json.dumps(list(tree.tags), ensure_ascii=False),
            json.dumps(tree.extra),
            branched_from,
            tree.created_at or now,
            now,
        ),
    )
    rows = tree_rows.insert_tree(cursor, session_id, tree, now=now) if tree.messages else {}
    store_states(cursor, session_id, tree.states)
    return session_id, rows


def store_states(cursor: Cursor, session_id: str, states: Mapping[str, Any]) -> None:
    """Store values of a session by name; None removes one."""
    for name, value in states.items():
        if value is None:
            cursor.execute("DELETE FROM session_states WHERE session_id = ? AND name = ?", (session_id, name))
        else:
            cursor.execute(
                """
                INSERT INTO session_states (session_id, name, value) VALUES (?, ?, ?)
                ON CONFLICT (session_id, name) DO UPDATE SET value = excluded.value
                """,
                (session_id, name, json.dumps(value)),
            )


def strip_recalled(cursor: Cursor, is_removed: Callable[[RecalledLine], bool]) -> None:
    """Remove recalled lines from all replies, and from those that could be brought back."""
    for row in cursor.execute("SELECT id, recalled FROM messages WHERE recalled <> '[]'").fetchall():
        lines = tree_rows.lines_from_json(row["recalled"])
        kept = [line for line in lines if not is_removed(line)]
        if len(kept) < len(lines):
            cursor.execute("UPDATE messages SET recalled = ? WHERE id = ?", (tree_rows.lines_as_json(kept), row["id"]))
    undo.strip_recalled(cursor, is_removed)


def hit_of(row: Row, title: str, *, begin: str, end: str) -> SearchHit:
    """Return what a search found, with the marks around its words turned into places."""
    text, *pieces = row["snippet"].split(begin)
    matches = []
    for piece in pieces:
        word, _, rest = piece.partition(end)
        matches.append((len(text), len(text) + len(word)))
        text += word + rest
    return SearchHit(
        message_id=row["id"],
        session_id=row["session_id"],
        title=title,
        role=row["role"],
        speaker=row["speaker"],
        created_at=row["created_at"],
        snippet=text,
        matches=tuple(matches),
    )


def utc_now() -> str:
    """Return the present time as stored: ISO-8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _title(first_message: str | None) -> str:
    text = " ".join((first_message or "New chat").split())
    return text if len(text) <= _TITLE_CHARS else text[: _TITLE_CHARS - 1] + "…"
