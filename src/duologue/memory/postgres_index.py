"""Search in PostgreSQL: the words and the ranking of FTS5's bm25, and pgvector where the server has it."""

# ruff: noqa: S608  (the statements are put together from fixed texts)
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from duologue.errors import DataError
from duologue.memory.index import MAX_WORDS, Index, SqliteIndex
from duologue.memory.records import Scope
from duologue.store import LEXEMES_SCRIPT, Database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A lexeme that no text can hold stands for the scope: the index then finds words and scope together, however many
# users there are.
_WORDS = (
    LEXEMES_SCRIPT
    + r"""
CREATE FUNCTION memory_scope_lexeme(owner TEXT, whom TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT 'in ' || md5(octet_length(owner) || ' ' || owner || whom)
$$;
CREATE TABLE memory_lexemes (
    memory_id BIGINT PRIMARY KEY REFERENCES memories (id) ON DELETE CASCADE,
    lexemes tsvector NOT NULL,
    num_words INTEGER NOT NULL
);
CREATE FUNCTION memory_lexemes_follow() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    found tsvector := house_lexemes(NEW.text);
BEGIN
    INSERT INTO memory_lexemes VALUES (
        NEW.id,
        found || array_to_tsvector(ARRAY[memory_scope_lexeme(NEW."user", NEW.character)]),
        (SELECT coalesce(sum(cardinality(positions)), 0) FROM unnest(found))
    ) ON CONFLICT (memory_id) DO UPDATE SET lexemes = EXCLUDED.lexemes, num_words = EXCLUDED.num_words;
    RETURN NULL;
END $$;
CREATE TRIGGER memory_lexemes_follow AFTER INSERT OR UPDATE OF text, "user", character ON memories
    FOR EACH ROW EXECUTE FUNCTION memory_lexemes_follow();
UPDATE memories SET text = text;
CREATE INDEX memory_lexemes_found ON memory_lexemes USING gin (lexemes);
"""
)
# Vectors arrive as bytes, little-endian float32, as the numpy of every machine of ours writes them. The formula is
# IEEE 754's: (-1)^sign * 1.mantissa * 2^(exponent - 127), and 0.mantissa * 2^-126 where the exponent is 0.
_POINTS = """
CREATE FUNCTION memory_floats_of(raw BYTEA) RETURNS REAL[] LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT array_agg((CASE WHEN bits >= 2147483648 THEN -1 ELSE 1 END * CASE WHEN (bits >> 23) & 255 = 0
        THEN (bits & 8388607) * power(2::float8, -149)
        ELSE ((bits & 8388607) + 8388608) * power(2::float8, ((bits >> 23) & 255) - 150) END)::REAL ORDER BY place)
    FROM (
        SELECT place, get_byte(raw, place)::BIGINT | (get_byte(raw, place + 1)::BIGINT << 8)
            | (get_byte(raw, place + 2)::BIGINT << 16) | (get_byte(raw, place + 3)::BIGINT << 24) AS bits
        FROM generate_series(0, length(raw) - 4, 4) AS place
    ) AS words
$$;
CREATE TABLE memory_points (
    memory_id BIGINT PRIMARY KEY REFERENCES vectors (memory_id) ON DELETE CASCADE,
    embedder_id BIGINT NOT NULL,
    point vector NOT NULL
);
CREATE FUNCTION memory_points_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO memory_points VALUES (NEW.memory_id, NEW.embedder_id, memory_floats_of(NEW.vector)::vector)
        ON CONFLICT (memory_id) DO UPDATE SET embedder_id = EXCLUDED.embedder_id, point = EXCLUDED.point;
    RETURN NULL;
END $$;
CREATE TRIGGER memory_points_follow AFTER INSERT OR UPDATE ON vectors
    FOR EACH ROW EXECUTE FUNCTION memory_points_follow();
INSERT INTO memory_points SELECT memory_id, embedder_id, memory_floats_of(vector)::vector FROM vectors;
"""
_BM25 = """
WITH scope AS MATERIALIZED (
    SELECT count(*)::float8 AS num_lines, avg(memory_lexemes.num_words)::float8 AS mean_words
    FROM memories JOIN memory_lexemes ON memory_lexemes.memory_id = memories.id
    WHERE memories.user = :user AND memories.character = :character
), hits AS MATERIALIZED (
    SELECT memories.id, memories.is_private, memory_lexemes.num_words, found.lexeme,
        cardinality(found.positions)::float8 AS frequency
    FROM memory_lexemes
        JOIN memories ON memories.id = memory_lexemes.memory_id
        CROSS JOIN LATERAL unnest(memory_lexemes.lexemes) AS found
    WHERE memory_lexemes.lexemes @@ (:query)::tsquery AND found.lexeme = ANY(:lexemes)
        AND memories.user = :user AND memories.character = :character
), weights AS (
    SELECT lexeme, greatest(ln((num_lines - count(*) + 0.5) / (count(*) + 0.5)), 1e-6) AS weight
    FROM hits CROSS JOIN scope GROUP BY lexeme, num_lines
)
SELECT id, sum(weight * frequency * 2.2 / (frequency + 1.2 * (0.25 + 0.75 * num_words / mean_words))) AS score
FROM hits JOIN weights ON weights.lexeme = hits.lexeme CROSS JOIN scope
WHERE is_private = 0 GROUP BY id ORDER BY score DESC, id DESC LIMIT :limit
"""


