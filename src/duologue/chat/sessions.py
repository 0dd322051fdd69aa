"""Saved conversations in `chats.sqlite`. A message that was accepted is on disk before anything else happens."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from duologue.chat import tree_edits, tree_rows, undo
from duologue.chat.marks import Marks
from duologue.chat.mend import mend
from duologue.chat.session_rows import (
    count_chars,
    hit_of,
    insert_session,
    read_infos,
    read_session,
    store_states,
    strip_recalled,
    utc_now,
)
from duologue.chat.session_schema import BEGIN, END, MIGRATIONS, clean_words, find_words
from duologue.chat.tree import NO_MESSAGE, SearchHit, SessionInfo, SessionTree, StoredMessage, last_reply
from duologue.errors import DataError
from duologue.messages import Message, RecalledLine
from duologue.store import Cursor, Database, Row, open_database

__all__ = [
    "NO_MESSAGE",
    "SearchHit",
    "SessionInfo",
    "SessionTree",
    "Sessions",
    "StoredMessage",
    "last_reply",
    "utc_now",
]


class Sessions:
    """The sessions of a character's folder, each a tree of messages of which one path is the chat.

    Threads may share it. Ids of messages are never used twice in a folder.
    """

    def __init__(self, database: Database) -> None:
        """Use an open database; `Sessions.open` is the way in."""
        self._database = database

    @classmethod
    def open(cls, place: Path | str, *, notify: Callable[[str], None] | None = None) -> "Sessions":
        """Open chats.sqlite, or a PostgreSQL database by its address, making the tables when they are missing.

        Args:
            place: The file or the address.
            notify: Is told, in sentences, when a damaged file was restored from its backup, or a backup failed; may be
                called from another thread. By default it goes to the log, and so to stderr.

        Raises:
            DataError: The file is damaged and there is no backup, or it cannot be written.
        """
        return cls(open_database(place, migrations=MIGRATIONS, name="chats", notify=notify, mend=mend))

    # ---------------------------------------------------------------------------------------------- whole sessions

    def create(self, *, character: str, user: str = "local") -> str:
        """Make an empty session and return its id.

        Args:
            character: `Bot.model_id` of whom the session is with.
            user: Whose session it is.
        """
        with self._database.write() as cursor:
            return insert_session(cursor, SessionTree(()), character=character, user=user)[0]

    def has(self, session_id: str, *, character: str, user: str = "local") -> bool:
        """Return whether there is such a session of this user with this character."""
        return bool(
            self._database.read(
                "SELECT 1 AS found FROM sessions WHERE id = ? AND character = ? AND user = ?",
                (session_id, character, user),
            )
        )

    def num_chars(self, *, character: str, user: str = "local") -> int:
        """Return how many characters a user's sessions with a character hold, every version included."""
        return count_chars(self._database, character, user)

    def list_sessions(self, *, character: str, user: str = "local", tag: str = "") -> tuple[SessionInfo, ...]:
        """Return the sessions of a user with a character, the latest used first; with a tag, those that carry it."""
        infos = read_infos(self._database, "character = ? AND user = ?", (character, user))
        return tuple(info for info in infos if not tag or tag in info.tags)

    def info(self, session_id: str) -> SessionInfo:
        """Return what a list says about one session.

        Raises:
            DataError: There is no such session.
        """
        infos = read_infos(self._database, "id = ?", (session_id,))
        if not infos:
            raise self._no_session(session_id)
        return infos[0]

    def rename(self, session_id: str, title: str) -> None:
        """Give a session a title; an empty one shows its first message again."""
        with self._database.write() as cursor:
            cursor.execute("UPDATE sessions SET title = ? WHERE id = ?", (" ".join(title.split()), session_id))

    def set_tags(self, session_id: str, tags: Sequence[str]) -> None:
        """Give a session its tags, in place of those it had; white space is trimmed, a tag counts once."""
        words = dict.fromkeys(word for tag in tags if (word := " ".join(tag.split())))
        with self._database.write() as cursor:
            stored = json.dumps(list(words), ensure_ascii=False)
            cursor.execute("UPDATE sessions SET tags = ? WHERE id = ?", (stored, session_id))

    def state(self, session_id: str, name: str) -> Any:  # noqa: ANN401  (JSON is any type)
        """Return a value that belongs to a session, such as its author's note; None when it was never set."""
        rows = self._database.read(
            "SELECT value FROM session_states WHERE session_id = ? AND name = ?", (session_id, name)
        )
        return json.loads(rows[0]["value"]) if rows else None

    def set_state(self, session_id: str, name: str, value: Any) -> None:  # noqa: ANN401  (JSON is any type)
        """Store a JSON value that belongs to a session; None removes it.

        Raises:
            DataError: There is no such session.
        """
        with self._database.write() as cursor:
            self._require(cursor, session_id)
            store_states(cursor, session_id, {name: value})

    def search(self, text: str, *, character: str = "", user: str = "local", limit: int = 20) -> tuple[SearchHit, ...]:
        """Return the messages of all sessions, every version included, that hold every word of a text, best first.

        Args:
            text: Words, in any form and case; words in double quotes stand together.
            character: Only sessions with this character; empty for all.
            user: Whose sessions.
            limit: Most messages to return.
        """
        rows = find_words(self._database, text, character=character, user=user, limit=limit)
        titles = {session_id: self.info(session_id).title for session_id in {row["session_id"] for row in rows}}
        return tuple(hit_of(row, titles[row["session_id"]], begin=BEGIN, end=END) for row in rows)

    @property
    def marks(self) -> Marks:
        """What people think of replies, and whether it may be used."""
        return Marks(self._database)

    # ---------------------------------------------------------------------------------------------- reading messages

    def path(self, session_id: str) -> tuple[StoredMessage, ...]:
        """Return the chat as it is now, oldest first: the chosen version of each message; none for an unknown one."""
        return tree_rows.read_path(self._database, session_id)

    def messages(self, session_id: str) -> tuple[StoredMessage, ...]:
        """Return the same as `path`."""
        return self.path(session_id)

    def path_to(self, message_id: int) -> tuple[StoredMessage, ...]:
        """Return a message and all it follows, oldest first, whatever is chosen now; none for an unknown one."""
        return tree_rows.read_above(self._database, message_id)

    def swipes(self, message_id: int) -> tuple[StoredMessage, ...]:
        """Return a message and the versions beside it, in the order they were made; none for an unknown one."""
        return tree_rows.read_versions(self._database, message_id)

    def tree(self, session_id: str) -> SessionTree:
        """Return a whole session, every version included.

        Raises:
            DataError: There is no such session.
        """
        tree = read_session(self._database, session_id)
        if tree is None:
            raise self._no_session(session_id)
        return tree

    # ---------------------------------------------------------------------------------------------- adding messages

    def append(
        self,
        session_id: str,
        message: Message,
        *,
        recalled: Sequence[RecalledLine] = (),
        finish_reason: str = "",
        speaker: str = "",
        parent_id: int | None = None,
        is_hidden: bool = False,
        is_generated: bool = False,
    ) -> int:
        """Store a message, show it, and return its id. When this returns, the message is on disk.

        Args:
            session_id: Where it belongs.
            message: Role and text.
            recalled: The memory lines a reply was made with.
            finish_reason: Why a reply ended; empty while it grows.
            speaker: Name of who speaks, in chats with several characters.
            parent_id: The message it follows; None for the last one of the chat, `NO_MESSAGE` for the beginning. Where
                another message follows that one already, the new one is a version beside it (a swipe).
            is_hidden: Keep it out of the prompt.
            is_generated: The character's model makes it, here and now.

        Raises:
            DataError: The disk is full or failed, or there is no such session or message to follow.
        """
        values: dict[str, str | int] = {
            "role": message.role,
            "content": message.content,
            "speaker": speaker,
            "recalled": tree_rows.lines_as_json(recalled),
            "finish_reason": finish_reason,
            "is_hidden": int(is_hidden),
            "text_by": "model" if is_generated else "",
        }
        with self._database.write() as cursor:
            session = self._require(cursor, session_id)
            return tree_edits.append_row(cursor, session, values, parent_id=parent_id, where=self._database.name)

    def update(self, message_id: int, content: str, finish_reason: str) -> None:
        """Replace the text of a message that grows, such as a reply; a deleted one is left alone.

        When a finished reply grows again (it is gone on with), `undo` brings back how it was.
        """
        with self._database.write() as cursor:
            tree_edits.grow_row(cursor, message_id, content, finish_reason)

    # ---------------------------------------------------------------------------------------------- changing messages

    def edit(self, message_id: int, text: str) -> None:
        """Replace the text of a message in its place; `undo` brings the earlier text back.

        Raises:
            DataError: There is no such message.
        """
        with self._database.write() as cursor:
            tree_edits.edit_row(cursor, message_id, text, where=self._database.name)

    def edit_beside(self, message_id: int, text: str) -> int:
        """Add a version of a message with another text, show it and return its id; the old one and its replies stay.

        This is the edit after which the reply is made again: it follows the new version.

        Raises:
            DataError: There is no such message.
        """
        with self._database.write() as cursor:
            row = tree_edits.message_row(cursor, message_id, where=self._database.name)
            values = {name: row[name] for name in ("role", "speaker", "is_hidden")} | {"content": text}
            session, where = self._require(cursor, row["session_id"]), self._database.name
            return tree_edits.append_row(cursor, session, values, parent_id=row["parent_id"], where=where)

    def choose(self, message_id: int) -> None:
        """Make the chat go through a message: it and all it follows are shown; below it goes on as it was left.

        Raises:
            DataError: There is no such message.
        """
        with self._database.write() as cursor:
            tree_edits.choose_row(cursor, message_id, where=self._database.name)

    def hide(self, message_id: int, *, is_hidden: bool = True) -> None:
        """Keep a message out of the prompt, or let it in again; it stays in the chat."""
        with self._database.write() as cursor:
            cursor.execute("UPDATE messages SET is_hidden = ? WHERE id = ?", (int(is_hidden), message_id))

    def branch(
        self,
        session_id: str,
        message_id: int,
        *,
        restate: Callable[[str, Any, Mapping[int, int]], Any] = lambda _name, value, _new_ids: value,
    ) -> str:
        """Copy the chat up to a message into a new session and return its id; title, tags and states are copied too.

        Args:
            session_id: The session.
            message_id: The last message of the copy.
            restate: Is given name and value of each state, and the new id of each message by its old one; returns the
                value for the copy, None for none. Whoever stores ids of messages in a state translates them here.

        Raises:
            DataError: There is no such message in this session.
        """
        path = self.path_to(message_id)
        if not path or path[0].session_id != session_id:
            raise DataError(f"there is no message {message_id} in this session", where=self._database.name)
        tree, wanted = self.tree(session_id), {entry.id for entry in path}
        kept = tuple(entry for entry in tree.messages if entry.id in wanted)
        [source] = self._database.read("SELECT character, user FROM sessions WHERE id = ?", (session_id,))
        with self._database.write() as cursor:
            branch_id, new_ids = insert_session(
                cursor,
                replace(tree, messages=kept, chosen={}, created_at="", states={}),
                character=source["character"],
                user=source["user"],
                branched_from=session_id,
            )
            states = {name: restate(name, value, new_ids) for name, value in tree.states.items()}
            store_states(cursor, branch_id, states)
        return branch_id

    def add_tree(self, tree: SessionTree, *, character: str, user: str = "local") -> str:
        """Store a whole session, such as an imported one, and return its id; all of it is stored or nothing."""
        with self._database.write() as cursor:
            return insert_session(cursor, tree, character=character, user=user)[0]

    # ------------------------------------------------------------------------------------------------ taking away

    def delete_last_reply(self, session_id: str) -> int | None:
        """Delete the last message when it replies to an earlier one; return its id, or None when it does not."""
        reply = last_reply(self.path(session_id))
        if reply is None:
            return None
        self.delete_message(reply.id)
        return reply.id

    def delete_message(self, message_id: int) -> tuple[int, ...]:
        """Delete a message and everything that hangs below it; return their ids. `undo` brings them back.

        A version beside it is shown in its place. Nothing happens when there is no such message.
        """
        with self._database.write() as cursor:
            return tree_edits.delete_row(cursor, message_id)

    def erase_message(self, message_id: int) -> tuple[int, ...]:
        """Delete as `delete_message` does, but for good: no undo of the session is left, and no byte of the texts.

        Raises:
            DataError: As `delete`.
        """
        with self._database.write() as cursor:
            row = cursor.execute("SELECT session_id FROM messages WHERE id = ?", (message_id,)).fetchone()
            gone = tree_edits.delete_row(cursor, message_id)
            if row is not None:
                session_id = row["session_id"]
                undo.forget_steps(cursor, session_id)
                strip_recalled(cursor, lambda line: line.session_id == session_id and line.message_id in gone)
        self._purge()
        return gone

    def undo(self, session_id: str) -> str | None:
        """Undo the newest edit, choice, new version or deletion; return which it was, or None when there is none.

        Undoing brings back what was shown before. It removes nothing: an added version stays beside the old one.
        """
        with self._database.write() as cursor:
            return undo.take_back(cursor, session_id)

    def undo_kinds(self, session_id: str) -> tuple[str, ...]:
        """Return what could be undone, newest first: `edit`, `choose`, `swipe` or `delete`."""
        return undo.list_kinds(self._database, session_id)

    def delete(self, session_id: str) -> None:
        """Delete a session, what other sessions quote of it, and every byte of both, in backups too.

        Raises:
            DataError: Another program reads the file, or the disk has no room to rewrite it. The session is deleted;
                repeat the call to erase what is left.
        """
        with self._database.write() as cursor:
            strip_recalled(cursor, lambda line: line.session_id == session_id)
            cursor.execute("UPDATE sessions SET branched_from = '' WHERE branched_from = ?", (session_id,))
            cursor.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
        self._purge()

    def delete_user(self, user: str) -> int:
        """Delete every session of a user, with every character, as `delete` does; return how many there were."""
        with self._database.write() as cursor:
            ids = {row["id"] for row in cursor.execute("SELECT id FROM sessions WHERE user = ?", (user,)).fetchall()}
            strip_recalled(cursor, lambda line: line.session_id in ids)
            for session_id in ids:
                cursor.execute("UPDATE sessions SET branched_from = '' WHERE branched_from = ?", (session_id,))
            cursor.execute("DELETE FROM sessions WHERE user = ?", (user,))
        self._purge()
        return len(ids)

    def forget_recalled(self, memory_ids: Collection[int]) -> None:
        """Remove forgotten memory lines from the replies they were recalled for, to the last byte, as `delete` does."""
        with self._database.write() as cursor:
            strip_recalled(cursor, lambda line: line.memory_id in memory_ids)
        self._purge()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    # -------------------------------------------------------------------------------------------------------- parts

    def _purge(self) -> None:
        clean_words(self._database)
        self._database.purge()

    def _require(self, cursor: Cursor, session_id: str) -> Row:
        row: Row | None = cursor.execute(
            "SELECT id, root_id, head_id FROM sessions WHERE id = ?", (session_id,)
        ).fetchone()
        if row is None:
            raise self._no_session(session_id)
        return row

    def _no_session(self, session_id: str) -> DataError:
        return DataError(f"there is no session '{session_id}'", where=self._database.name)
