"""Money by hand."""

import pytest

from duologue.engine import Gpu, Hardware
from duologue.plan import hardware_for
from duologue.plan.cost import plan_cost
from duologue.plan.machine import machine_of

CPU = Hardware((), num_cores=2, ram_bytes=2**34, ram_free_bytes=2**34, disk_free_bytes=2**40)


def test_ten_hours_on_a_4090_cost_its_power_and_its_dated_rent():
    cost = plan_cost(600, machine_of(hardware_for("RTX 4090", base=CPU)), usd_per_kwh=0.18)
    assert cost.electricity_kwh == pytest.approx(5.1)  # 450 W + 60 W
    assert cost.electricity_usd == pytest.approx(0.918)
    assert cost.rent_usd == pytest.approx(3.40)


def test_a_cpu_machine_costs_125_watts_and_is_not_rented():
    cost = plan_cost(60, machine_of(CPU), usd_per_kwh=0.20)
    assert cost.electricity_usd == pytest.approx(0.025)
    assert cost.rent_usd is None


def test_a_card_without_a_price_has_no_rent():
    assert plan_cost(60, machine_of(hardware_for("RTX 3080 12GB", base=CPU)), usd_per_kwh=0.2).rent_usd is None
    unknown = Gpu("NVIDIA GeForce RTX 4070", 12 * 2**30, 12 * 2**30, (8, 9), "580.1")
    machine = machine_of(Hardware((unknown,), 2, 2**34, 2**34, 2**40))
    assert plan_cost(60, machine, usd_per_kwh=0.2).rent_usd is None
