"""The tree in its rows: reading a path, hanging a message in, showing another version, taking a part out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from operator import itemgetter
from typing import Any

from duologue.chat.tree import NO_MESSAGE, SessionTree, StoredMessage, TreeMessage
from duologue.messages import Message, RecalledLine
from duologue.store import Cursor, Database, Row

COLUMNS = (
    "id",
    "session_id",
    "parent_id",
    "chosen_child_id",
    "depth",
    "role",
    "content",
    "speaker",
    "recalled",
    "finish_reason",
    "revision",
    "is_hidden",
    "extra",
    "created_at",
    "text_by",
)
_SHOWN_NAMES = tuple(name for name in COLUMNS if name not in ("extra", "depth", "chosen_child_id", "text_by"))
_SHOWN = ", ".join(f"messages.{name}" for name in _SHOWN_NAMES)
_VALUES = itemgetter(*_SHOWN_NAMES)  # of a row, all at once: a name looked up by itself costs twice as much
# Sorted by whoever reads it: the rows come in order, and SQLite would copy all texts to sort them.
_ON_PATH = f"SELECT {_SHOWN}, path.place FROM path JOIN messages ON messages.id = path.id"  # noqa: S608
_VERSIONS = """
    SELECT parent_id, id FROM messages WHERE session_id = ? AND parent_id IN (
        SELECT parent_id FROM messages WHERE session_id = ? GROUP BY parent_id HAVING count(*) > 1)
    ORDER BY id
"""
_CHOSEN = """
    WITH RECURSIVE path (id, place) AS (
        SELECT root_id, 1 FROM sessions WHERE id = ? AND root_id <> 0
        UNION ALL
        SELECT messages.chosen_child_id, path.place + 1 FROM path JOIN messages ON messages.id = path.id
            WHERE messages.chosen_child_id <> 0
    )
"""
_ABOVE = """
    WITH RECURSIVE path (id, place) AS (
        SELECT id, depth FROM messages WHERE id = ?
        UNION ALL
        SELECT messages.parent_id, path.place - 1 FROM path JOIN messages ON messages.id = path.id
            WHERE messages.parent_id <> 0
    )
"""
_BELOW = """
    WITH RECURSIVE below (id, session_id) AS (
        SELECT id, session_id FROM messages WHERE id = ?
        UNION ALL
        SELECT messages.id, messages.session_id FROM below JOIN messages
            ON messages.session_id = below.session_id AND messages.parent_id = below.id
    )
