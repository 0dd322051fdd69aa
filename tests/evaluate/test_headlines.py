"""The three numbers at the head of a report are chosen by name and never by result."""

import random
from dataclasses import replace

from duologue.evaluate.headlines import PLACES, choose_headlines, headline_tiles
from duologue.evaluate.intervals import unmeasured
from tests.evaluate.full import measures


def names(found):
    return [headline.measure.name for headline in found]


def test_they_are_the_first_measured_of_each_place_in_a_fixed_order():
    shuffled = list(measures())
    random.Random(2).shuffle(shuffled)
    expected = ["language.perplexity", "character.voice_share", "language.general_rise"]
    assert names(choose_headlines(shuffled)) == expected


def test_a_bad_result_changes_nothing_about_the_choice():
    worse = [
        replace(measure, base=measure.tuned, tuned=measure.base, verdict="worse")
        if measure.tuned is not None
        else measure
        for measure in measures()
    ]
    assert names(choose_headlines(worse)) == names(choose_headlines(measures()))


def test_what_was_not_measured_gives_way_to_the_next_of_its_kind():
    gone = unmeasured("character.voice_share", unit="share", better="higher", definition="", reason="too few replies")
    left = [measure for measure in measures() if measure.name != "character.voice_share"]
    assert names(choose_headlines([gone, *left]))[1] == "character.voice_auc"
    assert names(choose_headlines([measure for measure in left if "perplexity" in measure.name])) == [
        "language.perplexity"
    ]
    assert choose_headlines([gone]) == ()
    assert headline_tiles(()) == ""


def test_a_part_of_the_data_is_no_headline():
    parts = [replace(measure, part="a.json") for measure in measures()]
    assert choose_headlines(parts) == ()


def test_tiles_say_both_numbers_the_interval_and_the_verdict():
    first, second, third = choose_headlines(measures())
    assert (first.value, first.interval) == ("24.9 \u2192 7.93", "difference, 95%: \u221219.4 to \u221214.6")
    assert (second.value, second.interval) == ("8.0 % \u2192 71.0 %", "difference, 95%: +52.0 to +74.0 points")
    assert third.value == "+2.1 %"
    tiles = headline_tiles([first, second, third])
    assert "better" in tiles and "worse" in tiles and "Always these, whatever they say" in tiles


def test_every_place_names_measures_that_evaluators_make():
    from pathlib import Path

    from duologue.evaluate import evaluators

    source = "".join(path.read_text() for path in Path(evaluators.__file__).parent.glob("*.py"))
    assert all(f'"{name}"' in source for place in PLACES for name, _ in place)
