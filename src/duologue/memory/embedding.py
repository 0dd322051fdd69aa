"""The vectors of the lines: made outside of every transaction, kept with the embedder they are from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from duologue.engine.embed import Embedder
from duologue.memory.records import Scope
from duologue.memory.rows import next_revision
from duologue.store import Database, Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH_LINES = 64


def embedder_id(database: Database, embedder: Embedder) -> int:
    """Return the row of an embedder, made when it is new."""
    key = (embedder.name, embedder.dim, embedder.sha256)
    with database.write() as cursor:
        cursor.execute(
            "INSERT INTO embedders (name, dim, sha256) VALUES (?, ?, ?) ON CONFLICT (name, dim, sha256) DO NOTHING", key
        )
        row = cursor.execute("SELECT id FROM embedders WHERE name = ? AND dim = ? AND sha256 = ?", key).fetchone()
        return int(row["id"])


def num_without_vector(database: Database, number: int) -> int:
    """Return how many lines have no vector of the embedder with this row."""
    [row] = database.read(
        """
        SELECT count(*) AS num_lines FROM memories
        LEFT JOIN vectors ON vectors.memory_id = memories.id AND vectors.embedder_id = ?
        WHERE vectors.memory_id IS NULL
        """,
        (number,),
    )
    return int(row["num_lines"])


def fill(database: Database, embedder: Embedder, number: int, *, max_lines: int) -> int:
    """Embed lines that have no vector of this embedder, newest first; return how many were embedded.

    A vector of another embedder is replaced: until then its line is found by its words.
    """
    num_done = 0
    while num_done < max_lines:
        rows = database.read(
            """
            SELECT memories.id AS id, user, character, text FROM memories
            LEFT JOIN vectors ON vectors.memory_id = memories.id AND vectors.embedder_id = ?
            WHERE vectors.memory_id IS NULL ORDER BY memories.id DESC LIMIT ?
            """,
            (number, min(_BATCH_LINES, max_lines - num_done)),
        )
        if not rows:
            break
        _store(database, rows, embedder.embed([row["text"] for row in rows]), number=number)
        num_done += len(rows)
    return num_done


def fill_session(database: Database, embedder: Embedder, number: int, *, scope: Scope, session_id: str) -> None:
    """Embed the lines of one session that have no vector of this embedder."""
    rows = database.read(
        """
        SELECT memories.id AS id, user, character, text FROM memories
        LEFT JOIN vectors ON vectors.memory_id = memories.id AND vectors.embedder_id = ?
        WHERE user = ? AND character = ? AND session_id = ? AND vectors.memory_id IS NULL ORDER BY memories.id
        """,
        (number, scope.user, scope.character, session_id),
    )
    for at in range(0, len(rows), _BATCH_LINES):
        some = rows[at : at + _BATCH_LINES]
        _store(database, some, embedder.embed([row["text"] for row in some]), number=number)


def _store(database: Database, rows: Sequence[Row], vectors: "NDArray[np.float32]", *, number: int) -> None:
    with database.write() as cursor:
        changed = {scope: next_revision(cursor, scope) for scope in {Scope(r["user"], r["character"]) for r in rows}}
        for row, vector in zip(rows, vectors, strict=True):
            now = cursor.execute("SELECT text FROM memories WHERE id = ?", (row["id"],)).fetchone()
            if now is None or now["text"] != row["text"]:  # forgotten or edited meanwhile
                continue
            cursor.execute(
                """
                INSERT INTO vectors (memory_id, embedder_id, vector) VALUES (?, ?, ?)
                ON CONFLICT (memory_id) DO UPDATE SET embedder_id = excluded.embedder_id, vector = excluded.vector
                """,
                (row["id"], number, vector.tobytes()),
            )
            scope = Scope(row["user"], row["character"])
            cursor.execute("UPDATE memories SET changed = ? WHERE id = ?", (changed[scope], row["id"]))
