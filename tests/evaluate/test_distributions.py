"""What is kept for the plots of lengths and surprise, and what they show."""

import math
import re

import pytest

from duologue.evaluate.case import Case
from duologue.evaluate.distribution_plots import bins_of, distributions_section, shares_in
from duologue.evaluate.distributions import MOST_NUMBERS, distributions
from duologue.evaluate.observed import Score
from duologue.evaluate.speed_plots import series_of, speed_section
from tests.evaluate.evaluators.numbers import known, observed, said, talk
from tests.evaluate.full import facts

CASE = Case("greeting-1", "written", ("Hello", "And then?"))


def score(source: str, bits: float, num_bytes: int) -> Score:
    return Score(source, "held_out", bits * math.log(2), 10, num_bytes)


def test_lengths_are_words_of_every_reply_and_bits_are_pairs_of_a_conversation():
    made = distributions(
        known([talk("a:1", ("Hi", "One two three."))], [talk("b:1", ("Hi", "One."))]),
        observed(scores=[score("b:1", 30.0, 10), score("b:1", 10.0, 10)], dialogues=[said(CASE, "a b", "c")]),
        observed("tuned", scores=[score("b:1", 5.0, 20)], dialogues=[said(CASE, "a b c d", "")]),
    )
    assert made["reply_words"] == {
        "base": {"num": 2, "values": [2, 1]},
        "tuned": {"num": 2, "values": [4, 0]},
        "real": {"num": 2, "values": [3, 1]},
    }
    assert made["bits_per_byte"] == {"num": 1, "pairs": [[2.0, 0.25]]}


def test_of_many_some_are_kept_the_same_each_time_and_their_number_is_told():
    many = [talk(f"a:{row}", ("Hi", "word " * (row % 7 + 1))) for row in range(700)]
    first, second = (distributions(known(many), observed(), observed()) for _ in range(2))
    assert first == second
    assert first["reply_words"]["real"]["num"] == 700
    assert len(first["reply_words"]["real"]["values"]) == MOST_NUMBERS


def test_other_bytes_on_the_two_sides_are_no_pairs():
    made = distributions(known(), observed(scores=[score("b:1", 30.0, 10)]), observed(scores=[score("b:1", 30.0, 20)]))
    assert made["bits_per_byte"] == {"num": 0, "pairs": []}


def test_bars_have_whole_widths_and_the_last_holds_all_that_is_longer():
    values = [*range(1, 100), 5000]
    edges = bins_of([values])
    assert (edges[0], edges[1], len(edges)) == (0.0, 5.0, 21)
    shares = shares_in(values, edges)
    assert sum(shares) == pytest.approx(1.0)
    assert (shares[0], shares[-1]) == pytest.approx((0.04, 0.06))


def test_the_section_says_how_many_what_median_and_how_many_are_better():
    shown = facts()
    page = distributions_section(shown)
    pairs = shown["distributions"]["bits_per_byte"]["pairs"]
    assert f"{sum(tuned < base for base, tuned in pairs)} of 48 lie below the line" in page
    assert "500 of 1,222 replies" in page
    assert re.search(r"tuned model: 96 replies, median \d+", page)


@pytest.mark.parametrize("kept", [None, {}, {"reply_words": {}, "bits_per_byte": {"num": 2, "pairs": [[1, 2]]}}])
def test_an_evaluation_that_kept_nothing_or_too_little_has_no_section(kept):
    assert distributions_section({"distributions": kept}) == ""
    assert distributions_section({}) == ""


def test_speeds_are_series_by_model_and_engine_in_order_of_length_and_zero_is_not_told():
    rows = [
        {"engine": "hf", "context_tokens": 512, "tokens_per_second": 20.0, "first_token_seconds": 0.5},
        {"engine": "hf", "context_tokens": 128, "tokens_per_second": 30.0, "first_token_seconds": 0.2},
        {"engine": "hf (warm)", "context_tokens": 128, "tokens_per_second": 0.0, "first_token_seconds": 0.1},
    ]
    [only] = series_of({"base": (), "tuned": rows}, "tokens_per_second")
    assert (only.side, only.engine, only.is_warm, only.points) == ("tuned", "hf", False, ((128, 30.0), (512, 20.0)))
    assert [each.is_warm for each in series_of({"tuned": rows}, "first_token_seconds")] == [False, True]
    page = speed_section({"speeds": {"tuned": rows}})
    assert "Time to the first token" in page and "Dashed" in page
    assert speed_section({}) == "" and speed_section({"speeds": {"base": [], "tuned": []}}) == ""
