"""Strengths from picks: the closed form of two runs, simulated judges, and what looking after each pick costs."""

import functools
import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.chat.strengths import ELO_PER_NAT, Compared, fit, picks_needed, share_interval

_COUNTS = st.integers(0, 300)
_interval = functools.cache(share_interval)


def judged(truth: dict[str, float], num: int, *, nu: float, seed: int) -> list[Compared]:
    """Return what a judge picks who follows the model: `num` picks of each pair."""
    draw = random.Random(seed)
    pairs = []
    for first, second in itertools.combinations(truth, 2):
        weights = (math.exp(truth[first]), math.exp(truth[second]), nu * math.exp((truth[first] + truth[second]) / 2))
        picks = draw.choices(range(3), weights, k=num)
        pairs.append(Compared(first, second, *(picks.count(kind) for kind in range(3))))
    return pairs


@given(_COUNTS, _COUNTS, _COUNTS)
def test_of_two_runs_the_strength_is_the_log_odds_of_the_decided_picks(wins, losses, ties):
    found = fit([Compared("run", "base", wins, losses, ties)], reference="base")
    if not wins + losses + ties:
        assert found.runs == ()
        return
    by_name = {each.run: each for each in found.runs}
    odds = (wins + 0.5) / (losses + 0.5)
    assert by_name["run"].elo == pytest.approx(400 * math.log10(odds), abs=1e-3)
    assert by_name["run"].standard_error == pytest.approx(
        ELO_PER_NAT * math.sqrt(1 / (wins + 0.5) + 1 / (losses + 0.5)), rel=1e-3
    )
    assert by_name["run"].share == pytest.approx(odds / (1 + odds), abs=1e-5)
    assert by_name["base"].elo == by_name["base"].low == by_name["base"].high == 0


def test_the_weight_of_ties_is_that_of_davidson():
    found = fit([Compared("run", "base", 40, 10, 20)], reference="base")
    assert found.ties[0] == pytest.approx(20 / math.sqrt(40.5 * 10.5), rel=1e-3)
    assert fit([Compared("run", "base", 40, 10)], reference="base").ties == (0.0,)


def test_who_wins_always_stays_finite_and_is_first():
    pairs = [Compared("a", "base", 30, 0), Compared("b", "base", 0, 30), Compared("a", "b", 30, 0)]
    found = fit(pairs, reference="base")
    assert [each.run for each in found.runs] == ["a", "base", "b"]
    assert all(math.isfinite(value) for each in found.runs for value in (each.elo, each.low, each.high))
    alone = fit([Compared("base", "a", 0, 9)], reference="base").runs
    assert alone[0].run == "a"
    assert math.inf > alone[0].high > alone[0].low > 0
    assert fit([Compared("base", "a", 0, 8)], reference="base").runs[0].low < 0


def test_the_strengths_are_the_most_likely_ones():
    pairs = judged({"base": 0.0, "a": 1.0, "b": -0.5, "c": 0.4}, 40, nu=0.6, seed=3)
    found = fit(pairs, reference="base")
    strength = {each.run: each.elo / ELO_PER_NAT for each in found.runs}

    def likelihood(strength, nu):
        total = 0.0
        for pair in pairs:
            one, other = strength[pair.first], strength[pair.second]
            logits = (one, other, math.log(nu) + (one + other) / 2)
            norm = math.log(sum(map(math.exp, logits)))
            counts = (pair.first_wins + 0.5, pair.second_wins + 0.5, pair.ties)
            total += sum(count * (logit - norm) for count, logit in zip(counts, logits, strict=True))
        return total

    best = likelihood(strength, found.ties[0])
    for run in ("a", "b", "c"):
        for step in (-0.01, 0.01):
            assert likelihood(strength | {run: strength[run] + step}, found.ties[0]) < best
    assert likelihood(strength, found.ties[0] * 1.02) < best > likelihood(strength, found.ties[0] / 1.02)


