"""Scores, vectors and candidates: what lifts a line, and that every way of finding lines agrees."""

from pathlib import Path

import numpy as np
import pytest

from duologue.memory import MemoryStore, Scope, Source
from duologue.memory.corpus import Corpus, Line
from duologue.memory.index import SqliteIndex
from duologue.memory.question import read_question
from duologue.memory.scoring import score_lines
from tests.memory.made import ANA, NOON, WordEmbedder, find, recalled, source, tell, turns


def corpus(*said: tuple[str, str], session: str = "s") -> Corpus:
    made = Corpus()
    made.update(
        Line(number, session, (number, 0), "user" if name == "Ana" else "assistant", name, NOON, text)
        for number, (name, text) in enumerate(said, start=1)
    )
    return made


def ranked(made: Corpus, question: str) -> list[int]:
    scores = score_lines(made, read_question(question, names=made.names)).total
    return [int(row) + 1 for row in np.argsort(-scores, kind="stable") if scores[row] > 0]


def test_whose_name_is_asked_for_comes_first() -> None:
    made = corpus(("Ana", "I bought a green boat"), ("Bo", "Hm."), ("Ana", "Ok."), ("Bo", "I bought a green boat"))
    assert ranked(made, "What did Bo buy, which boat?")[0] == 4
    assert ranked(made, "What did Ana buy, which boat?")[0] == 1


def test_being_called_is_no_answer() -> None:
    made = corpus(
        ("Bo", "Bye for now, Ana!"), ("Ana", "Nice weather."), ("Bo", "So."), ("Ana", "My boat sank in the bay")
    )
    assert ranked(made, "What happened to Ana's boat?")[0] == 4


def test_an_empty_word_between_answers_does_not_outrank_them() -> None:
    made = corpus(
        ("Ana", "The boat is made of larch"), ("Bo", "Wow!"), ("Ana", "The boat came from Bergen with larch oars")
    )
    assert ranked(made, "the larch boat")[-1] == 2


def test_a_line_with_a_time_is_preferred_when_a_time_is_asked_for() -> None:
    made = corpus(("Ana", "My boat sank badly"), ("Bo", "No!"), ("Bo", "Tea?"), ("Ana", "My boat sank yesterday"))
    assert ranked(made, "When did the boat sink?")[0] == 4


def test_lines_of_the_asked_month_are_preferred(memory: MemoryStore) -> None:
    for month in ("03", "05", "07"):
        tell(memory, f"We repaired boat number {month}", session_id=month, at=f"2025-{month}-15T12:00:00+00:00")
    assert recalled(memory, "Which boat did we repair in May?", limit=1) == ["We repaired boat number 05"]


def test_a_corpus_that_lived_through_changes_scores_like_a_new_one() -> None:
    rng = np.random.default_rng(5)
    words = ["boat", "mill", "harbour", "lantern", "bread", "oar", "rope", "sail", "storm", "quay"]
    lines = [
        Line(n, f"s{n % 4}", (n, 0), "user", "", NOON, " ".join(rng.choice(words, rng.integers(1, 9))))
        for n in range(1, 90)
    ]
    lived = Corpus(4)
    lived.update(lines)
    lived.set_vectors([line.memory_id for line in lines], np.ones((len(lines), 4), np.float32))
    gone = {line.memory_id for line in lines[::3]}
    lived.update([Line(7, "s1", (200, 0), "user", "", NOON, "boat and quay")], removed=gone)
    fresh = Corpus()
    fresh.update(
        [line for line in lines if line.memory_id not in gone | {7}]
        + [Line(7, "s1", (200, 0), "user", "", NOON, "boat and quay")]
    )
    question = read_question("which boat lies at the quay in a storm?")
    of_lived, of_fresh = (
        {one.line(row).memory_id: float(scores[row]) for row in one.row_of.values()}
        for one in (lived, fresh)
        for scores in [score_lines(one, question).total]
    )
    assert of_lived == pytest.approx(of_fresh)
    assert len(lived) == len(fresh)


def test_a_score_is_its_words_its_meaning_and_the_rest(memory: MemoryStore) -> None:
    class Synonyms(WordEmbedder):
        def embed(self, texts):
            return super().embed([text.replace("vessel", "boat") for text in texts])

    memory.embedder = Synonyms()
    tell(memory, "The old boat leaks", "Hm.", "The bread is in the oven", "So.", "A vessel of clay broke")
    found = {line.text: line for line in memory.recall("vessel?", scope=ANA, limit=2)}
    meant, named = found["The old boat leaks"], found["A vessel of clay broke"]
    assert meant.by_words == 0 < meant.by_meaning
    assert named.by_words > 0 < named.by_meaning
    for line in (meant, named):
        assert line.by_words + line.by_meaning + line.by_rest == pytest.approx(line.score)


