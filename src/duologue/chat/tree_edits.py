"""Changes of a tree, each with the step that undoes it."""

from duologue.chat import marks, undo
from duologue.chat.session_rows import utc_now
from duologue.chat.tree import NO_MESSAGE
from duologue.chat.tree_rows import (
    beside,
    choices_above,
    chosen_below,
    find_head,
    insert_row,
    rows_below,
    set_head,
    show_below,
)
from duologue.errors import DataError
from duologue.store import Cursor, Row


def append_row(cursor: Cursor, session: Row, values: dict[str, str | int], *, parent_id: int | None, where: str) -> int:
    """Hang a message below a parent and show it; a version that was shown there can be brought back.

    Args:
        cursor: Inside a transaction.
        session: Its row.
        values: Columns of the message.
        parent_id: As in `Sessions.append`.
        where: Name of the database, for messages.

    Raises:
        DataError: There is no such parent in this session.
    """
    session_id, head_id = session["id"], session["head_id"]
    parent_id = head_id if parent_id is None else parent_id
    depth, former = 1, session["root_id"]
    if parent_id != NO_MESSAGE:
        parent = message_row(cursor, parent_id, where=where)
        if parent["session_id"] != session_id:
            raise _no_message(parent_id, where)
        depth, former = parent["depth"] + 1, parent["chosen_child_id"]
    now = utc_now()
    message_id = insert_row(
        cursor, {"session_id": session_id, "parent_id": parent_id, "depth": depth, "created_at": now, **values}
    )
    show_below(cursor, session_id, parent_id, message_id)
    cursor.execute("UPDATE sessions SET updated_at = ? WHERE id = ?", (now, session_id))
    if parent_id == head_id:  # the usual case: nothing else is read
        set_head(cursor, session_id, message_id, depth)
    else:
        find_head(cursor, session_id)
    if former:
        undo.record(cursor, session_id, undo.Step("swipe", shown=[(parent_id, former)]), now=now)
    return message_id


def edit_row(cursor: Cursor, message_id: int, text: str, *, where: str) -> None:
    """Replace the text of a message.

    Raises:
        DataError: There is no such message.
    """
    row = message_row(cursor, message_id, where=where)
    if row["content"] == text:
        return
    before = undo.Step("edit", texts=[(message_id, row["content"], row["finish_reason"])])
    undo.record(cursor, row["session_id"], before, now=utc_now())
    cursor.execute("UPDATE messages SET content = ?, revision = revision + 1 WHERE id = ?", (text, message_id))
    marks.note_edit(cursor, row)


def grow_row(cursor: Cursor, message_id: int, content: str, finish_reason: str) -> None:
    """Replace the text of a message that grows; one that was finished can be brought back. A deleted one is let be."""
    row = cursor.execute("SELECT * FROM messages WHERE id = ?", (message_id,)).fetchone()
    if row is None:
        return
    is_changed = row["content"] != content
    if is_changed and row["finish_reason"]:
        before = undo.Step("edit", texts=[(message_id, row["content"], row["finish_reason"])])
        undo.record(cursor, row["session_id"], before, now=utc_now())
    if is_changed:
        marks.note_growth(cursor, row)
    cursor.execute(
        "UPDATE messages SET revision = ?, content = ?, finish_reason = ? WHERE id = ?",
        (row["revision"] + is_changed, content, finish_reason, message_id),
    )


def choose_row(cursor: Cursor, message_id: int, *, where: str) -> None:
    """Make the path go through a message.

    Raises:
        DataError: There is no such message.
    """
    session_id = message_row(cursor, message_id, where=where)["session_id"]
    before = []
    for parent_id, child_id in choices_above(cursor, message_id):
        former = chosen_below(cursor, session_id, parent_id)
        if former != child_id:
            before.append((parent_id, former))
            show_below(cursor, session_id, parent_id, child_id)
    if before:
        find_head(cursor, session_id)
        undo.record(cursor, session_id, undo.Step("choose", shown=before), now=utc_now())


def delete_row(cursor: Cursor, message_id: int) -> tuple[int, ...]:
    """Delete a message and what hangs below it; return their ids, none when there is no such message."""
    rows = rows_below(cursor, message_id)
    if not rows:
        return ()
    top = rows[0]
    session_id, parent_id = top["session_id"], top["parent_id"]
    was_shown = chosen_below(cursor, session_id, parent_id) == message_id
    shown = [(parent_id, message_id)] if was_shown else []
    undo.record(cursor, session_id, undo.Step("delete", shown=shown, rows=rows), now=utc_now())
    if was_shown:
        show_below(cursor, session_id, parent_id, beside(cursor, top))
    ids = tuple(row["id"] for row in rows)
    cursor.executemany("DELETE FROM messages WHERE id = ?", [(id_,) for id_ in ids])
    find_head(cursor, session_id)
    return ids


def message_row(cursor: Cursor, message_id: int, *, where: str) -> Row:
    """Return the row of a message.

    Raises:
        DataError: There is none; it was deleted.
    """
    row: Row | None = cursor.execute("SELECT * FROM messages WHERE id = ?", (message_id,)).fetchone()
    if row is None:
        raise _no_message(message_id, where)
    return row


def _no_message(message_id: int, where: str) -> DataError:
    return DataError(f"there is no message {message_id} in this session", where=where)
