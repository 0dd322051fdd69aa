"""Where candidates for a recall come from when a scope is too large to be kept in RAM: the database's own indexes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from duologue.memory.records import Scope
from duologue.store import Database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_WORDS = 32  # a long message asks with its first words; more would make the query slow, not better


class Index(Protocol):
    """Text search and vector search over the table `memories`, within one scope, private lines left out.

    The rows of `memories` and `vectors` are written by `MemoryStore`; an index that keeps anything besides them keeps
    it up to date by triggers, so that whatever is deleted there is deleted here.
    """

    def words(self, words: Sequence[str], *, scope: Scope, limit: int) -> Sequence[tuple[int, float]]:
        """Return the ids of lines that contain any of the words, and their scores, best first.

        Args:
            words: Lower case, without stopwords; never query syntax. Other forms of a word count as well.
            scope: Whose lines.
            limit: Most ids to return.
        """
        ...

    def vectors(
        self, vector: "NDArray[np.float32]", *, embedder_id: int, scope: Scope, limit: int
    ) -> Sequence[tuple[int, float]]:
        """Return the ids of the lines nearest to a unit vector, and their cosines, best first.

        Args:
            vector: Shape (dim,).
            embedder_id: Only vectors of this row of `embedders` are compared.
            scope: Whose lines.
            limit: Most ids to return.
        """
        ...

    def counts(self, words: Sequence[str], *, scope: Scope) -> tuple[int, Mapping[str, int]]:
        """Return how many lines the scope has, and in how many of them each word stands."""
        ...


class SqliteIndex:
    """FTS5 for words; vectors are read in blocks and compared by numpy."""

    def __init__(self, database: Database) -> None:
        """Use the database of a `MemoryStore`."""
        self._database = database

    def words(self, words: Sequence[str], *, scope: Scope, limit: int) -> Sequence[tuple[int, float]]:
        """See `Index.words`; the score is FTS5's bm25."""
        query = " OR ".join(quoted(word) for word in words[:MAX_WORDS])
        if not query:
            return ()
        rows = self._database.read(
            """
            SELECT memories.id AS id, -bm25(memory_words) AS score
            FROM memory_words JOIN memories ON memories.id = memory_words.rowid
            WHERE memory_words MATCH :query AND user = :user AND character = :character AND is_private = 0
            ORDER BY score DESC, memories.id DESC LIMIT :limit
            """,
            {"query": query, "user": scope.user, "character": scope.character, "limit": limit},
        )
        return [(row["id"], row["score"]) for row in rows]

    def vectors(
        self, vector: "NDArray[np.float32]", *, embedder_id: int, scope: Scope, limit: int
    ) -> Sequence[tuple[int, float]]:
        """See `Index.vectors`; exact, one block of rows after the other."""
        import numpy as np

        best: list[tuple[int, float]] = []
        after = 0
        while True:
            rows = self._database.read(
                """
                SELECT memories.id AS id, vectors.vector AS vector FROM memories
                JOIN vectors ON vectors.memory_id = memories.id AND vectors.embedder_id = :embedder
                WHERE user = :user AND character = :character AND is_private = 0 AND memories.id > :after
                ORDER BY memories.id LIMIT 8192
                """,
                {"embedder": embedder_id, "user": scope.user, "character": scope.character, "after": after},
            )
            if not rows:
                return best
            matrix = np.frombuffer(b"".join(row["vector"] for row in rows), np.float32).reshape(len(rows), -1)
            scores = (matrix @ vector).tolist()
            found = [(row["id"], score) for row, score in zip(rows, scores, strict=True)]
            best = sorted([*best, *found], key=lambda hit: (-hit[1], -hit[0]))[:limit]
            after = rows[-1]["id"]

    def counts(self, words: Sequence[str], *, scope: Scope) -> tuple[int, Mapping[str, int]]:
        """See `Index.counts`."""
        [total] = self._database.read(
            "SELECT count(*) AS num_lines FROM memories WHERE user = ? AND character = ?", (scope.user, scope.character)
        )
        counts: dict[str, int] = {}
        for word in words[:MAX_WORDS]:
            [row] = self._database.read(
                """
                SELECT count(*) AS num_lines FROM memory_words JOIN memories ON memories.id = memory_words.rowid
                WHERE memory_words MATCH ? AND user = ? AND character = ?
                """,
                (quoted(word), scope.user, scope.character),
            )
            counts[word] = row["num_lines"]
        return total["num_lines"], counts


def quoted(word: str) -> str:
    """Return a word as FTS5 reads a word, never as syntax."""
    return '"' + word.replace('"', '""').replace("\x00", "") + '"'
