"""The corpora of the scopes in use, kept in RAM and brought up to date by what the database says has changed."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from duologue.memory.corpus import Corpus, Line
from duologue.memory.records import Scope, StoredLine
from duologue.memory.rows import revision_of, stored_line
from duologue.store import Database

MAX_LINES = 300_000  # of all scopes together: about 0.7 GB with vectors
_KEPT_DEPARTURES = 5_000


@dataclass(slots=True)
class _Kept:
    corpus: Corpus
    revision: int
    embedder_id: int
    lock: threading.Lock = field(default_factory=threading.Lock)


class Shelf:
    """Corpora by scope; the ones used longest ago leave when there are too many lines. Threads may share it."""

    def __init__(self, database: Database, *, dim: int) -> None:
        """Read from a database; `dim` is the length of the vectors, 0 for none."""
        self._database = database
        self._dim = dim
        self._kept: OrderedDict[Scope, _Kept] = OrderedDict()
        self._too_large: dict[Scope, bool] = {}
        self._lock = threading.Lock()

    def take(self, scope: Scope, *, embedder_id: int) -> tuple[Corpus, threading.Lock]:
        """Return the corpus of a scope as the database is now, and the lock to hold while reading it."""
        with self._lock:
            kept = self._kept.get(scope)
            if kept is None:
                kept = self._kept[scope] = _Kept(Corpus(self._dim), -1, embedder_id)
            self._kept.move_to_end(scope)
        with kept.lock:
            self._refresh(kept, scope, embedder_id)
        self._make_room(scope)
        return kept.corpus, kept.lock

    def is_too_large(self, scope: Scope) -> bool:
        """Return whether a scope has more lines than fit in RAM; asked of the database once."""
        with self._lock:
            known = self._too_large.get(scope)
        if known is None:
            [row] = self._database.read(
                "SELECT count(*) AS num_lines FROM memories WHERE user = ? AND character = ?",
                (scope.user, scope.character),
            )
            known = bool(row["num_lines"] > MAX_LINES)
            with self._lock:
                self._too_large[scope] = known
        return known

    def drop(self) -> None:
        """Let go of everything, such as after a forgetting."""
        with self._lock:
            self._kept.clear()
            self._too_large.clear()

    def _refresh(self, kept: _Kept, scope: Scope, embedder_id: int) -> None:
        revision = revision_of(self._database, scope)
        if revision == kept.revision and embedder_id == kept.embedder_id:
            return
        where = (scope.user, scope.character, kept.revision)
        is_too_old = kept.revision >= 0 and self._departed_beyond(scope, kept.revision)
        if kept.revision < 0 or embedder_id != kept.embedder_id or is_too_old or kept.corpus.is_wasteful():
            kept.corpus = Corpus(self._dim)
            where = (scope.user, scope.character, -1)
            gone: list[int] = []
        else:
            rows = self._database.read(
                "SELECT memory_id FROM departures WHERE user = ? AND character = ? AND revision > ?", where
            )
            gone = [row["memory_id"] for row in rows]
        changed = self._database.read(
            "SELECT * FROM memories WHERE user = ? AND character = ? AND changed > ? ORDER BY session_id, position, id",
            where,
        )
        lines = [stored_line(row) for row in changed]
        hidden = [line.memory_id for line in lines if line.is_private]
        kept.corpus.update(lines_for_scoring(lines), removed=[*gone, *hidden])
        if embedder_id:
            self._read_vectors(kept.corpus, scope, embedder_id=embedder_id, after=where[2])
        kept.revision, kept.embedder_id = revision, embedder_id

    def _read_vectors(self, corpus: Corpus, scope: Scope, *, embedder_id: int, after: int) -> None:
        rows = self._database.read(
            """
            SELECT vectors.memory_id AS memory_id, vectors.vector AS vector FROM memories
            JOIN vectors ON vectors.memory_id = memories.id
            WHERE user = ? AND character = ? AND changed > ? AND vectors.embedder_id = ?
            """,
            (scope.user, scope.character, after, embedder_id),
        )
        if rows:
            matrix = np.frombuffer(b"".join(row["vector"] for row in rows), np.float32)
            corpus.set_vectors([row["memory_id"] for row in rows], matrix.reshape(len(rows), -1))

    def _departed_beyond(self, scope: Scope, revision: int) -> bool:
        """Return whether so much has left since a revision that reading anew is quicker."""
        [row] = self._database.read(
            "SELECT count(*) AS num_gone FROM departures WHERE user = ? AND character = ? AND revision > ?",
            (scope.user, scope.character, revision),
        )
        return bool(row["num_gone"] > _KEPT_DEPARTURES)

    def _make_room(self, scope: Scope) -> None:
        with self._lock:
            total = sum(len(kept.corpus) for kept in self._kept.values())
            while total > MAX_LINES and len(self._kept) > 1:
                oldest = next(iter(self._kept))
                if oldest == scope:
                    break
                total -= len(self._kept.pop(oldest).corpus)


def lines_for_scoring(lines: Iterable[StoredLine]) -> Iterable[Line]:
    """Yield the lines that may be recalled, as scoring reads them."""
    for line in lines:
        if not line.is_private:
            yield Line(
                line.memory_id,
                line.session_id,
                (line.position, line.part),
                line.speaker,
                line.name,
                line.said_at,
                line.text,
                is_fact=line.kind == "fact",
            )