class PostgresIndex:
    """Full text with the formula and the constants of FTS5's bm25 (k1 = 1.2, b = 0.75), counted within the scope.

    Vectors are compared exactly by pgvector; where the server does not have it, they are read and compared here.

    Attributes:
        has_pgvector: Whether the server compares vectors.
    """

    def __init__(self, database: Database) -> None:
        """Make the tables and triggers when they are missing; old memories are indexed then.

        Raises:
            DataError: The server failed.
        """
        self._database = database
        self._blocks = SqliteIndex(database)  # its comparison of vectors is the same SQL everywhere
        self._make("memory_lexemes", _WORDS)
        self.has_pgvector = self._install_pgvector()
        if self.has_pgvector:
            self._make("memory_points", _POINTS)

    def words(self, words: Sequence[str], *, scope: Scope, limit: int) -> Sequence[tuple[int, float]]:
        """See `Index.words`."""
        lexemes = self._lexemes(words)
        if not lexemes:
            return ()
        owner = self._scope_lexeme(scope)
        rows = self._database.read(
            _BM25,
            {
                "query": f"'{owner}' & ({_any_of(lexemes)})",
                "lexemes": lexemes,
                "user": scope.user,
                "character": scope.character,
                "limit": limit,
            },
        )
        return [(row["id"], row["score"]) for row in rows]

    def vectors(
        self, vector: "NDArray[np.float32]", *, embedder_id: int, scope: Scope, limit: int
    ) -> Sequence[tuple[int, float]]:
        """See `Index.vectors`; exact."""
        if not self.has_pgvector:
            return self._blocks.vectors(vector, embedder_id=embedder_id, scope=scope, limit=limit)
        rows = self._database.read(
            """
            SELECT memories.id AS id, -(memory_points.point <#> (:vector)::vector) AS score
            FROM memory_points JOIN memories ON memories.id = memory_points.memory_id
            WHERE memories.user = :user AND memories.character = :character AND memories.is_private = 0
                AND memory_points.embedder_id = :embedder
            ORDER BY score DESC, memories.id DESC LIMIT :limit
            """,
            {
                "vector": "[" + ",".join(map(repr, vector.tolist())) + "]",
                "user": scope.user,
                "character": scope.character,
                "embedder": embedder_id,
                "limit": limit,
            },
        )
        return [(row["id"], row["score"]) for row in rows]

    def counts(self, words: Sequence[str], *, scope: Scope) -> tuple[int, Mapping[str, int]]:
        """See `Index.counts`."""
        [total] = self._database.read(
            "SELECT count(*) AS num_lines FROM memories WHERE user = ? AND character = ?", (scope.user, scope.character)
        )
        owner = self._scope_lexeme(scope)
        counts: dict[str, int] = {}
        for word in words[:MAX_WORDS]:
            lexemes = self._lexemes([word])
            query = f"'{owner}' & " + " & ".join(f"'{lexeme}'" for lexeme in lexemes)
            found = self._database.read(
                "SELECT count(*) AS num_lines FROM memory_lexemes WHERE lexemes @@ (?)::tsquery", (query,)
            )
            counts[word] = found[0]["num_lines"] if lexemes else 0
        return total["num_lines"], counts

    def _lexemes(self, words: Sequence[str]) -> list[str]:
        """Return the stems of words. They hold nothing that a query reads as syntax: it was replaced by spaces."""
        text = " ".join(words[:MAX_WORDS]).replace("\x00", " ")
        rows = self._database.read("SELECT lexeme FROM unnest(house_lexemes(?)) ORDER BY lexeme", (text,))
        return [row["lexeme"] for row in rows]

    def _scope_lexeme(self, scope: Scope) -> str:
        [row] = self._database.read("SELECT memory_scope_lexeme(?, ?) AS name", (scope.user, scope.character))
        return str(row["name"])

    def _make(self, table: str, script: str) -> None:
        if self._is_there(table):
            return
        with self._database.write() as cursor:
            if not self._is_there(table):  # another process was faster
                cursor.execute("SET LOCAL statement_timeout = 0")
                cursor.execute(script)

    def _is_there(self, table: str) -> bool:
        [row] = self._database.read("SELECT to_regclass(?) IS NOT NULL AS is_there", (table,))
        return bool(row["is_there"])

    def _install_pgvector(self) -> bool:
        rows = self._database.read(
            "SELECT installed_version IS NOT NULL AS is_installed FROM pg_available_extensions WHERE name = 'vector'"
        )
        if not rows or rows[0]["is_installed"]:
            return bool(rows)
        try:
            with self._database.write() as cursor:
                cursor.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        except DataError:  # only whoever runs the server may; vectors are compared here then
            return False
        return True


def index_of(database: Database) -> Index:
    """Return the index of a database by its dialect."""
    return PostgresIndex(database) if database.dialect == "postgres" else SqliteIndex(database)


def _any_of(lexemes: Sequence[str]) -> str:
    return " | ".join(f"'{lexeme}'" for lexeme in lexemes)
