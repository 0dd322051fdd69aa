import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.evaluate.evaluators.wording import (
    distinct,
    has_loop,
    longest_repeat,
    overlap,
    sentences_of,
    windowed_distinct,
    words_of,
)

words = st.lists(st.sampled_from("abc"), max_size=24)


def test_distinct_n_of_a_known_sentence() -> None:
    found = words_of("A lamp, a lamp and a clock.")
    assert found == ["a", "lamp", "a", "lamp", "and", "a", "clock"]
    assert distinct(found, 1) == pytest.approx(4 / 7)
    assert distinct(found, 2) == pytest.approx(5 / 6)  # `a lamp` stands twice
    assert distinct(["one"], 2) is None


def test_windowed_distinct_is_the_same_for_a_text_and_for_the_text_ten_times_as_long() -> None:
    once = [str(number % 20) for number in range(40)]
    for text in (once, once * 10):
        total, windows = windowed_distinct(text, 1, window=40)
        assert total / windows == pytest.approx(0.5)
    assert windowed_distinct(once[:10], 1, window=40) == (0.0, 0.0)


@given(words, st.integers(1, 3), st.integers(3, 8))
def test_windowed_distinct_is_the_mean_of_all_windows(found: list[str], length: int, window: int) -> None:
    windows = [found[at : at + window] for at in range(len(found) - window + 1)]
    total, num = windowed_distinct(found, length, window=window)
    assert num == len(windows)
    assert total == pytest.approx(sum(distinct(part, length) or 0.0 for part in windows))


@given(words)
def test_the_longest_repeat_is_what_trying_every_length_finds(found: list[str]) -> None:
    def repeats(length: int) -> bool:
        parts = [tuple(found[at : at + length]) for at in range(len(found) - length + 1)]
        return len(set(parts)) < len(parts)

    assert longest_repeat(found) == max([length for length in range(1, len(found)) if repeats(length)], default=0)


def test_a_loop_is_told_from_emphasis() -> None:
    assert has_loop(words_of("the train leaves at ten " * 3))
    assert has_loop(words_of("no " * 9))
    assert not has_loop(words_of("No, no, no. I said tea."))
    assert not has_loop(words_of("The train leaves at ten. The train leaves at ten."))


def test_overlap_is_one_for_the_same_words_and_none_for_others() -> None:
    one = words_of("tea first, then the timetable")
    assert overlap(one, one) == 1
    assert overlap(one, words_of("soup is what we have tonight")) == 0
    assert overlap(["hm"], ["hm"]) == 1
    assert overlap([], []) == 0


def test_words_and_sentences_of_several_scripts() -> None:
    assert words_of("Don\u2019t go!") == ["don't", "go"]
    assert words_of("\u4f60\u597d") == ["\u4f60", "\u597d"]
    assert len(sentences_of('He said "Stay." Then he left... \u2026 and came back!')) == 3
