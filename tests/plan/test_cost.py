"""Money by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.engine import Gpu, Hardware
from duologue.plan.cost import break_even_runs, plan_cost
from duologue.plan.machine import machine_of
from tests.plan.machines import CPU, config_with, machine

USD = st.floats(min_value=0, max_value=1e5, allow_nan=False)


def test_ten_hours_on_a_4090_cost_its_power_and_its_dated_rent():
    cost = plan_cost(600, machine("RTX 4090"), config=config_with("budget.electricity_usd_per_kwh=0.18"))
    assert cost.electricity_kwh == pytest.approx(5.1)  # 450 W + 60 W
    assert cost.electricity_usd == pytest.approx(0.918)
    assert cost.rent_usd == pytest.approx(3.40)
    assert "2026-04-12" in cost.rent_source


def test_electricity_has_the_dated_default_price():
    cost = plan_cost(60, machine("RTX 4090"), config=config_with())
    assert cost.electricity_usd == pytest.approx(0.510 * 0.1802)


def test_a_cpu_machine_costs_125_watts_and_is_neither_rented_nor_bought():
    cost = plan_cost(60, machine(), config=config_with("budget.electricity_usd_per_kwh=0.2"))
    assert cost.electricity_usd == pytest.approx(0.025)
    assert cost.rent_usd is None
    assert cost.break_even_runs is None
    assert cost.missing == ()


def test_buying_is_counted_against_renting_with_resale_and_electricity():
    config = config_with(
        "budget.card_usd=2000",
        "budget.resale_usd=800",
        "budget.rent_usd_per_hour=0.5",
        "budget.electricity_usd_per_kwh=0.2",
    )
    cost = plan_cost(600, machine("RTX 4090"), config=config)
    assert cost.rent_usd == pytest.approx(5.0)
    assert cost.electricity_usd == pytest.approx(1.02)
    assert cost.break_even_runs == pytest.approx((2000 - 800) / (5.0 - 1.02))
    assert cost.rent_source == "budget.rent_usd_per_hour"
    assert cost.card_source == "budget.card_usd"


def test_the_launch_price_stands_in_for_the_person_s_own():
    cost = plan_cost(600, machine("RTX 4090"), config=config_with())
    assert cost.card_usd == 1599
    assert "launch" in cost.card_source
    assert cost.break_even_runs == pytest.approx(1599 / (3.4 - 5.1 * 0.1802))


def test_missing_prices_are_said_and_not_guessed():
    cost = plan_cost(60, machine("RTX 3080 12GB"), config=config_with())
    assert cost.rent_usd is cost.card_usd is cost.break_even_runs is None
    assert [line.rpartition(" ")[2] for line in cost.missing] == ["budget.rent_usd_per_hour", "budget.card_usd"]
    unknown = Gpu("NVIDIA GeForce RTX 4070", 12 * 2**30, 12 * 2**30, (8, 9), "580.1")
    other = machine_of(Hardware((unknown,), 2, 2**34, 2**34, 2**40))
    assert plan_cost(60, other, config=config_with()).rent_usd is None
    named = plan_cost(60, other, config=config_with("budget.rent_usd_per_hour=0.3"))
    assert named.rent_usd == pytest.approx(0.3)


@given(card=USD, resale=USD, rent=USD, electricity=USD)
def test_at_the_break_even_both_ways_cost_the_same(card, resale, rent, electricity):
    runs = break_even_runs(card_usd=card, resale_usd=resale, rent_usd=rent, electricity_usd=electricity)
    if rent <= electricity:
        assert runs is None
    else:
        assert runs is not None
        assert runs >= 0
        if resale <= card:
            assert card - resale + runs * electricity == pytest.approx(runs * rent, rel=1e-6, abs=1e-6)


def test_the_cpu_has_no_power_of_a_gpu():
    assert plan_cost(60, machine_of(CPU), config=config_with()).electricity_kwh == pytest.approx(0.125)