"""


# ------------------------------------------------------------------------------------------------------------- reading


def read_path(database: Database, session_id: str) -> tuple[StoredMessage, ...]:
    """Return the chosen path of a session, first to last."""
    rows = database.read(f"{_CHOSEN} {_ON_PATH}", (session_id,))
    return _all_stored(database, sorted(rows, key=itemgetter("place")))


def read_above(database: Database, message_id: int) -> tuple[StoredMessage, ...]:
    """Return a message and everything it follows, first to last."""
    rows = database.read(f"{_ABOVE} {_ON_PATH}", (message_id,))
    return _all_stored(database, sorted(rows, key=itemgetter("place")))


def read_versions(database: Database, message_id: int) -> tuple[StoredMessage, ...]:
    """Return a message and the versions beside it, in their order."""
    sql = f"""
        SELECT {_SHOWN} FROM messages JOIN messages AS one
            ON one.session_id = messages.session_id AND one.parent_id = messages.parent_id
        WHERE one.id = ? ORDER BY messages.id
    """  # noqa: S608  (fixed texts)
    return _all_stored(database, database.read(sql, (message_id,)))


def read_tree(database: Database, session_id: str) -> tuple[tuple[TreeMessage, ...], dict[int, int]]:
    """Return all messages of a session, parents before children, and the version shown below each."""
    rows = database.read("SELECT * FROM messages WHERE session_id = ? ORDER BY depth, id", (session_id,))
    chosen = {row["id"]: row["chosen_child_id"] for row in rows if row["chosen_child_id"]}
    root = database.read("SELECT root_id FROM sessions WHERE id = ? AND root_id <> 0", (session_id,))
    if root:
        chosen[NO_MESSAGE] = root[0]["root_id"]
    return tuple(map(_of_tree, rows)), chosen


def _all_stored(database: Database, rows: Sequence[Row]) -> tuple[StoredMessage, ...]:
    """Return messages, all of one session, with their places among their versions."""
    if not rows:
        return ()
    versions: dict[int, list[int]] = {}
    for row in database.read(_VERSIONS, (rows[0]["session_id"],) * 2):
        versions.setdefault(row["parent_id"], []).append(row["id"])
    return tuple([_stored(values, versions) for values in map(_VALUES, rows)])


def _stored(values: tuple[Any, ...], all_versions: Mapping[int, list[int]]) -> StoredMessage:
    message_id, session_id, parent_id, role, content, speaker, recalled, finish, revision, is_hidden, at = values
    versions = all_versions.get(parent_id, ())
    return StoredMessage(
        message_id,
        Message(role, content),
        at,
        lines_from_json(recalled),
        finish,
        session_id,
        parent_id,
        speaker,
        revision,
        versions.index(message_id) + 1 if message_id in versions else 1,
        len(versions) or 1,
        bool(is_hidden),
    )


def _of_tree(row: Row) -> TreeMessage:
    return TreeMessage(
        id=row["id"],
        parent_id=row["parent_id"],
        message=Message(row["role"], row["content"]),
        created_at=row["created_at"],
        speaker=row["speaker"],
        finish_reason=row["finish_reason"],
        is_hidden=bool(row["is_hidden"]),
        recalled=lines_from_json(row["recalled"]),
        extra=json.loads(row["extra"]),
    )


def lines_as_json(lines: Sequence[RecalledLine]) -> str:
    """Return recalled lines as they are stored."""
    return json.dumps([asdict(line) for line in lines], ensure_ascii=False) if lines else "[]"


def lines_from_json(text: str) -> tuple[RecalledLine, ...]:
    """Return stored recalled lines."""
    if text == "[]":  # most messages; a path of thousands is read at once
        return ()
    documents: list[dict[str, Any]] = json.loads(text)
    return tuple(RecalledLine(**document) for document in documents)


# ------------------------------------------------------------------------------------------------------------ changing


def chosen_below(cursor: Cursor, session_id: str, parent_id: int) -> int:
    """Return the version shown below a message, `NO_MESSAGE` when there is none."""
    if parent_id == NO_MESSAGE:
        row = cursor.execute("SELECT root_id AS child_id FROM sessions WHERE id = ?", (session_id,)).fetchone()
    else:
        row = cursor.execute("SELECT chosen_child_id AS child_id FROM messages WHERE id = ?", (parent_id,)).fetchone()
    return int(row["child_id"]) if row is not None else NO_MESSAGE


def show_below(cursor: Cursor, session_id: str, parent_id: int, child_id: int) -> None:
    """Show a version below a message; the end of the path is then found by `find_head`."""
    if parent_id == NO_MESSAGE:
        cursor.execute("UPDATE sessions SET root_id = ? WHERE id = ?", (child_id, session_id))
    else:
        cursor.execute("UPDATE messages SET chosen_child_id = ? WHERE id = ?", (child_id, parent_id))


def find_head(cursor: Cursor, session_id: str) -> None:
    """Store where the chosen path ends now."""
    sql = f"{_CHOSEN} SELECT id, place FROM path ORDER BY place DESC LIMIT 1"  # noqa: S608
    row = cursor.execute(sql, (session_id,)).fetchone()
    set_head(cursor, session_id, row["id"] if row else NO_MESSAGE, row["place"] if row else 0)


def set_head(cursor: Cursor, session_id: str, head_id: int, num_messages: int) -> None:
    """Store where the chosen path ends."""
    cursor.execute(
        "UPDATE sessions SET head_id = ?, num_messages = ? WHERE id = ?", (head_id, num_messages, session_id)
    )


def choices_above(cursor: Cursor, message_id: int) -> list[tuple[int, int]]:
    """Return parent and child for a message and all it follows: what the path to it has to show."""
    sql = f"{_ABOVE} SELECT messages.id, messages.parent_id FROM path JOIN messages ON messages.id = path.id"  # noqa: S608
    return [(row["parent_id"], row["id"]) for row in cursor.execute(sql, (message_id,)).fetchall()]


def rows_below(cursor: Cursor, message_id: int) -> list[dict[str, Any]]:
    """Return a message and everything that hangs below it as values by column, parents first."""
    sql = f"{_BELOW} SELECT messages.* FROM below JOIN messages ON messages.id = below.id ORDER BY depth, id"  # noqa: S608
    rows = cursor.execute(sql, (message_id,)).fetchall()
    return [{name: row[name] for name in COLUMNS} for row in rows]


def beside(cursor: Cursor, row: Mapping[str, Any]) -> int:
    """Return the version to show when this one goes: the one before it, else the one after it, else none."""
    place = (row["session_id"], row["parent_id"], row["id"])
    found = cursor.execute(
        """
        SELECT coalesce(
            (SELECT max(id) FROM messages WHERE session_id = ? AND parent_id = ? AND id < ?),
            (SELECT min(id) FROM messages WHERE session_id = ? AND parent_id = ? AND id > ?), 0) AS id
        """,
        (*place, *place),
    ).fetchone()
    return int(found["id"])


def insert_row(cursor: Cursor, values: Mapping[str, Any]) -> int:
    """Insert a message and return its id; columns that are not given have their defaults."""
    names = ", ".join(values)
    places = ", ".join("?" for _ in values)
    sql = f"INSERT INTO messages ({names}) VALUES ({places}) RETURNING id"  # noqa: S608  (our own column names)
    return int(cursor.execute(sql, tuple(values.values())).fetchone()["id"])


def insert_tree(cursor: Cursor, session_id: str, tree: SessionTree, *, now: str) -> dict[int, int]:
    """Insert the messages of a tree into an empty session; return the row of each by its id in the tree."""
    rows: dict[int, int] = {}
    depths: dict[int, int] = {NO_MESSAGE: 0}
    for message in tree.messages:
        depths[message.id] = depths[message.parent_id] + 1
        rows[message.id] = insert_row(
            cursor,
            {
                "session_id": session_id,
                "parent_id": rows.get(message.parent_id, NO_MESSAGE),
                "depth": depths[message.id],
                "role": message.message.role,
                "content": message.message.content,
                "speaker": message.speaker,
                "recalled": lines_as_json(message.recalled),
                "finish_reason": message.finish_reason,
                "is_hidden": int(message.is_hidden),
                "extra": json.dumps(message.extra),
                "created_at": message.created_at or now,
            },
        )
    shown = {parent: tree.chosen.get(parent, versions[0].id) for parent, versions in tree.children().items()}
    root = shown.pop(NO_MESSAGE, None)
    if root is not None:
        show_below(cursor, session_id, NO_MESSAGE, rows[root])
    pairs = [(rows[child], rows[parent]) for parent, child in shown.items()]
    cursor.executemany("UPDATE messages SET chosen_child_id = ? WHERE id = ?", pairs)
    find_head(cursor, session_id)
    return rows
