"""Whole plans: the recipes on real cards, advice that holds, JSON there and back, refusals, speed."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace

import pytest

from duologue.config import load_recipe
from duologue.data import DataStats
from duologue.engine import Gpu, Hardware
from duologue.errors import DataError, PlanError
from duologue.plan import Plan, example_stats, hardware_for, known_facts, make_plan, plan_from_json
from duologue.plan.example_data import cut_stats

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


def test_a_plan_that_fits_has_no_advice_and_one_that_does_not_has_some():
    assert plan("quickstart").advice == ()
    assert plan("original", "RTX 4090").advice


@pytest.mark.parametrize(("recipe", "gpu"), [("original", "RTX 4090"), ("optimized", "RTX 4080"), ("original", "")])
def test_each_advice_holds_when_it_is_followed(recipe, gpu):
    found = plan(recipe, gpu)
    stats = example_stats(load_recipe(recipe))
    for advice in found.advice:
        words = shlex.split(advice.set)
        overrides = [word for word in words if word != "--set"]
        assert words == [part for line in overrides for part in ("--set", line)]
        limit = load_recipe(recipe, overrides=overrides).data.max_length_tokens
        followed = plan(recipe, gpu, *overrides, stats=cut_stats(stats, max_length_tokens=limit))
        assert followed.verdict == advice.verdict
        saved = found.memory.device_gib - followed.memory.device_gib
        assert saved == pytest.approx(advice.saves_gib)
        assert saved > 0
        later = (followed.time.total_minutes - found.time.total_minutes) / 60
        assert later == pytest.approx(advice.costs_hours)


def test_advice_that_makes_the_run_fit_comes_first():
    verdicts = [advice.verdict for advice in plan("optimized", "RTX 4080").advice]
    assert verdicts[0] == "fits"
    assert verdicts == sorted(verdicts, key=["fits", "tight", "no"].index)


def test_several_changes_together_are_offered_when_no_single_one_is_enough():
    *singles, together = plan("original", "RTX 4090").advice
    assert all(advice.verdict != "fits" for advice in singles)
    assert together.verdict == "fits"
    assert together.set.count("--set") > 1


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
