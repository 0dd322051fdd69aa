"""A tree with lost messages made whole again: what followed them follows what came before them."""

from collections.abc import Sequence

from duologue.chat.tree import NO_MESSAGE
from duologue.chat.tree_rows import find_head, show_below
from duologue.store import Cursor, Row


def mend(cursor: Cursor) -> None:
    """Put right, in every session, parents that are gone, depths, and versions that are shown but are gone."""
    for session in cursor.execute("SELECT id, root_id FROM sessions").fetchall():
        rows = cursor.execute(
            "SELECT id, parent_id, chosen_child_id FROM messages WHERE session_id = ? ORDER BY id", (session["id"],)
        ).fetchall()
        _mend_session(cursor, session, rows)
        find_head(cursor, session["id"])


def _mend_session(cursor: Cursor, session: Row, rows: Sequence[Row]) -> None:
    """Give each message a parent that is there: its own, or the message that was stored before it."""
    depths = {NO_MESSAGE: 0}
    children: dict[int, list[int]] = {}
    before = NO_MESSAGE
    for row in rows:
        message_id = row["id"]
        # A parent is always older than what follows it.
        parent_id = row["parent_id"] if row["parent_id"] in depths else before
        depths[message_id] = depths[parent_id] + 1
        children.setdefault(parent_id, []).append(message_id)
        cursor.execute(
            "UPDATE messages SET parent_id = ?, depth = ? WHERE id = ?", (parent_id, depths[message_id], message_id)
        )
        before = message_id
    shown = {row["id"]: row["chosen_child_id"] for row in rows} | {NO_MESSAGE: session["root_id"]}
    for parent_id, child_id in shown.items():
        versions = children.get(parent_id, [])
        if child_id in versions or (not versions and child_id == NO_MESSAGE):
            continue
        show_below(cursor, session["id"], parent_id, versions[-1] if versions else NO_MESSAGE)
