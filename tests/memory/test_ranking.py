"""Neighbours and speaker lift a line; repeats and the question itself do not come back."""

from duologue.memory.ranking import Neighbours, rank
from duologue.messages import RecalledLine, Role


def line(memory_id: int, text: str, *, score: float = 0.0, speaker: Role = "user") -> RecalledLine:
    return RecalledLine(text, speaker, memory_id, "s", "2026-01-01T00:00:00+00:00", score)


def test_the_answer_beside_a_matching_line_is_found_too() -> None:
    asked, answer = line(1, "What is your cat called?", score=4.0, speaker="assistant"), line(2, "Biscuit, of course.")
    ranked = rank([Neighbours(asked, (answer,))], question="the cat's name", speaker="user", limit=5)
    assert [(found.memory_id, round(found.score, 6)) for found in ranked] == [(1, 1.0), (2, 0.5)]


def test_a_hit_between_hits_outranks_an_equal_hit_alone() -> None:
    alone, first, second = line(1, "a", score=2.0), line(2, "b", score=2.0), line(3, "c", score=2.0)
    hits = [Neighbours(alone, ()), Neighbours(first, (second,)), Neighbours(second, (first,))]
    assert [found.memory_id for found in rank(hits, question="q", speaker=None, limit=3)] == [3, 2, 1]


def test_equal_texts_come_once_the_newest_and_the_question_never() -> None:
    hits = [
        Neighbours(line(1, "I love rain.", score=2.0), ()),
        Neighbours(line(2, "i  love RAIN.", score=2.0), ()),
        Neighbours(line(3, "Who loves rain?", score=3.0), ()),
    ]
    assert [found.memory_id for found in rank(hits, question="who loves  rain?", speaker=None, limit=9)] == [2]


def test_the_limit_holds_and_no_hits_give_no_lines() -> None:
    hits = [Neighbours(line(number, f"text {number}", score=number), ()) for number in range(1, 9)]
    assert [found.memory_id for found in rank(hits, question="q", speaker=None, limit=2)] == [8, 7]
    assert rank(hits, question="q", speaker=None, limit=0) == ()
    assert rank([], question="q", speaker=None, limit=3) == ()
