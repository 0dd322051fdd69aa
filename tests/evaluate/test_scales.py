"""Known answers of the scale from 0, the worst end, to 1, and of the places on the drawings."""

import math
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.evaluate.character_plots import character_section
from duologue.evaluate.dots import Line, draw_line, percent_at
from duologue.evaluate.measure import Measure
from duologue.evaluate.radar import corner, draw_radar, spread
from duologue.evaluate.scales import scale_of, spots_of
from tests.evaluate.full import measures

LOOPS = Measure("character.loops", "share", "lower", 0.25, 0.05, -0.3, -0.1, "better", 40, "Share that loops.")


def measure(unit: str, better: str, reference: float | None = None) -> Measure:
    return replace(LOOPS, unit=unit, better=better, reference=reference)


@pytest.mark.parametrize(
    ("unit", "better", "reference", "value", "place"),
    [
        ("share", "higher", None, 0.3, 0.3),
        ("share", "lower", None, 0.3, 0.7),
        ("distance", "lower", 0.17, 0.25, 0.75),
        ("AUC", "lower", 0.5, 1.0, 0.0),
        ("AUC", "lower", 0.5, 0.75, 0.5),
        ("AUC", "lower", 0.5, 0.4, 1.0),  # less than chance is not told apart either
        ("share", "nearer", 0.8, 0.8, 1.0),
        ("share", "nearer", 0.8, 0.0, 0.0),  # as far from the data as a share can be
        ("share", "nearer", 0.8, 1.0, 0.75),
        ("share", "nearer", 0.2, 1.0, 0.0),
        ("words", "nearer", 20.0, 40.0, 0.5),
        ("words", "nearer", 20.0, 10.0, 0.5),
        ("words", "nearer", 20.0, 0.0, 0.0),
        ("per sentence", "nearer", 0.2, 0.2, 1.0),
    ],
)
def test_a_value_has_its_place_between_the_worst_end_and_the_best(unit, better, reference, value, place):
    scale = scale_of(measure(unit, better, reference))
    assert scale is not None
    assert scale(value) == pytest.approx(place)


@pytest.mark.parametrize(
    ("unit", "better", "reference"),
    [
        ("words", "lower", 0.0),  # no longest distance
        ("words", "nearer", 0.0),  # nothing to divide by
        ("words/10 turns", "nearer", 0.0),
        ("log-odds/10 turns", "higher", None),
        ("share", "nearer", None),
        ("share", "neither", None),
    ],
)
def test_what_has_no_two_ends_has_no_scale(unit, better, reference):
    assert scale_of(measure(unit, better, reference)) is None


def test_the_interval_is_laid_on_from_the_base_and_turned_round_where_less_is_better():
    [spot], left = spots_of([LOOPS])
    assert (spot.base, spot.tuned) == pytest.approx((0.75, 0.95))
    assert (spot.low, spot.high) == pytest.approx((0.85, 1.0)), "0.15 and -0.05, which no share can be"
    assert left == ()


def test_an_interval_that_holds_the_data_reaches_the_top():
    near = replace(LOOPS, unit="words", better="nearer", base=10.0, tuned=22.0, low=6.0, high=18.0, reference=20.0)
    [spot], _ = spots_of([near])
    assert spot.real == 1.0
    assert (spot.low, spot.high) == pytest.approx((20 / 28, 1.0))


def test_what_was_not_measured_or_has_no_interval_draws_none():
    failed = replace(LOOPS, base=None, tuned=None, low=None, high=None, fault="no replies")
    [spot], left = spots_of([failed, replace(LOOPS, low=None, high=None)])
    assert (spot.low, spot.high, left) == (None, None, ())
    assert spots_of([replace(LOOPS, name="privacy.loss_gap")]) == ((), ())


@given(
    st.sampled_from([("share", "higher"), ("share", "lower"), ("share", "nearer"), ("words", "nearer")]),
    st.floats(0.01, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_every_place_is_between_0_and_1_and_the_interval_is_in_order(kind, reference, base, tuned):
    low, high = tuned - base - 0.1, tuned - base + 0.1
    one = replace(measure(*kind, reference), base=base, tuned=tuned, low=low, high=high)
    [spot], _ = spots_of([one])
    assert 0 <= spot.low <= spot.high <= 1
    assert spot.low - 1e-9 <= spot.tuned <= spot.high + 1e-9


def test_a_dot_stands_where_its_value_is():
    assert [percent_at(value, ends=(10.0, 20.0)) for value in (10, 15, 20, 99)] == pytest.approx([2, 50, 98, 98])
    assert percent_at(3.0, ends=(3.0, 3.0)) == 50.0


def test_the_bar_the_stroke_and_both_dots_stand_at_their_places():
    drawn = draw_line(Line(base=0.0, tuned=1.0, low=0.5, high=1.0, real=0.25), ends=(0.0, 1.0))
    assert re.search(r"class='span' x1='50.00%' x2='98.00%'", drawn)
    assert re.search(r"class='real' x1='26.00%'", drawn)
    assert re.search(r"class='base' cx='2.00%'", drawn)
    assert re.search(r"class='tuned' cx='98.00%'", drawn)
    assert "span" not in draw_line(Line(tuned=1.0), ends=(0.0, 1.0))


def test_axes_go_round_as_a_clock_does():
    half = math.sqrt(0.5)
    x, y = zip(*(corner(at, 4, 2.0) for at in range(4)), strict=True)
    assert x == pytest.approx((2 * half, 2 * half, -2 * half, -2 * half))
    assert y == pytest.approx((2 * half, -2 * half, -2 * half, 2 * half))


def test_names_of_a_side_keep_their_distance():
    places = [corner(at, 24, 1.0) for at in range(24)]
    moved = spread(places, least=0.1)
    for is_right in (True, False):
        heights = sorted(y for x, y in moved if (x >= 0) == is_right)
        assert min(high - low for low, high in pairwise(heights)) >= 0.1 - 1e-9
    assert [x for x, _ in moved] == [x for x, _ in places]


def test_the_radar_has_names_on_wide_pages_and_numbers_on_narrow_ones():
    spots, _ = spots_of(measures())
    wide, narrow = (draw_radar(spots, width=width) for width in ("wide", "narrow"))
    assert "Facts kept" in wide and "Facts kept" not in narrow
    assert re.search(rf">{len(spots)}<", narrow)


def test_the_list_below_says_the_numbers_and_names_what_is_not_drawn():
    page = re.sub(r"<[^>]+>", " ", character_section(measures()))
    assert "8.0 % \u2192 71.0 %; data 90.0 %" in page
    assert re.search(r"Without two ends, so not drawn here: .*Drift length.*Length distance", page)
    assert "Quotes" not in page, "not measured"


def test_with_fewer_than_three_axes_there_is_no_radar_and_with_none_no_section():
    assert "<figure" not in character_section([LOOPS, replace(LOOPS, name="character.broken")])
    assert character_section([replace(LOOPS, name="language.loss")]) == ""
