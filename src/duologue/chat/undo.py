"""What can be undone in a session: the texts, versions and messages that a change took away, newest first.

Undoing only brings back. It never removes a message that came later, so nothing is lost by it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from duologue.chat import marks
from duologue.chat.tree_rows import (
    find_head,
    insert_row,
    lines_as_json,
    lines_from_json,
    show_below,
)
from duologue.messages import RecalledLine
from duologue.store import Cursor, Database

MAX_STEPS = 100  # per session; what is older is erased
Kind = Literal["edit", "choose", "swipe", "delete"]


@dataclass(frozen=True, slots=True)
class Step:
    """How a session was before a change.

    Attributes:
        kind: What the change was.
        texts: Id, text and finish reason of messages whose text was replaced.
        shown: Parent and the version that was shown below it (0: none).
        rows: Messages that were deleted, as values by column, parents first.
    """

    kind: Kind
    texts: Sequence[tuple[int, str, str]] = ()
    shown: Sequence[tuple[int, int]] = ()
    rows: Sequence[dict[str, Any]] = ()


def record(cursor: Cursor, session_id: str, step: Step, *, now: str) -> None:
    """Store a step; the oldest one goes when there are too many."""
    document = json.dumps(asdict(step), ensure_ascii=False)
    cursor.execute(
        "INSERT INTO undo_steps (session_id, kind, step, made_at) VALUES (?, ?, ?, ?)",
        (session_id, step.kind, document, now),
    )
    cursor.execute(
        """
        DELETE FROM undo_steps WHERE session_id = ? AND id <= (
            SELECT id FROM undo_steps WHERE session_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)
        """,
        (session_id, session_id, MAX_STEPS),
    )


def take_back(cursor: Cursor, session_id: str) -> Kind | None:
    """Undo the newest step of a session and return its kind; None when there is none."""
    row = cursor.execute(
        "SELECT id, step FROM undo_steps WHERE session_id = ? ORDER BY id DESC LIMIT 1", (session_id,)
    ).fetchone()
    if row is None:
        return None
    step = Step(**json.loads(row["step"]))
    cursor.execute("DELETE FROM undo_steps WHERE id = ?", (row["id"],))
    for values in step.rows:
        # A follower that saw the message go must see that it is another one than before.
        insert_row(cursor, {**values, "revision": values["revision"] + 1})
    for message_id, content, finish_reason in step.texts:
        cursor.execute(
            "UPDATE messages SET content = ?, finish_reason = ?, revision = revision + 1 WHERE id = ?",
            (content, finish_reason, message_id),
        )
        marks.note_restored(cursor, message_id, content)
    for parent_id, child_id in step.shown:
        if child_id:
            show_below(cursor, session_id, parent_id, child_id)
    find_head(cursor, session_id)
    return step.kind


def forget_steps(cursor: Cursor, session_id: str) -> None:
    """Delete all steps of a session."""
    cursor.execute("DELETE FROM undo_steps WHERE session_id = ?", (session_id,))


def strip_recalled(cursor: Cursor, is_removed: Callable[[RecalledLine], bool]) -> None:
    """Remove recalled lines from the messages that could be brought back."""
    for row in cursor.execute("SELECT id, step FROM undo_steps WHERE kind = 'delete'").fetchall():
        if "memory_id" not in row["step"]:  # no message of it recalled anything
            continue
        document = json.loads(row["step"])
        for values in document["rows"]:
            kept = [line for line in lines_from_json(values["recalled"]) if not is_removed(line)]
            values["recalled"] = lines_as_json(kept)
        text = json.dumps(document, ensure_ascii=False)
        if text != row["step"]:
            cursor.execute("UPDATE undo_steps SET step = ? WHERE id = ?", (text, row["id"]))


def list_kinds(database: Database, session_id: str) -> tuple[Kind, ...]:
    """Return what could be undone, newest first."""
    rows = database.read("SELECT kind FROM undo_steps WHERE session_id = ? ORDER BY id DESC", (session_id,))
    return tuple(row["kind"] for row in rows)