def test_with_an_embedder_a_line_is_found_without_a_common_word(memory: MemoryStore) -> None:
    class Synonyms(WordEmbedder):
        def embed(self, texts):
            return super().embed([text.replace("vessel", "boat") for text in texts])

    memory.embedder = Synonyms()
    tell(memory, "The old boat leaks", "Hm.", "The bread is in the oven")
    assert recalled(memory, "vessel?", limit=1) == ["The old boat leaks"]


def test_another_embedder_replaces_vectors_little_by_little_and_nothing_is_lost(memory: MemoryStore) -> None:
    memory.embedder = WordEmbedder("first")
    tell(memory, *[f"Boat number {number} is in the harbour" for number in range(30)])
    assert memory.catch_up() == 0
    folder = memory.database.name
    other = MemoryStore.open(Path(folder), embedder=WordEmbedder("second"))
    assert "Boat number 7 is in the harbour" in recalled(other, "boat number 7", limit=9)
    assert other.catch_up(max_lines=10) == 20
    assert "Boat number 7 is in the harbour" in recalled(other, "boat number 7", limit=9)
    assert other.catch_up() == 0
    assert other.embedder.num_texts >= 30
    names = other.database.read("SELECT name, dim, sha256 FROM embedders ORDER BY id")
    assert [(row["name"], row["dim"], len(row["sha256"])) for row in names] == [("first", 64, 64), ("second", 64, 64)]
    assert len(turns(other)) == 30
    other.close()


def test_a_line_forgotten_while_it_is_embedded_gets_no_vector(memory: MemoryStore) -> None:
    class Slow(WordEmbedder):
        def embed(self, texts):
            if "boat" in texts[0]:
                memory.embedder = None
                memory.forget([line.memory_id for line in turns(memory)])
            return super().embed(texts)

    memory.embedder = Slow()
    tell(memory, "The boat is green")
    assert memory.database.read("SELECT * FROM vectors") == []


@pytest.mark.parametrize("has_embedder", [False, True])
def test_candidates_of_an_index_are_ranked_like_the_whole_scope(tmp_path, has_embedder: bool) -> None:
    embedder = WordEmbedder() if has_embedder else None
    whole = MemoryStore.open(tmp_path / "memory.sqlite", embedder=embedder)
    topics = ["boat", "mill", "harbour", "lantern", "bread", "oar", "rope", "sail", "storm", "quay"]
    for session in range(6):
        said = [f"The {topics[(n * 3 + session) % 10]} near the {topics[(n + session * 7) % 10]} {n}" for n in range(9)]
        tell(whole, *said, session_id=f"s{session}")
    index = SqliteIndex(whole.database)
    part = MemoryStore(whole.database, embedder=embedder, index=index)
    for question in ("the storm at the quay", "which oar?", "bread"):
        found, expected = (
            [(line.text, round(line.score, 3)) for line in store.recall(question, scope=ANA, limit=5)]
            for store in (part, whole)
        )
        assert [text for text, _ in found] == [text for text, _ in expected]
    whole.close()


def test_vectors_of_the_index_are_exact(memory: MemoryStore) -> None:
    memory.embedder = WordEmbedder()
    tell(memory, *[f"Boat number {number} sails" for number in range(20)])
    vector = memory.embedder.embed(["Boat number 13 sails"])[0]
    hits = SqliteIndex(memory.database).vectors(vector, embedder_id=memory.embedder_id(), scope=ANA, limit=3)
    assert hits[0][0] == find(memory, "Boat number 13 sails").memory_id
    assert hits[0][1] == pytest.approx(1, abs=1e-5)
    assert [score for _, score in hits] == sorted((score for _, score in hits), reverse=True)
    nobody = Scope("nobody", "x")
    assert SqliteIndex(memory.database).vectors(vector, embedder_id=1, scope=nobody, limit=3) == []


def test_group_speakers_are_told_apart_by_name(memory: MemoryStore) -> None:
    path = [
        Source(1, 0, "user", "Who has a boat?", NOON, "Ana"),
        Source(2, 0, "assistant", "I have a boat in the bay", NOON, "Mira"),
        Source(3, 0, "assistant", "I have a boat on the lake", NOON, "Tove"),
    ]
    memory.follow("a", path, scope=ANA)
    assert recalled(memory, "Where is Tove's boat?", limit=1) == ["I have a boat on the lake"]
    assert recalled(memory, "Where is Mira's boat?", limit=1) == ["I have a boat in the bay"]
    assert source(1, "x").name == ""
