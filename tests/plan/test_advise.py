"""What makes a run fit: it does when it is followed, and less would not have been enough."""

import shlex
from itertools import combinations

import pytest

from duologue.plan import make_plan
from duologue.plan.advise import advise, as_options, changed_forecast
from duologue.plan.forecast import forecast
from tests.plan.machines import CPU, machine, subject

HARD = [("original", "RTX 4090"), ("optimized", "RTX 4080"), ("original", "RTX 3060"), ("original", "")]


def advised(recipe, gpu, *overrides):
    config, stats, facts = subject(recipe, *overrides)
    now = forecast(config, stats, facts, machine=machine(gpu))
    return advise(config, stats, facts, machine=machine(gpu), now=now)


def overrides_of(advice) -> list[str]:
    words = shlex.split(advice.set)
    lines = [word for word in words if word != "--set"]
    assert words == [part for line in lines for part in ("--set", line)]
    return lines


def test_a_run_that_fits_needs_no_advice():
    assert make_plan(*subject("quickstart"), CPU).advice == ()
    assert advised("original", "RTX 4090")


@pytest.mark.parametrize(("recipe", "gpu"), HARD)
def test_each_advice_holds_when_it_is_followed(recipe, gpu):
    config, stats, facts = subject(recipe)
    now = forecast(config, stats, facts, machine=machine(gpu))
    for advice in advised(recipe, gpu):
        then = changed_forecast(config, stats, facts, machine=machine(gpu), overrides=overrides_of(advice))
        assert then.memory.verdict == advice.verdict
        assert now.memory.device_gib - then.memory.device_gib == pytest.approx(advice.saves_gib)
        assert advice.saves_gib > 0
        assert (then.time.total_minutes - now.time.total_minutes) / 60 == pytest.approx(advice.costs_hours)


@pytest.mark.parametrize(("recipe", "gpu"), HARD)
def test_what_makes_the_run_fit_comes_first(recipe, gpu):
    verdicts = [advice.verdict for advice in advised(recipe, gpu)]
    assert verdicts == sorted(verdicts, key=["fits", "tight", "no"].index)


def test_one_change_is_advised_where_one_is_enough():
    first = advised("original", "RTX 4090", "training.micro_batch_size=4")[0]
    assert first.verdict == "fits"
    assert "lora" in first.set or "micro_batch" in first.set


def test_a_set_of_changes_is_as_small_as_it_can_be():
    """On the smallest card where only several changes together help, every smaller part of them fails."""
    config, stats, facts = subject("original")
    for gpu in ("RTX 4090", "RTX 4080", "RTX 3060"):
        first = advised("original", gpu)[0]
        lines = overrides_of(first)
        kinds = {line.partition("=")[0] for line in lines}
        if first.verdict != "fits" or len(kinds) == 1:
            continue
        for num_left_out in range(1, len(lines)):
            for left in combinations(lines, len(lines) - num_left_out):
                then = changed_forecast(config, stats, facts, machine=machine(gpu), overrides=left)
                assert then.memory.verdict != "fits" or _is_half_a_change(lines, left), left


def _is_half_a_change(lines, left) -> bool:
    """Rank without its alpha, or a micro-batch without its accumulation, needs the same memory."""
    missing = {line.partition("=")[0] for line in lines} - {line.partition("=")[0] for line in left}
    return missing <= {"lora.alpha", "training.gradient_accumulation_steps"}


def test_a_lower_rank_keeps_the_scale_of_the_update():
    for advice in advised("original", "RTX 4090"):
        values = dict(
            line.split("=") for line in overrides_of(advice) if line.startswith("lora.") and "modules" not in line
        )
        if "lora.rank" in values:
            assert int(values["lora.alpha"]) / int(values["lora.rank"]) == 16 / 64


def test_a_hopeless_case_says_how_far_everything_together_goes():
    first = advised("original", "RTX 3060")[0]
    assert first.verdict in ("no", "tight")
    assert all(first.saves_gib >= other.saves_gib for other in advised("original", "RTX 3060"))


def test_options_can_be_pasted_into_a_shell():
    assert as_options(['lora.target_modules=["q_proj"]', "lora.rank=8"]) == (
        "--set 'lora.target_modules=[\"q_proj\"]' --set lora.rank=8"
    )
