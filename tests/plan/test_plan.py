"""Whole plans: the recipes on real cards, advice that holds, JSON there and back, refusals, speed."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from duologue.config import load_recipe
from duologue.data import DataStats
from duologue.engine import Gpu, Hardware
from duologue.errors import DataError, PlanError
from duologue.plan import (
    Calibration,
    Measured,
    Plan,
    example_stats,
    hardware_for,
    known_facts,
    make_plan,
    plan_from_json,
)
from duologue.plan.calibration import Entry, RunKind

CPU = Hardware((), num_cores=2, ram_bytes=2**35, ram_free_bytes=23 * 2**30, disk_free_bytes=10**11, cpu_gflops=130.0)


def plan(recipe: str, gpu: str = "", *overrides: str, stats: DataStats | None = None, hardware=CPU) -> Plan:
    config = load_recipe(recipe, overrides=overrides)
    facts = known_facts(config.model.base)
    assert facts is not None
    return make_plan(
        config, stats or example_stats(config), facts, hardware_for(gpu, base=hardware) if gpu else hardware
    )


@pytest.mark.parametrize(
    ("recipe", "gpu", "verdict"),
    [
        ("original", "RTX 4090", "no"),
        ("original", "RTX 3090 Ti", "no"),
        ("original", "A100 PCIe 40GB", "fits"),
        ("original", "A100 SXM4 80GB", "fits"),
        ("optimized", "RTX 4090", "fits"),
        ("optimized", "A100 SXM4 80GB", "fits"),
        ("optimized", "RTX 4080", "tight"),
        ("optimized", "RTX 3080 Ti", "no"),
        ("quickstart", "RTX 3080 10GB", "fits"),
        ("quickstart", "", "fits"),
    ],
)
def test_the_recipes_fit_where_physics_lets_them(recipe, gpu, verdict):
    assert plan(recipe, gpu).verdict == verdict


def test_the_dearest_parts_of_the_original_recipe_are_named():
    components = {part.name: part.gib for part in plan("original", "RTX 4090").memory.components}
    assert components["linear weights (nf4)"] * 2**30 == pytest.approx(33_470_545_920 * 2113 / 4096, rel=1e-3)
    assert components["adapter, its gradients and optimizer"] * 2**30 == 16 * 491_520_000


def test_the_quickstart_trains_within_its_budget_on_a_slow_machine():
    slow = plan("quickstart", "", "budget.max_minutes=60", hardware=replace(CPU, cpu_gflops=20.0))
    assert slow.time.train_minutes <= 60
    assert slow.settings.max_steps == slow.time.num_steps > 20


def test_a_budget_too_small_for_the_machine_still_leaves_twenty_steps():
    slowest = plan("quickstart", hardware=replace(CPU, cpu_gflops=20.0))
    assert slowest.settings.max_steps == slowest.time.num_steps == 20
    assert slowest.time.train_minutes > 5


def test_the_json_has_the_promised_keys_and_units():
    found = plan("original", "RTX 4090")
    tree = json.loads(json.dumps(found.as_json(), allow_nan=False))
    promised = {"verdict", "memory", "time", "cost", "ram_gib", "disk_gib", "advice", "profile", "assumptions"}
    assert promised <= set(tree)
    assert {"allocated_gib", "reserved_gib", "device_gib", "low_gib", "high_gib", "components"} <= set(tree["memory"])
    assert {"name", "gib"} == set(tree["memory"]["components"][0])
    assert {"num_tokens", "tokens_per_second", "hours", "low_hours", "high_hours"} <= set(tree["time"])
    assert {"set", "saves_gib", "costs_hours"} <= set(tree["advice"][0])
    assert tree["time"]["hours"] == pytest.approx(found.time.total_minutes / 60)
    assert tree["time"]["low_hours"] < tree["time"]["hours"] < tree["time"]["high_hours"]
    assert tree["ram_gib"] == found.requirements.ram_gib > 0
    assert tree["disk_gib"] == found.requirements.disk_gib > 0


@pytest.mark.parametrize("recipe", ["original", "optimized"])
def test_the_three_numbers_are_in_order_and_the_components_add_up_to_the_device(recipe):
    memory = plan(recipe, "A100 80GB").memory
    assert memory.allocated_gib <= memory.reserved_gib <= memory.device_gib
    assert memory.low_gib <= memory.device_gib <= memory.high_gib
    assert sum(part.gib for part in memory.components) == pytest.approx(memory.device_gib)


def test_an_epoch_is_a_third_of_three_epochs():
    found = plan("original", "A100 80GB")
    assert found.minutes_per_epoch * 3 == pytest.approx(found.time.train_minutes)


@pytest.mark.parametrize("gpu", ["T4", "V100 SXM2 32GB"])
def test_a_card_without_bfloat16_says_what_that_means(gpu):
    told = " ".join(plan("quickstart", gpu).assumptions)
    assert "has no bfloat16: the run computes in float32" in told
    asked = plan("original", gpu).assumptions  # this recipe asks for bfloat16
    assert any("emulated" in line and "model.compute_dtype" in line for line in asked)
    assert not any("has no bfloat16" in line for line in plan("original", "RTX 4090").assumptions)


def test_a_plan_that_earlier_runs_corrected_says_so_and_moves():
    law = plan("quickstart")
    kind = RunKind("here", law.machine, law.profile, law.settings.quantization, law.settings.compute_dtype)
    entries = tuple(Entry(kind, "2026-11-01", "m", 50, speed_ratio=0.5, memory_ratio=1.0) for _ in range(5))
    config = load_recipe("quickstart")
    facts = known_facts(config.model.base)
    assert facts is not None
    measured = Measured(host="here", calibration=Calibration(entries))
    moved = make_plan(config, example_stats(config), facts, CPU, measured=measured)
    assert moved.time.tokens_per_second < 0.7 * law.time.tokens_per_second
    assert moved.learned.num_runs == 5
    assert any("5 runs" in line for line in moved.assumptions)


def test_the_plan_says_what_it_assumes():
    gpu = " ".join(plan("optimized", "RTX 4090").assumptions)
    assert "prediction" in gpu
    assert "2026-04-12" in gpu
    cpu = " ".join(plan("quickstart").assumptions)
    assert "130 GFLOP/s measured" in cpu
    guessed = " ".join(plan("quickstart", hardware=replace(CPU, cpu_gflops=0.0)).assumptions)
    assert "80 GFLOP/s are assumed" in guessed


def test_an_unknown_card_and_further_cards_are_mentioned():
    gpu = Gpu("NVIDIA GeForce RTX 4070 Laptop GPU", 8 * 2**30, 8 * 2**30, (8, 9), "580.1")
    told = " ".join(plan("quickstart", hardware=replace(CPU, gpus=(gpu, gpu))).assumptions)
    assert "not in the table" in told
    assert "first of 2 GPUs" in told


def test_examples_longer_than_the_model_s_context_are_mentioned():
    config = load_recipe("quickstart")
    stats = replace(example_stats(config), max_tokens=9000)
    assert "9,000 tokens" in " ".join(plan("quickstart", stats=stats).assumptions)


@pytest.mark.parametrize(("recipe", "gpu"), [("quickstart", ""), ("original", "RTX 4090"), ("optimized", "T4")])
def test_a_plan_survives_json_unchanged(recipe, gpu):
    found = plan(recipe, gpu)
    assert plan_from_json(json.loads(json.dumps(found.as_json()))) == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree.pop("memory"), "missing: memory"),
        (lambda tree: tree.update(colour="red"), "unknown: colour"),
        (
            lambda tree: tree.update(verdict="perhaps"),
            "verdict: found 'perhaps'; expected one of 'fits', 'tight', 'no'",
        ),
        (lambda tree: tree["memory"].update(device_gib="much"), "memory: device_gib: found 'much'; expected float"),
        (lambda tree: tree["settings"].update(max_steps=True), "max_steps: found True; expected int"),
        (lambda tree: tree.update(reasons={}), "reasons: found {}; expected a list"),
        (lambda tree: tree["reasons"].append(3), r"reasons\[10\]: found 3; expected an object"),
    ],
)
def test_a_damaged_plan_json_is_refused_at_its_place(change, message):
    tree = json.loads(json.dumps(plan("quickstart").as_json()))
    change(tree)
    with pytest.raises(PlanError, match=message.replace("{}", r"\{\}")):
        plan_from_json(tree)


def test_a_plan_without_data_or_for_an_impossible_model_is_refused():
    config = load_recipe("quickstart")
    facts = known_facts(config.model.base)
    assert facts is not None
    empty = DataStats(0, 0, 0, 0, 0, 0, ())
    with pytest.raises(DataError, match="empty"):
        make_plan(config, empty, facts, CPU)
    with pytest.raises(PlanError, match="num_layers = 0"):
        make_plan(config, example_stats(config), replace(facts, num_layers=0), CPU)


def test_planning_is_quick_and_loads_no_heavy_library():
    code = """
import sys, time
import duologue.config, duologue.data, duologue.engine
started = time.process_time()
from duologue.plan import example_stats, hardware_for, known_facts, make_plan
config = duologue.config.load_recipe("original")
base = duologue.engine.Hardware((), 2, 2**35, 2**35, 2**40)
make_plan(config, example_stats(config), known_facts(config.model.base), hardware_for("RTX 4090", base=base))
seconds = time.process_time() - started
heavy = {"torch", "transformers", "peft", "numpy", "gradio", "fastapi", "matplotlib"} & set(sys.modules)
print(seconds, *heavy)
"""
    seconds, *heavy = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert heavy == []
    assert float(seconds) < 0.5
