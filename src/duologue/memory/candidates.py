"""A small corpus of what an index finds for a question, with the lines around it, scored like a whole scope."""

from collections.abc import Callable, Sequence

import numpy as np

from duologue.memory.corpus import Corpus, Floats
from duologue.memory.index import Index
from duologue.memory.question import Question, read_question
from duologue.memory.records import Scope, StoredLine
from duologue.memory.rows import lines_of, stored_line
from duologue.memory.shelf import lines_for_scoring
from duologue.memory.words import stem
from duologue.store import Database

NUM_CANDIDATES = 200  # of each kind
_MAX_PARAMETERS = 400


def candidate_corpus(
    database: Database,
    index: Index,
    text: str,
    *,
    scope: Scope,
    embed: Callable[[Question], Floats | None],
    embedder_id: int,
) -> Corpus:
    """Return the lines an index finds for a question, and their neighbours, ready to be scored.

    How rare a word is counts as in the whole scope.
    """
    names = _names(database, scope)
    question = read_question(text, names=names)
    vector = embed(question)
    words = [word for word in question.words if stem(word) in question.stems]
    ids = [memory_id for memory_id, _ in index.words(words, scope=scope, limit=NUM_CANDIDATES)]
    if vector is not None:
        hits = index.vectors(vector, embedder_id=embedder_id, scope=scope, limit=NUM_CANDIDATES)
        ids += [memory_id for memory_id, _ in hits]
    found = lines_of(database, list(dict.fromkeys(ids)))
    around = _around(database, list(found.values()), scope=scope)
    lines = {line.memory_id: line for line in (*found.values(), *around)}
    corpus = Corpus(len(vector) if vector is not None else 0)
    corpus.update(lines_for_scoring(lines.values()))
    num_lines, counts = index.counts(words, scope=scope)
    corpus.set_rarity(num_lines, {stem(word): count for word, count in counts.items()})
    if vector is not None:
        _read_vectors(database, corpus, list(lines), embedder_id=embedder_id)
    return corpus


def _names(database: Database, scope: Scope) -> list[str]:
    rows = database.read(
        "SELECT DISTINCT name FROM memories WHERE user = ? AND character = ?", (scope.user, scope.character)
    )
    return [row["name"].casefold() for row in rows]


def _around(database: Database, lines: Sequence[StoredLine], *, scope: Scope) -> list[StoredLine]:
    """Return the turns of the messages right before and after those of some lines, and the rest of their own."""
    places = sorted({(line.session_id, line.position) for line in lines})
    found: list[StoredLine] = []
    for at in range(0, len(places), _MAX_PARAMETERS // 4):
        some = places[at : at + _MAX_PARAMETERS // 4]
        where = " OR ".join(["(session_id = ? AND position BETWEEN ? AND ?)"] * len(some))
        values = [value for session_id, place in some for value in (session_id, place - 1, place + 1)]
        rows = database.read(
            f"SELECT * FROM memories WHERE user = ? AND character = ? AND kind = 'turn' AND ({where})",  # noqa: S608
            [scope.user, scope.character, *values],
        )
        found += map(stored_line, rows)
    return found


def _read_vectors(database: Database, corpus: Corpus, ids: Sequence[int], *, embedder_id: int) -> None:
    for at in range(0, len(ids), _MAX_PARAMETERS):
        some = list(ids[at : at + _MAX_PARAMETERS])
        marks = ", ".join("?" * len(some))
        rows = database.read(
            f"SELECT memory_id, vector FROM vectors WHERE embedder_id = ? AND memory_id IN ({marks})",  # noqa: S608
            [embedder_id, *some],
        )
        if rows:
            matrix = np.frombuffer(b"".join(bytes(row["vector"]) for row in rows), np.float32)
            corpus.set_vectors([row["memory_id"] for row in rows], matrix.reshape(len(rows), -1))
