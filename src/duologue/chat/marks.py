"""What people think of replies, beside the replies: likes, picked versions, what was rewritten, consent per chat."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from duologue.store import Cursor, Database, Row

ConsentState = Literal["", "asked", "given", "refused"]


@dataclass(frozen=True, slots=True)
class Consent:
    """Whether a model may learn from a chat.

    Attributes:
        state: Empty when nobody was asked yet; `asked` while there is no answer. Only `given` is a yes.
        changed_at: ISO-8601 time (UTC) of the question or of the answer; empty when nobody was asked.
    """

    state: ConsentState = ""
    changed_at: str = ""


@dataclass(frozen=True, slots=True)
class SessionMarks:
    """All marks of a session, by the id of the message.

    Attributes:
        consent: Whether they may be used.
        opinions: Whether a reply is liked; of its present text.
        picks: The newest version that was there when this one was picked.
        originals: What the model had said before a person rewrote it.
        text_by: Whose words a message is made of: `model`, `person`, `mixed`, or empty where it is not known.
        revisions: How often each text was changed.
        left_out: Sources that the person took out.
        num_outdated: Opinions of texts that were changed since.
    """

    consent: Consent
    opinions: Mapping[int, bool]
    picks: Mapping[int, int]
    originals: Mapping[int, str]
    text_by: Mapping[int, str]
    revisions: Mapping[int, int]
    left_out: frozenset[str]
    num_outdated: int


class Marks:
    """Likes and consent in the database of the sessions. What is deleted there takes its marks along."""

    def __init__(self, database: Database) -> None:
        """Use the database of the sessions."""
        self._database = database

    def consent(self, session_id: str) -> Consent:
        """Return whether a model may learn from a chat."""
        rows = self._database.read("SELECT state, changed_at FROM consents WHERE session_id = ?", (session_id,))
        return Consent(rows[0]["state"], rows[0]["changed_at"]) if rows else Consent()

    def set_consent(self, session_id: str, state: Literal["asked", "given", "refused"]) -> None:
        """Store a question or an answer; a question does not undo an answer.

        Refusing also forgets what replies were before they were rewritten: nothing else needs it.
        """
        conflict = (
            "NOTHING" if state == "asked" else "UPDATE SET state = excluded.state, changed_at = excluded.changed_at"
        )
        with self._database.write() as cursor:
            cursor.execute(
                f"INSERT INTO consents (session_id, state, changed_at) VALUES (?, ?, ?)"  # noqa: S608  (fixed texts)
                f" ON CONFLICT (session_id) DO {conflict}",
                (session_id, state, _now()),
            )
            if state == "refused":
                cursor.execute(
                    "DELETE FROM originals WHERE message_id IN (SELECT id FROM messages WHERE session_id = ?)",
                    (session_id,),
                )

    def count_consents(self, *, character: str) -> dict[str, int]:
        """Return the number of chats with a character by the state of their consent, of all users together."""
        rows = self._database.read(
            "SELECT coalesce(consents.state, '') AS state FROM sessions"
            " LEFT JOIN consents ON consents.session_id = sessions.id WHERE sessions.character = ?",
            (character,),
        )
        return dict(Counter(row["state"] for row in rows))

    def list_consented(self, *, character: str) -> tuple[str, ...]:
        """Return the chats with a character from which a model may learn, of all users, the oldest first."""
        rows = self._database.read(
            "SELECT sessions.id FROM sessions JOIN consents ON consents.session_id = sessions.id"
            " WHERE sessions.character = ? AND consents.state = 'given' ORDER BY sessions.id",
            (character,),
        )
        return tuple(row["id"] for row in rows)

    def opinions(self, session_id: str) -> dict[int, bool]:
        """Return whether replies of a chat are liked, by their ids; those without an opinion are missing."""
        rows = self._database.read(
            "SELECT opinions.message_id, opinions.is_liked FROM opinions JOIN messages"
            " ON messages.id = opinions.message_id AND messages.revision = opinions.revision"
            " WHERE messages.session_id = ?",
            (session_id,),
        )
        return {row["message_id"]: bool(row["is_liked"]) for row in rows}

    def set_opinion(self, message_id: int, is_liked: bool | None) -> None:
        """Store that a reply is liked or not liked; None takes an opinion back. A message that is gone is let be."""
        with self._database.write() as cursor:
            cursor.execute("DELETE FROM opinions WHERE message_id = ?", (message_id,))
            if is_liked is not None:
                cursor.execute(
                    "INSERT INTO opinions (message_id, revision, is_liked, said_at)"
                    " SELECT id, revision, ?, ? FROM messages WHERE id = ? AND role = 'assistant'",
                    (int(is_liked), _now(), message_id),
                )

    def pick(self, message_id: int) -> None:
        """Store that a person turned to this version, with all versions beside it there to be compared."""
        with self._database.write() as cursor:
            cursor.execute("DELETE FROM picks WHERE message_id = ?", (message_id,))
            cursor.execute(
                "INSERT INTO picks (message_id, seen_id, picked_at)"
                " SELECT one.id, max(other.id), ? FROM messages AS one"
                " JOIN messages AS other ON other.session_id = one.session_id AND other.parent_id = one.parent_id"
                " WHERE one.id = ? AND one.role = 'assistant' GROUP BY one.id",
                (_now(), message_id),
            )

    def leave_out(self, session_id: str, source: str) -> None:
        """Keep one piece of feedback out of what is collected, for good."""
        with self._database.write() as cursor:
            cursor.execute(
                "INSERT INTO feedback_left_out (session_id, source)"
                " SELECT id, ? FROM sessions WHERE id = ? ON CONFLICT (session_id, source) DO NOTHING",
                (source, session_id),
            )

    def read(self, session_id: str) -> SessionMarks:
        """Return all marks of a session."""
        read = self._database.read
        of_session = " IN (SELECT id FROM messages WHERE session_id = ?)"
        one = (session_id,)
        picks = read(f"SELECT message_id, seen_id FROM picks WHERE message_id{of_session}", one)  # noqa: S608
        originals = read(f"SELECT message_id, content FROM originals WHERE message_id{of_session}", one)  # noqa: S608
        num_said = read(f"SELECT count(*) AS num FROM opinions WHERE message_id{of_session}", one)[0]["num"]  # noqa: S608
        rows = read("SELECT id, text_by, revision FROM messages WHERE session_id = ?", one)
        left_out = read("SELECT source FROM feedback_left_out WHERE session_id = ?", one)
        opinions = self.opinions(session_id)
        return SessionMarks(
            consent=self.consent(session_id),
            opinions=opinions,
            picks={row["message_id"]: row["seen_id"] for row in picks},
            originals={row["message_id"]: row["content"] for row in originals},
            text_by={row["id"]: row["text_by"] for row in rows},
            revisions={row["id"]: row["revision"] for row in rows},
            left_out=frozenset(row["source"] for row in left_out),
            num_outdated=num_said - len(opinions),
        )


def note_edit(cursor: Cursor, row: Row) -> None:
    """Keep what the model had said when a person rewrites it for the first time, unless the chat's consent is refused.

    Args:
        cursor: Inside the transaction of the edit.
        row: The message as it was before.
    """
    if row["role"] != "assistant" or row["text_by"] != "model":
        return
    cursor.execute("UPDATE messages SET text_by = 'person' WHERE id = ?", (row["id"],))
    cursor.execute(
        "INSERT INTO originals (message_id, content) SELECT ?, ? WHERE NOT EXISTS"
        " (SELECT 1 AS found FROM consents WHERE session_id = ? AND state = 'refused')",
        (row["id"], row["content"], row["session_id"]),
    )


def note_growth(cursor: Cursor, row: Row) -> None:
    """Note that a model went on with a message, given as it was before: a rewritten one is nobody's own any more."""
    if row["text_by"] == "person":
        cursor.execute("UPDATE messages SET text_by = 'mixed' WHERE id = ?", (row["id"],))
        cursor.execute("DELETE FROM originals WHERE message_id = ?", (row["id"],))


def note_restored(cursor: Cursor, message_id: int, content: str) -> None:
    """Note that an earlier text came back: when it is the model's own, it was never rewritten."""
    row = cursor.execute("SELECT content FROM originals WHERE message_id = ?", (message_id,)).fetchone()
    if row is not None and row["content"] == content:
        cursor.execute("UPDATE messages SET text_by = 'model' WHERE id = ?", (message_id,))
        cursor.execute("DELETE FROM originals WHERE message_id = ?", (message_id,))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