def test_runs_that_no_picks_lead_between_are_on_scales_of_their_own():
    pairs = [
        Compared("a", "base", 6, 2),
        Compared("c", "d", 1, 1),
        Compared("d", "e", 3, 0),
        Compared("a", "c", 0, 0, 0, 4),
    ]
    found = fit(pairs, reference="base")
    assert not found.is_connected
    assert found.as_json()["groups"] == [["a", "base"], ["c", "d", "e"]]
    assert found.references == ("base", "d"), "the one with the most picks is zero where the base is not"
    a = next(each for each in found.runs if each.run == "a")
    assert (a.num_picks, a.num_both_bad) == (8, 4), "what is of no weight is no pick of it either"
    joined = fit([*pairs, Compared("a", "e", 1, 1)], reference="base")
    assert joined.is_connected
    assert len(joined.runs) == 5


def test_a_run_is_as_strong_by_a_third_one_as_directly():
    pairs = [Compared("a", "b", 400, 200), Compared("b", "base", 400, 200)]
    found = {each.run: each for each in fit(pairs, reference="base").runs}
    assert found["a"].elo == pytest.approx(2 * 400 * math.log10(2), rel=0.01)
    assert found["a"].share == pytest.approx(0.8, abs=0.005)


def test_the_intervals_hold_what_is_true():
    truth = {"base": 0.0, "a": 0.8, "b": -0.6}
    one_look, every_look, num = 0, 0, 400
    for seed in range(num):
        for each in fit(judged(truth, 30, nu=0.5, seed=seed), reference="base").runs:
            true = truth[each.run] * ELO_PER_NAT
            if each.run != "base":
                one_look += abs(each.elo - true) <= 1.96 * each.standard_error
                every_look += each.low <= true <= each.high
    assert one_look / (2 * num) == pytest.approx(0.95, abs=0.025)
    assert every_look / (2 * num) > 0.985, "it is wider, because it holds for all looks together"


def looks(share: float, most: int, *, seed: int) -> int:
    """Return after how many picks the interval leaves one half, looking after each; 0 when it never does."""
    draw, wins = random.Random(seed), 0
    for num in range(1, most + 1):
        wins += draw.random() < share
        low, high = _interval(wins, num - wins)
        if low > 0.5 or high < 0.5:
            return num
    return 0


def test_looking_after_each_pick_names_a_leader_by_luck_at_most_one_time_in_twenty():
    called = sum(looks(0.5, 300, seed=seed) > 0 for seed in range(500))
    assert called / 500 < 0.05
    assert called, "and it is not blind"


def test_a_difference_is_found_in_about_as_many_picks_as_was_said():
    stops = sorted(looks(0.7, 400, seed=seed) or 400 for seed in range(200))
    assert stops[-1] < 400, "seven in ten is always found in 400"
    assert 35 < stops[100] < 55
    said = picks_needed(700, 300)
    assert said == 0
    assert 15 <= picks_needed(14, 6) <= 45, "20 of about 44 are done"


@given(_COUNTS, _COUNTS)
def test_the_interval_of_a_share_holds_it_and_is_the_same_from_the_other_side(wins, losses):
    low, high = share_interval(wins, losses)
    assert 0 <= low <= high <= 1
    if wins + losses:
        assert low - 1e-9 <= wins / (wins + losses) <= high + 1e-9
    other_low, other_high = share_interval(losses, wins)
    assert (other_low, other_high) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 20))
def test_none_are_needed_exactly_when_the_interval_has_left_one_half(wins, losses, undecided):
    low, high = share_interval(wins, losses)
    needed = picks_needed(wins, losses, num_undecided=undecided)
    assert (needed == 0) == (low > 0.5 or high < 0.5)
    assert needed == picks_needed(losses, wins, num_undecided=undecided)
    if wins == losses:
        assert needed is None


def test_undecided_picks_make_it_take_longer():
    assert picks_needed(6, 3, num_undecided=9) == pytest.approx(2 * picks_needed(6, 3), abs=1)
    assert picks_needed(0, 0) is None
    assert next(num for num in range(1, 20) if picks_needed(num, 0) == 0) == 9, "nine in a row are the least"
