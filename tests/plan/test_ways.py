"""The three ways out: the cheapest card for each, and how many runs buying needs."""

import pytest

from duologue.plan import ways_out
from duologue.plan.forecast import forecast
from duologue.plan.gpus import all_gpus
from tests.plan.machines import CPU, candidate, machine

OLD, NEW = candidate("original"), candidate("optimized")


@pytest.fixture(scope="module")
def found():
    return ways_out(OLD, NEW, base=CPU, owned=machine("RTX 4090"))


def test_there_are_three_ways_with_their_recipes(found):
    assert [way.recipe for way in found.ways] == ["original", "optimized", "optimized"]
    assert [bool(way.usd_once) for way in found.ways] == [False, True, False]


def test_no_rented_card_is_cheaper_than_the_one_that_is_named(found):
    for way, one in ((found.ways[0], OLD), (found.ways[2], NEW)):
        for card in all_gpus():
            there = forecast(one.config, one.stats, one.facts, machine=machine(card.name))
            if there.memory.verdict == "fits" and there.cost.rent_usd is not None and card.is_nvidia:
                assert there.cost.rent_usd >= way.usd_per_run
            if card.name == way.gpu:
                assert there.memory.verdict == "fits"
                assert there.cost.rent_usd == way.usd_per_run


def test_the_card_at_hand_is_the_one_to_buy_when_the_recipe_fits_it(found):
    assert found.ways[1].gpu == "RTX 4090 24GB"
    assert found.ways[1].usd_once == 1599
    other = ways_out(OLD, NEW, base=CPU, owned=machine("RTX 3080 10GB"))  # too small for 13B in int8
    bought = next(way for way in other.ways if way.usd_once)
    fitting = forecast(NEW.config, NEW.stats, NEW.facts, machine=machine(bought.gpu))
    assert fitting.memory.verdict == "fits"


def test_the_break_even_is_the_price_over_what_a_run_saves(found):
    keeping, buying, renting = found.ways
    assert found.runs_to_beat_keeping == pytest.approx(buying.usd_once / (keeping.usd_per_run - buying.usd_per_run))
    assert found.runs_to_beat_renting == pytest.approx(buying.usd_once / (renting.usd_per_run - buying.usd_per_run))


def test_one_s_own_prices_move_the_break_even():
    cheap = candidate("optimized", "budget.card_usd=900", "budget.resale_usd=600")
    found = ways_out(OLD, cheap, base=CPU, owned=machine("RTX 4090"))
    assert next(way for way in found.ways if way.usd_once).usd_once == 300
