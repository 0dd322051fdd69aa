"""Verbatim memories in one SQLite file, found by their words (FTS5), kept apart by scope, erased to the last byte."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duologue.memory.exchange import MemoryLine, check_limits, parse_json_lines, to_json_line
from duologue.memory.question import asked_speaker, fts_query
from duologue.memory.ranking import Neighbours, rank
from duologue.messages import RecalledLine, Role
from duologue.store import Database, Row, open_database

NUM_CANDIDATES = 100  # hits that are looked at more closely
_MIGRATIONS = (
    """
    CREATE TABLE memories (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        user TEXT NOT NULL,
        character TEXT NOT NULL,
        session_id TEXT NOT NULL,
        message_id INTEGER NOT NULL,
        speaker TEXT NOT NULL CHECK (speaker IN ('user', 'assistant')),
        said_at TEXT NOT NULL,
        text TEXT NOT NULL
    );
    CREATE INDEX memories_in_order ON memories (user, character, session_id, id);
    CREATE INDEX memories_of_message ON memories (session_id, message_id);
    CREATE VIRTUAL TABLE memory_words USING fts5 (
        text, content = 'memories', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
    );
    CREATE TRIGGER memories_added AFTER INSERT ON memories BEGIN
        INSERT INTO memory_words (rowid, text) VALUES (new.id, new.text);
    END;
    CREATE TRIGGER memories_deleted AFTER DELETE ON memories BEGIN
        INSERT INTO memory_words (memory_words, rowid, text) VALUES ('delete', old.id, old.text);
    END;
    """,
)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose memories: nothing said in one scope is ever found in another.

    Attributes:
        user: Who talks, such as `local` or an account's name.
        character: Whom they talk to.
    """

    user: str
    character: str


