"""Intervals on data whose truth is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.errors import DataError
from duologue.evaluate.intervals import Interval, make_measure, paired_mean, paired_ratio, unmeasured, verdict_of
from duologue.evaluate.measure import Measure

VALUES = st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=2, max_size=12)


@pytest.mark.parametrize("num_units", [4, 10])
def test_the_interval_of_normal_differences_covers_the_truth_in_95_of_100_draws(num_units: int) -> None:
    rng = np.random.default_rng(7)
    hits = 0
    for draw in range(400):
        base = rng.normal(0.0, 1.0, num_units)
        tuned = base + rng.normal(0.3, 1.0, num_units)
        found = paired_mean(base.tolist(), tuned.tolist(), seed=draw, num_draws=800)
        hits += found.low <= 0.3 <= found.high
    assert 0.93 <= hits / 400 <= 0.97


def test_what_both_models_have_in_common_does_not_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0, 100, 30)
    found = paired_mean(base.tolist(), (base + rng.normal(1, 0.1, 30)).tolist(), seed=0)
    assert found.high - found.low < 0.2
    assert found.low < found.tuned - found.base < found.high


def test_a_ratio_weighs_its_units_by_their_size() -> None:
    found = paired_ratio([(100.0, 100.0), (4.0, 1.0)], [(200.0, 100.0), (4.0, 1.0)], seed=1)
    assert (found.base, found.tuned) == pytest.approx((104 / 101, 204 / 101))


@settings(max_examples=60, deadline=None)
@given(VALUES, st.integers(0, 100))
def test_the_interval_holds_the_difference_and_is_the_same_for_the_same_seed(
    pairs: list[tuple[float, float]], seed: int
) -> None:
    base, tuned = ([pair[side] for pair in pairs] for side in (0, 1))
    found = paired_mean(base, tuned, seed=seed, num_draws=100)
    assert found.low <= found.tuned - found.base + 1e-9
    assert found.tuned - found.base - 1e-9 <= found.high
    assert paired_mean(base, tuned, seed=seed, num_draws=100) == found
    turned = paired_mean(tuned, base, seed=seed, num_draws=100)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-6)


def test_a_single_unit_says_nothing_about_the_difference() -> None:
    found = paired_mean([1.0], [9.0], seed=0)
    assert (found.low, found.high) == (-math.inf, math.inf)
    measure = make_measure(found, name="a.b", unit="x", better="lower", definition="d")
    assert (measure.low, measure.high, measure.verdict) == (None, None, "unclear")


@pytest.mark.parametrize(
    ("base", "tuned", "words"),
    [
        ([], [], "nothing was seen"),
        ([(1.0, 1.0)], [], "1 things were seen"),
        ([(math.nan, 1.0)], [(1.0, 1.0)], "not a finite"),
        ([(1.0, 0.0)], [(1.0, 1.0)], "sums to zero"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    base: list[tuple[float, float]], tuned: list[tuple[float, float]], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        paired_ratio(base, tuned, seed=0)


@pytest.mark.parametrize(
    ("ends", "better", "same_within", "verdict"),
    [
        ((0.1, 0.2), "higher", 0.0, "better"),
        ((0.1, 0.2), "lower", 0.0, "worse"),
        ((-0.2, -0.1), "lower", 0.0, "better"),
        ((-0.2, -0.1), "higher", 0.0, "worse"),
        ((-0.1, 0.1), "higher", 0.0, "unclear"),
        ((-0.1, 0.1), "higher", 0.1, "same"),
        ((0.05, 0.09), "higher", 0.1, "same"),
        ((0.0, 0.0), "lower", 0.0, "same"),
        ((0.1, 0.2), "neither", 0.0, "only shown"),
        ((0.1, 0.2), "nearer", 0.0, "only shown"),
    ],
)
def test_a_verdict_follows_from_where_the_interval_lies(ends, better, same_within, verdict) -> None:
    assert verdict_of(Interval(1, 1.1, *ends, num=9), better=better, same_within=same_within) == verdict


def test_nearer_is_about_the_distance_to_the_real_data() -> None:
    rng = np.random.default_rng(2)
    far, near = rng.normal(9, 0.5, 20).tolist(), rng.normal(5, 0.5, 20).tolist()
    assert verdict_of(paired_mean(far, near, seed=0), better="nearer", reference=4.5) == "better"
    assert verdict_of(paired_mean(near, far, seed=0), better="nearer", reference=4.5) == "worse"
    assert verdict_of(paired_mean(far, near, seed=0), better="nearer", reference=7.0) == "unclear"
    assert verdict_of(Interval(9, 5, -4.2, -3.8, 20), better="nearer", reference=4.5) == "better"
    assert verdict_of(Interval(9, 5, -4.2, -3.8, 20), better="nearer", reference=7.0) == "unclear"


def test_a_measure_without_numbers_says_why() -> None:
    measure = unmeasured("a.b", unit="x", better="lower", definition="d", reason="no replies")
    assert (measure.verdict, measure.fault, measure.tuned) == ("not measured", "no replies", None)


@pytest.mark.parametrize(("num", "verdict"), [(5, "unclear"), (6, "better")])
def test_a_few_units_that_all_differ_alike_may_be_chance(num: int, verdict: str) -> None:
    assert verdict_of(paired_mean([0.0] * num, [1.0] * num, seed=0), better="higher") == verdict


def test_draws_in_which_one_model_has_nothing_to_divide_by_are_left_out() -> None:
    found = paired_ratio([(2.0, 1.0), (0.0, 0.0)], [(3.0, 1.0), (1.0, 1.0)], seed=0, num_draws=400)
    assert 200 < len(found.draws[0]) < 400, "one draw in four takes the second unit twice"
    assert set(found.draws[0]) == {2.0} and set(found.draws[1]) == {2.0, 3.0}


def test_units_in_which_nothing_was_counted_make_nothing_surer() -> None:
    empty = [(0.0, 0.0)] * 30
    for num in (1, 2, 5):
        few = paired_ratio([(0.0, 1.0)] * num + empty, [(1.0, 1.0)] * num + empty, seed=0)
        assert (few.num, verdict_of(few, better="higher")) == (num, "unclear")
    enough = paired_ratio([(0.0, 1.0)] * 6 + empty, [(1.0, 1.0)] * 6 + empty, seed=0)
    assert verdict_of(enough, better="higher") == "better"


def test_a_difference_that_may_lie_on_the_real_data_may_be_as_near_as_can_be() -> None:
    without_draws = Interval(5.0, 4.6, -0.8, 0.0, 20)  # from 4.2 to 5.0, with 4.5 between them
    assert verdict_of(without_draws, better="nearer", reference=4.5, same_within=0.3) == "unclear"
    assert verdict_of(without_draws, better="nearer", reference=4.5, same_within=0.5) == "same"


def share(base: list[float], tuned: list[float]) -> Measure:
    found = paired_mean(base, tuned, seed=0, num_draws=400)
    return make_measure(found, name="test.share", unit="share", better="lower", definition="test", same_within=0.02)


def test_a_share_of_none_among_few_has_the_width_of_what_was_not_seen() -> None:
    few, many = share([0.0] * 14, [0.0] * 14), share([0.0] * 400, [0.0] * 400)

    assert few.high == pytest.approx(0.2316, abs=1e-4) and few.low == -few.high  # Clopper and Pearson: 0 of 14
    assert (few.verdict, many.verdict) == ("unclear", "same")
    assert many.high == pytest.approx(0.00918, abs=1e-5)


@pytest.mark.parametrize("num, verdict", [(1, "unclear"), (5, "unclear"), (6, "worse")])
def test_a_share_of_all_against_none_is_sure_as_the_sign_test_is(num: int, verdict: str) -> None:
    assert share([0.0] * num, [1.0] * num).verdict == verdict


def test_the_interval_of_a_rare_share_holds_the_truth_where_often_nothing_is_seen() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        sides = [(rng.random(14) < rate).astype(float).tolist() for rate in (0.01, 0.05)]
        found = share(*sides)
        hits += found.low <= 0.04 <= found.high
    assert hits / 300 >= 0.92  # without a width where nothing was seen: about half
