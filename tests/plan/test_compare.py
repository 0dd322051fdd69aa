"""Recipes side by side: every cell is what the plan of its recipe says."""

import pytest

from duologue.plan import compare_recipes, hardware_for, make_plan
from duologue.plan.shapes import num_params
from tests.plan.machines import CPU, candidate

GPU = hardware_for("RTX 4090", base=CPU)


@pytest.fixture(scope="module")
def comparison():
    return compare_recipes([candidate("original"), candidate("optimized")], GPU)


def line(comparison, name):
    return next(line for line in comparison.lines if line.name == name)


def test_the_table_holds_what_was_asked_for(comparison):
    names = {line.name for line in comparison.lines}
    assert {"model size", "GPU memory", "training time", "LoRA", "batch", "longest example"} <= names
    assert {"electricity per training", "rent per training", "storage for the run", "RAM for the run"} <= names
    assert {"chat speed, as trained", "chat memory, as trained", "chat speed, GGUF Q4_K_M"} <= names
    assert all(len(line.cells) == len(line.change) == 2 for line in comparison.lines)


def test_cells_are_the_numbers_of_the_plans(comparison):
    for at, name in enumerate(("original", "optimized")):
        one = candidate(name)
        plan = make_plan(one.config, one.stats, one.facts, GPU)
        assert line(comparison, "model size").cells[at].value == num_params(one.facts)
        assert line(comparison, "GPU memory").cells[at].value == plan.memory.device_gib
        assert line(comparison, "training time").cells[at].value == pytest.approx(plan.time.total_minutes / 60)
        assert line(comparison, "rent per training").cells[at].value == plan.cost.rent_usd
        assert line(comparison, "on RTX 4090 24GB").cells[at].value == plan.verdict
        assert comparison.plans[at] == plan


def test_changes_are_counted_from_the_first(comparison):
    size = line(comparison, "model size")
    assert size.change[0] == 0
    assert size.change[1] == pytest.approx(-0.622, abs=0.001)  # 34.39B to 13.02B
    assert line(comparison, "base model").change == (None, None)


def test_a_price_that_is_not_known_is_said():
    table = compare_recipes([candidate("quickstart"), candidate("optimized")], hardware_for("RTX 3080 12GB", base=CPU))
    rent = line(table, "rent per training")
    assert [cell.text for cell in rent.cells] == ["no price known"] * 2
    assert rent.change == (None, None)