class MemoryStore:
    """The memories of a character's folder. Threads may share it."""

    def __init__(self, database: Database) -> None:
        """Use an open database; `MemoryStore.open` is the way in."""
        self._database = database

    @classmethod
    def open(cls, path: Path) -> "MemoryStore":
        """Open memory.sqlite, making it when it is missing.

        Raises:
            DataError: The file is damaged or cannot be written.
        """
        return cls(open_database(path, migrations=_MIGRATIONS))

    def add(self, text: str, *, speaker: Role, scope: Scope, session_id: str, message_id: int, said_at: str) -> int:
        """Store a line, word for word, and return its id.

        Args:
            text: What was said.
            speaker: `user` or `assistant`.
            scope: Whose memory it is.
            session_id: Where it was said.
            message_id: The message it comes from; removing that message removes the line.
            said_at: ISO-8601 time in UTC.

        Raises:
            GuardError: The text crosses a limit that holds at every rating.
            DataError: The disk is full or failed.
        """
        check_limits(text)
        line = MemoryLine(text, speaker, session_id, message_id, said_at)
        with self._database.write() as cursor:
            cursor.execute(_INSERT, _parameters(line, scope))
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def recall(self, question: str, *, scope: Scope, limit: int, exclude_session: str = "") -> tuple[RecalledLine, ...]:
        """Return the lines that bear on a question, best first, each text once.

        A line counts for the words it shares with the question (bm25), for those of its neighbours, and a little for
        its speaker. The question itself is never an answer.

        Args:
            question: A person's message.
            scope: Only lines of this scope are found.
            limit: Most lines to return.
            exclude_session: The session that asks; its lines are before the model anyway.
        """
        hits = self._hits(question, scope=scope, limit=NUM_CANDIDATES, exclude_session=exclude_session)
        neighbours = [Neighbours(hit, self._around(hit, scope=scope)) for hit in hits]
        return rank(neighbours, question=question, speaker=asked_speaker(question), limit=limit)

    def search(self, question: str, *, scope: Scope, limit: int) -> tuple[RecalledLine, ...]:
        """Return the lines that contain a word of the question, best match first, repeated texts included."""
        return self._hits(question, scope=scope, limit=limit, exclude_session="")

    def list_lines(self, *, scope: Scope, limit: int = 100) -> tuple[RecalledLine, ...]:
        """Return the newest lines of a scope, newest first."""
        rows = self._database.read(
            "SELECT *, 0.0 AS score FROM memories WHERE user = ? AND character = ? ORDER BY id DESC LIMIT ?",
            (scope.user, scope.character, limit),
        )
        return tuple(map(_line, rows))

    def knows(self, message_id: int, *, session_id: str) -> bool:
        """Return whether a line of this message is stored."""
        found = self._database.read(
            "SELECT 1 FROM memories WHERE message_id = ? AND session_id = ? LIMIT 1", (message_id, session_id)
        )
        return bool(found)

    def forget(self, ids: Sequence[int]) -> int:
        """Delete lines and every byte of them; return how many there were.

        Raises:
            DataError: Another program reads the file, so that its log cannot be emptied now, or the disk has no room
                to rewrite it. The lines are deleted; repeat the call to erase what is left.
        """
        return self._erase("id = ?", [(memory_id,) for memory_id in ids])

    def forget_message(self, message_id: int, *, session_id: str) -> int:
        """Forget the lines that came from one message, as `forget` does."""
        return self._erase("message_id = ? AND session_id = ?", [(message_id, session_id)])

    def forget_session(self, session_id: str) -> int:
        """Forget the lines that came from one session, as `forget` does."""
        return self._erase("session_id = ?", [(session_id,)])

    def export_lines(self, *, scope: Scope) -> Iterator[str]:
        """Yield every line of a scope as JSON, oldest first, without line breaks."""
        rows = self._database.read(
            "SELECT * FROM memories WHERE user = ? AND character = ? ORDER BY id", (scope.user, scope.character)
        )
        for row in rows:
            yield to_json_line(
                MemoryLine(row["text"], row["speaker"], row["session_id"], row["message_id"], row["said_at"])
            )

    def import_lines(self, lines: Iterable[str], *, scope: Scope, where: str = "memories") -> int:
        """Store exported lines in a scope, all or none; return how many were new.

        Args:
            lines: JSON lines, such as an open file.
            scope: Where they go, wherever they came from.
            where: Name of the file, for messages.

        Raises:
            DataError: A line is not a memory or crosses a limit; all faults are named.
        """
        parsed = parse_json_lines(lines, where=where)
        num_added = 0
        with self._database.write() as cursor:
            for line in parsed:
                parameters = _parameters(line, scope)
                if cursor.execute(_SAME, parameters).fetchone() is None:
                    cursor.execute(_INSERT, parameters)
                    num_added += 1
        return num_added

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _hits(self, question: str, *, scope: Scope, limit: int, exclude_session: str) -> tuple[RecalledLine, ...]:
        query = fts_query(question)
        if not query:
            return ()
        rows = self._database.read(
            """
            SELECT memories.*, -bm25(memory_words) AS score
            FROM memory_words JOIN memories ON memories.id = memory_words.rowid
            WHERE memory_words MATCH :query
                AND user = :user AND character = :character AND session_id <> :exclude_session
            ORDER BY score DESC, id DESC LIMIT :limit
            """,
            {
                "query": query,
                "user": scope.user,
                "character": scope.character,
                "exclude_session": exclude_session,
                "limit": limit,
            },
        )
        return tuple(map(_line, rows))

    def _around(self, line: RecalledLine, *, scope: Scope) -> tuple[RecalledLine, ...]:
        rows = self._database.read(
            """
            SELECT *, 0.0 AS score FROM memories WHERE id IN (
                (SELECT max(id) FROM memories WHERE user = :user AND character = :character
                    AND session_id = :session_id AND id < :id),
                (SELECT min(id) FROM memories WHERE user = :user AND character = :character
                    AND session_id = :session_id AND id > :id))
            """,
            {
                "user": scope.user,
                "character": scope.character,
                "session_id": line.session_id,
                "id": line.memory_id,
            },
        )
        return tuple(map(_line, rows))

    def _erase(self, condition: str, parameters: Sequence[tuple[int | str, ...]]) -> int:
        with self._database.write() as cursor:
            cursor.executemany(f"DELETE FROM memories WHERE {condition}", parameters)  # noqa: S608  (fixed texts)
            num_deleted = max(0, cursor.rowcount)
            # Until it is optimized, the index keeps deleted words. FTS5's own 'secure-delete' (SQLite 3.42) would make
            # a file that older versions cannot open.
            cursor.execute("INSERT INTO memory_words (memory_words) VALUES ('optimize')")
        self._database.purge()  # also when nothing was deleted now: an earlier purge may have failed
        return num_deleted


_INSERT = """
    INSERT INTO memories (user, character, session_id, message_id, speaker, said_at, text)
    VALUES (:user, :character, :session_id, :message_id, :speaker, :said_at, :text)
"""
_SAME = """
    SELECT 1 FROM memories WHERE user = :user AND character = :character AND session_id = :session_id
        AND message_id = :message_id AND speaker = :speaker AND said_at = :said_at AND text = :text
"""


def _parameters(line: MemoryLine, scope: Scope) -> dict[str, Any]:
    return {
        "user": scope.user,
        "character": scope.character,
        "session_id": line.session_id,
        "message_id": line.message_id,
        "speaker": line.speaker,
        "said_at": line.said_at,
        "text": line.text,
    }


def _line(row: Row) -> RecalledLine:
    return RecalledLine(
        text=row["text"],
        speaker=row["speaker"],
        memory_id=row["id"],
        session_id=row["session_id"],
        said_at=row["said_at"],
        score=row["score"],
    )
