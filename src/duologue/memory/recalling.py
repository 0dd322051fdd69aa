"""A question to the lines that answer it: candidates, scores, and the choice among them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from duologue.engine.embed import Embedder
from duologue.memory.corpus import Corpus, Floats
from duologue.memory.index import Index
from duologue.memory.known import FactShelf, private_lines, says_the_same, settle, sources_of
from duologue.memory.postgres_index import index_of
from duologue.memory.question import Question, read_question
from duologue.memory.ranking import Scored, choose
from duologue.memory.records import Scope, StoredLine
from duologue.memory.rows import lines_of, stored_line
from duologue.memory.scoring import score_lines
from duologue.memory.shelf import Shelf
from duologue.memory.words import stem, stems
from duologue.store import Database

_SPARE_LINES = 40  # looked at beyond the limit, because repeats and cooled lines are passed over
_LEAST_SHARED = 0.5  # of a question's words, or as a cosine, for what was told to another character

_Parts = tuple[float, float, float]  # of a line: the whole score, that of its words, that of its meaning


@dataclass(frozen=True, slots=True)
class Asked:
    """What a recall is asked; see `MemoryStore.recall`."""

    text: str
    scope: Scope
    limit: int
    exclude_session: str = ""
    visible: Collection[int] | None = None
    cooled: Collection[int] = ()
    shares_user_facts: bool = False


class Recaller:
    """What recall and search keep between questions. Threads may share it."""

    def __init__(
        self, database: Database, embedder: Embedder | None, embedder_id: int, *, index: Index | None = None
    ) -> None:
        """Read from a database, with vectors of one embedder.

        Args:
            database: Where the lines are.
            embedder: For the questions; None finds by words alone.
            embedder_id: Its row.
            index: Finds candidates where given; without it every line of a scope is scored, in RAM.
        """
        self._database = database
        self._embedder = embedder
        self._embedder_id = embedder_id
        self._index = index
        self._words = index or index_of(database)
        self._shelf = Shelf(database, dim=embedder.dim if embedder is not None else 0)
        self._facts = FactShelf(database)

    def drop(self) -> None:
        """Let go of everything kept in RAM."""
        self._shelf.drop()
        self._facts.drop()

    def recall(self, asked: Asked) -> tuple[Scored, ...]:
        """See `MemoryStore.recall`."""
        if asked.limit <= 0:
            return ()
        vectors = _QuestionVector(self._embedder)
        found = self._best(asked, vectors)
        found += self._pinned(asked.scope, found)
        if asked.shares_user_facts:
            found += self._shared(asked, vectors)
        settled = settle(found, self._facts.take(asked.scope))
        hidden = private_lines(self._database, asked.scope)
        allowed = [
            scored
            for scored in settled
            if not _is_visible(scored.line, asked) and not any(says_the_same(scored.line, line) for line in hidden)
        ]
        return choose(allowed, question=asked.text, limit=asked.limit, cooled=self._cooled(asked, allowed))

    def search(self, question: str, *, scope: Scope, limit: int) -> tuple[StoredLine, ...]:
        """See `MemoryStore.search`."""
        asked = read_question(question)
        hits = self._words.words(asked.words, scope=scope, limit=limit)
        lines = lines_of(self._database, [memory_id for memory_id, _ in hits])
        found = [lines[memory_id] for memory_id, _ in hits if memory_id in lines]
        hidden = [
            line for line in private_lines(self._database, scope) if not set(asked.stems).isdisjoint(stems(line.text))
        ]
        return tuple([*found, *hidden][:limit])

    def _best(self, asked: Asked, vectors: "_QuestionVector") -> list[Scored]:
        if self._index is not None or self._shelf.is_too_large(asked.scope):
            return self._best_of_candidates(asked, vectors, self._words)
        corpus, lock = self._shelf.take(asked.scope, embedder_id=self._embedder_id)
        question = read_question(asked.text, names=corpus.names, years=corpus.columns().years)
        vector = vectors.of(question) if corpus.num_vectors else None
        with lock:
            best = _best_rows(corpus, question, vector, asked)
        return self._with_lines(best)

    def _best_of_candidates(self, asked: Asked, vectors: "_QuestionVector", index: Index) -> list[Scored]:
        """Score only what an index finds, with the lines around it."""
        from duologue.memory.candidates import candidate_corpus

        corpus = candidate_corpus(
            self._database, index, asked.text, scope=asked.scope, embed=vectors.of, embedder_id=self._embedder_id
        )
        question = read_question(asked.text, names=corpus.names, years=corpus.columns().years)
        vector = vectors.of(question) if corpus.num_vectors else None
        return self._with_lines(_best_rows(corpus, question, vector, asked))

    def _with_lines(self, best: Sequence[tuple[int, _Parts]]) -> list[Scored]:
        lines = lines_of(self._database, [memory_id for memory_id, _ in best])
        return [Scored(lines[memory_id], *parts) for memory_id, parts in best if memory_id in lines]

    def _pinned(self, scope: Scope, found: Sequence[Scored]) -> list[Scored]:
        there = {scored.line.memory_id for scored in found}
        rows = self._database.read(
            "SELECT * FROM memories WHERE user = ? AND character = ? AND is_pinned = 1",
            (scope.user, scope.character),
        )
        return [Scored(stored_line(row), 0.0) for row in rows if row["id"] not in there]

    def _shared(self, asked: Asked, vectors: "_QuestionVector") -> list[Scored]:
        """Return what the user told other characters and bears on the question."""
        facts = self._facts.of_others(asked.scope)
        question = read_question(asked.text)
        wanted = set(question.stems)
        near = vectors.nearness(question, [fact.text for fact in facts])
        found = []
        for fact, cosine in zip(facts, near, strict=True):
            words = {*stems(fact.text), *(stem(word) for word in fact.slot.split("."))}
            shared = len(wanted & words) / len(wanted) if wanted else 0.0
            if max(shared, cosine) >= _LEAST_SHARED:
                found.append(Scored(fact, (shared + cosine) / 2, shared / 2, cosine / 2))
        return found

    def _cooled(self, asked: Asked, found: Sequence[Scored]) -> Collection[int]:
        """Return the ids that were recalled a moment ago, with what says the same in other words: fact and turn."""
        if not asked.cooled:
            return ()
        sources = sources_of(lines_of(self._database, list(asked.cooled)).values())
        of_fact = {
            s.line.memory_id
            for s in found
            if (s.line.session_id, s.line.message_id) in sources and s.line.kind == "fact"
        }
        return {*asked.cooled, *of_fact}


class _QuestionVector:
    """The vector of a question, made once."""

    def __init__(self, embedder: Embedder | None) -> None:
        self._embedder = embedder
        self._made: dict[str, Floats] = {}

    def of(self, question: Question) -> Floats | None:
        text = question.meaning
        if self._embedder is None or not text.strip():
            return None
        if text not in self._made:
            self._made[text] = self._embedder.embed([text])[0]
        return self._made[text]

    def nearness(self, question: Question, texts: Sequence[str]) -> Sequence[float]:
        vector = self.of(question)
        if vector is None or self._embedder is None or not texts:
            return [0.0] * len(texts)
        return [float(cosine) for cosine in self._embedder.embed(texts) @ vector]


def _best_rows(corpus: Corpus, question: Question, vector: Floats | None, asked: Asked) -> list[tuple[int, _Parts]]:
    """Return the ids of the best lines with score, words' part and meaning's part, best first."""
    if not len(corpus):
        return []
    scores = score_lines(corpus, question, vector=vector)
    total, columns = scores.total, corpus.columns()
    if asked.exclude_session and asked.visible is None:
        total[columns.sessions == corpus.session_number(asked.exclude_session)] = -1
    count = min(2 * asked.limit + len(asked.cooled) + len(asked.visible or ()) + _SPARE_LINES, len(total))
    rows = np.argpartition(-total, count - 1)[:count]
    rows = rows[np.lexsort((-columns.ids[rows], -total[rows]))]
    return [
        (int(columns.ids[row]), (float(total[row]), float(scores.words[row]), float(scores.meaning[row])))
        for row in rows
        if total[row] > 0
    ]


def _is_visible(line: StoredLine, asked: Asked) -> bool:
    if not asked.exclude_session or line.session_id != asked.exclude_session:
        return False
    return asked.visible is None or line.message_id in asked.visible
