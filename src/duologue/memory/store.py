"""What was said, word for word, and the facts in it: found again by words and meaning, erased to the last byte."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from duologue.engine.embed import Embedder
from duologue.errors import DataError
from duologue.memory import embedding, erasure, exchange, learning
from duologue.memory.diary import from_markdown, to_markdown
from duologue.memory.learning import Followed, put_mark
from duologue.memory.records import Receipt, Scope, Source, StoredLine, Why, to_recalled
from duologue.memory.rows import lines_of, next_revision, stored_line, with_versions
from duologue.memory.schema import MIGRATIONS
from duologue.messages import RecalledLine
from duologue.store import Database, open_database

if TYPE_CHECKING:
    from duologue.memory.index import Index
    from duologue.memory.recalling import Recaller

AlsoForget = Callable[[Sequence[StoredLine]], str]
"""Takes lines that were just forgotten; returns what became of their copy elsewhere: `done`, `queued` or a sentence."""

NUM_EMBEDDED_AT_ONCE = 256  # lines that following a path embeds at most, so that an old memory does not hold it up


class MemoryStore:
    """The memories of a character's folder, or of a server. Threads may share it.

    Attributes:
        embedder: What finds lines by meaning; None for words alone.
        also_forget: Asked to erase copies elsewhere whenever lines are forgotten.
    """

    def __init__(self, database: Database, *, embedder: Embedder | None = None, index: "Index | None" = None) -> None:
        """Use an open database; `MemoryStore.open` is the way in."""
        self.embedder = embedder
        self.also_forget: AlsoForget | None = None
        self._database = database
        self._index = index
        self._embedder_id = 0
        self._is_caught_up = False
        self._recaller: Recaller | None = None

    @classmethod
    def open(
        cls,
        place: Path | str,
        *,
        embedder: Embedder | None = None,
        index: "Index | None" = None,
        notify: Callable[[str], None] | None = None,
    ) -> "MemoryStore":
        """Open memory.sqlite, making it when it is missing, or a database on a server.

        Args:
            place: A file, or the address of a server.
            embedder: From `duologue.engine.embed.open_embedder`; None finds lines by their words alone.
            index: Finds candidates in scopes too large for RAM; by default the file's own full-text index.
            notify: Told in a sentence when the file was damaged and restored.

        Raises:
            DataError: The file is damaged or cannot be written.
        """
        database = open_database(place, migrations=MIGRATIONS, name="memory", notify=notify)
        return cls(database, embedder=embedder, index=index)

    @property
    def database(self) -> Database:
        """Where the rows are kept."""
        return self._database

    def follow(self, session_id: str, path: Sequence[Source], *, scope: Scope) -> Followed:
        """Make the memories of a session equal to what its chosen path says.

        Lines of messages that are no longer on the path go, those of messages that are back come back, with what the
        person did to them. Called in the background: embedding happens here, outside of any transaction.

        Raises:
            DataError: The disk is full or failed.
        """
        followed = learning.follow(self._database, session_id, path, scope=scope)
        if self.embedder is not None and followed.num_new:
            number = self.embedder_id()
            embedding.fill_session(self._database, self.embedder, number, scope=scope, session_id=session_id)
        if not self._is_caught_up:
            self._is_caught_up = self.catch_up(max_lines=NUM_EMBEDDED_AT_ONCE) == 0
        return followed

    def catch_up(self, *, max_lines: int = 100_000) -> int:
        """Embed lines that have no vector of the present embedder; return how many are left."""
        if self.embedder is None:
            return 0
        number = self.embedder_id()
        embedding.fill(self._database, self.embedder, number, max_lines=max_lines)
        return embedding.num_without_vector(self._database, number)

    def embedder_id(self) -> int:
        """Return the row of the embedder in `embedders`; 0 without one."""
        if self.embedder is not None and not self._embedder_id:
            self._embedder_id = embedding.embedder_id(self._database, self.embedder)
        return self._embedder_id

    def recall(
        self,
        question: str,
        *,
        scope: Scope,
        limit: int,
        exclude_session: str = "",
        visible: Collection[int] | None = None,
        cooled: Collection[int] = (),
        shares_user_facts: bool = False,
    ) -> tuple[RecalledLine, ...]:
        """Return the lines that bear on a question, best first: pinned ones before all others, each thing once.

        Private lines and the question itself are never among them; what is no longer so says so.

        Args:
            question: A person's message.
            scope: Only lines of this scope are found.
            limit: Most lines to return.
            exclude_session: The session that asks.
            visible: Its messages that are before the model anyway; None for all of them.
            cooled: Ids that were recalled a moment ago; they are passed over unless pinned or asked for by name.
            shares_user_facts: Whether facts the user told other characters are found as well.
        """
        from duologue.memory.recalling import Asked  # numpy, 0.1 s

        asked = Asked(question, scope, limit, exclude_session, visible, cooled, shares_user_facts)
        found = self._recalling().recall(asked)
        return tuple(
            to_recalled(scored.line, score=scored.score, parts=(scored.words, scored.meaning)) for scored in found
        )

    def search(self, question: str, *, scope: Scope, limit: int) -> tuple[StoredLine, ...]:
        """Return the lines that contain a word of the question, best match first, repeats and private ones included."""
        return self._recalling().search(question, scope=scope, limit=limit)

    def list_lines(
        self,
        *,
        scope: Scope,
        limit: int = 100,
        kind: str = "",
        only_pinned: bool = False,
        before: StoredLine | None = None,
    ) -> tuple[StoredLine, ...]:
        """Return the newest lines of a scope, newest first.

        Args:
            scope: Whose.
            limit: Most lines to return.
            kind: `turn`, `fact` or empty for both.
            only_pinned: Leave out what is not pinned.
            before: The last line of the page before this one.
        """
        said_at, number = (before.said_at, before.memory_id) if before else ("", 0)
        rows = self._database.read(
            """
            SELECT * FROM memories WHERE user = ? AND character = ? AND (kind = ? OR ? = '') AND is_pinned >= ?
                AND (? = 0 OR said_at < ? OR (said_at = ? AND id < ?))
            ORDER BY said_at DESC, id DESC LIMIT ?
            """,
            (
                *(scope.user, scope.character, kind, kind, int(only_pinned)),
                *(int(before is not None), said_at, said_at, number, limit),
            ),
        )
        return self._with_versions([stored_line(row) for row in rows])

    def count_lines(self, *, scope: Scope) -> dict[str, int]:
        """Return how many lines a scope has: `turn`, `fact`, and of both `pinned` and `private`."""
        rows = self._database.read(
            """
            SELECT kind, count(*) AS num, sum(is_pinned) AS pinned, sum(is_private) AS private
            FROM memories WHERE user = ? AND character = ? GROUP BY kind
            """,
            (scope.user, scope.character),
        )
        counts = {"turn": 0, "fact": 0, "pinned": 0, "private": 0}
        for row in rows:
            counts[row["kind"]] = int(row["num"])
            counts["pinned"] += int(row["pinned"])
            counts["private"] += int(row["private"])
        return counts

    def num_chars(self, *, scope: Scope) -> int:
        """Return how many characters the lines of a scope hold."""
        rows = self._database.read(
            """
            SELECT coalesce(sum(length(text) + length(name)), 0) AS num
            FROM memories WHERE user = ? AND character = ?
            """,
            (scope.user, scope.character),
        )
        return int(rows[0]["num"])

    def get(self, memory_id: int, *, scope: Scope | None = None) -> StoredLine:
        """Return one line.

        Args:
            memory_id: Its number.
            scope: When given, a line of another scope is as good as none.

        Raises:
            DataError: There is no such line.
        """
        line = lines_of(self._database, [memory_id]).get(memory_id)
        if line is None or (scope is not None and line.scope != scope):
            raise DataError(
                f"no memory has the number {memory_id}", where="memory", action="`duologue memory list` shows them."
            )
        return self._with_versions([line])[0]

    def why(self, memory_id: int, *, scope: Scope | None = None, num_around: int = 2) -> Why:
        """Return where a memory comes from: the turns around it and, for a fact, its versions.

        Raises:
            DataError: There is no such line.
        """
        line = self.get(memory_id, scope=scope)
        rows = self._database.read(
            """
            SELECT * FROM memories WHERE user = ? AND character = ? AND session_id = ? AND kind = 'turn'
                AND position BETWEEN ? AND ? ORDER BY position, part, id
            """,
            (
                line.scope.user,
                line.scope.character,
                line.session_id,
                line.position - num_around,
                line.position + num_around,
            ),
        )
        around = tuple(stored_line(row) for row in rows)
        return Why(line, around, self._with_versions(self._of_slot(line)) if line.kind == "fact" else ())

    def edit(self, memory_id: int, text: str, *, scope: Scope | None = None) -> StoredLine:
        """Change what a line says, as long as its source stays; the source itself stays as it is.

        Raises:
            DataError: There is no such line, or the text is empty.
            GuardError: The text crosses a limit that holds at every rating.
        """
        if not text.strip():
            raise DataError("a memory cannot be empty", where="memory", action="To remove it, forget it.")
        exchange.check_limits(text)
        return self._mark(memory_id, scope, column="text", value=text)

    def pin(self, memory_id: int, is_pinned: bool = True, *, scope: Scope | None = None) -> StoredLine:
        """Recall a line before all others, or no longer.

        Raises:
            DataError: There is no such line.
        """
        return self._mark(memory_id, scope, column="is_pinned", value=int(is_pinned))

    def set_private(self, memory_id: int, is_private: bool = True, *, scope: Scope | None = None) -> StoredLine:
        """Never recall a line, or let it be recalled again.

        Raises:
            DataError: There is no such line.
        """
        return self._mark(memory_id, scope, column="is_private", value=int(is_private))

    def forget(self, ids: Sequence[int], *, scope: Scope | None = None) -> Receipt:
        """Erase lines for good: text, index, vectors, log and copies elsewhere; the proof is in the receipt.

        They are not learned again from their message, as long as that is not edited. A turn takes the facts drawn from
        it along, a fact the passages that say it.

        Raises:
            DataError: Another program reads the file, so that its log cannot be emptied now, or the disk has no room
                to rewrite it. The lines are deleted; repeat the call to erase what is left.
        """
        lines = [line for line in lines_of(self._database, list(ids)).values() if scope is None or line.scope == scope]
        return self._forget(erasure.with_kin(self._database, lines), is_remembered_as_forgotten=True)

    def forget_message(self, message_id: int, *, session_id: str) -> Receipt:
        """Forget what came from one message, as `forget` does, in every scope."""
        return self._forget_where("session_id = ? AND message_id = ?", (session_id, message_id))

    def forget_session(self, session_id: str) -> Receipt:
        """Forget what came from one session, as `forget` does, in every scope."""
        return self._forget_where("session_id = ?", (session_id,))

    def forget_scope(self, scope: Scope) -> Receipt:
        """Forget everything one character remembers about one user."""
        return self._forget_where("user = ? AND character = ?", (scope.user, scope.character))

    def forget_user(self, user: str) -> Receipt:
        """Forget everything any character remembers about one user."""
        return self._forget_where("user = ?", (user,))

    def copy_marks(
        self,
        session_id: str,
        new_session_id: str,
        messages: Sequence[tuple[tuple[int, int], tuple[int, int]]],
    ) -> None:
        """Let what the person did to the lines of a session hold in a branch of it too: pinned, edited, forgotten.

        Args:
            session_id: The session.
            new_session_id: Its branch; followed afterwards.
            messages: Message and revision there, and the message and revision that copy it.
        """
        learning.copy_marks(self._database, session_id, new_session_id, dict(messages))

    def receipts(self) -> tuple[Receipt, ...]:
        """Return the receipts of all forgettings, newest first."""
        return erasure.receipts(self._database)

    def export_lines(self, *, scope: Scope) -> Iterator[str]:
        """Yield every line of a scope as JSON, in the order it was said, without line breaks."""
        for line in self._all(scope):
            yield exchange.to_json_line(line)

    def import_lines(self, lines: Iterable[str], *, scope: Scope, where: str = "memories") -> int:
        """Store exported lines in a scope, all or none; return how many were new.

        Args:
            lines: JSON lines, such as an open file.
            scope: Where they go, wherever they came from.
            where: Name of the file, for messages.

        Raises:
            DataError: A line is not a memory or crosses a limit; all faults are named.
        """
        return exchange.store_lines(self._database, exchange.parse_json_lines(lines, where=where), scope=scope)

    def export_markdown(self, *, scope: Scope) -> str:
        """Return a scope as a diary by date, to read, to edit and to import again."""
        return to_markdown(self._with_versions(self._all(scope)))

    def import_markdown(self, text: str, *, scope: Scope, where: str = "memories") -> int:
        """Store a diary that `export_markdown` wrote, all or none; return how many lines were new.

        Raises:
            DataError: A line of it cannot be read; all faults are named.
        """
        return exchange.store_lines(self._database, from_markdown(text, where=where), scope=scope)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _recalling(self) -> "Recaller":
        if self._recaller is None:
            from duologue.memory.recalling import Recaller  # numpy, 0.1 s

            self._recaller = Recaller(self._database, self.embedder, self.embedder_id(), index=self._index)
        return self._recaller

    def _all(self, scope: Scope) -> tuple[StoredLine, ...]:
        rows = self._database.read(
            "SELECT * FROM memories WHERE user = ? AND character = ? ORDER BY said_at, session_id, position, part, id",
            (scope.user, scope.character),
        )
        return tuple(map(stored_line, rows))

    def _of_slot(self, line: StoredLine) -> tuple[StoredLine, ...]:
        rows = self._database.read(
            """
            SELECT * FROM memories WHERE user = ? AND character = ? AND kind = 'fact' AND slot = ?
            ORDER BY said_at, session_id, position, part, id
            """,
            (line.scope.user, line.scope.character, line.slot),
        )
        return tuple(map(stored_line, rows))

    def _with_versions(self, lines: Sequence[StoredLine]) -> tuple[StoredLine, ...]:
        slots = {(line.scope, line.slot): line for line in lines if line.kind == "fact"}
        versions = {
            version.memory_id: version for line in slots.values() for version in with_versions(self._of_slot(line))
        }
        return tuple(
            replace(line, used_until=versions[line.memory_id].used_until) if line.memory_id in versions else line
            for line in lines
        )

    def _mark(self, memory_id: int, scope: Scope | None, *, column: str, value: str | int) -> StoredLine:
        line = self.get(memory_id, scope=scope)
        with self._database.write() as cursor:
            put_mark(cursor, line, **{column: value})
            changed = next_revision(cursor, line.scope)
            cursor.execute(
                f"UPDATE memories SET {column} = ?, changed = ? WHERE id = ?",  # noqa: S608  (names of our own)
                (value, changed, memory_id),
            )
            if column == "text":
                cursor.execute("DELETE FROM vectors WHERE memory_id = ?", (memory_id,))
                self._is_caught_up = False
        return self.get(memory_id)

    def _forget_where(self, condition: str, parameters: tuple[str | int, ...]) -> Receipt:
        rows = self._database.read(f"SELECT * FROM memories WHERE {condition}", parameters)  # noqa: S608  (fixed texts)
        with self._database.write() as cursor:
            cursor.execute(f"DELETE FROM marks WHERE {condition}", parameters)  # noqa: S608  (fixed texts)
        return self._forget([stored_line(row) for row in rows], is_remembered_as_forgotten=False)

    def _forget(self, lines: Sequence[StoredLine], *, is_remembered_as_forgotten: bool) -> Receipt:
        erasure.erase(self._database, lines, is_remembered_as_forgotten=is_remembered_as_forgotten)
        if self._recaller is not None:
            self._recaller.drop()
        hosted = self.also_forget(lines) if self.also_forget is not None and lines else "none"
        return erasure.prove(self._database, lines, hosted=hosted)
