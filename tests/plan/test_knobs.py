"""Each row of the table of settings is its own change alone."""

import shlex

import pytest

from duologue.plan import find_knobs, hardware_for
from duologue.plan.advise import changed_forecast
from duologue.plan.forecast import forecast
from tests.plan.machines import CPU, machine, subject


@pytest.mark.parametrize(("recipe", "gpu"), [("original", "A100 80GB"), ("optimized", "RTX 4090"), ("quickstart", "")])
def test_a_knob_shows_what_the_change_does(recipe, gpu):
    config, stats, facts = subject(recipe)
    now = forecast(config, stats, facts, machine=machine(gpu))
    settings = now.settings
    held = [
        f"model.quantization={settings.quantization}",
        f"training.micro_batch_size={settings.micro_batch_size}",
        f"training.gradient_accumulation_steps={settings.gradient_accumulation_steps}",
        f"training.gradient_checkpointing={'on' if settings.use_gradient_checkpointing else 'off'}",
    ]
    knobs = find_knobs(config, stats, facts, hardware_for(gpu, base=CPU) if gpu else CPU)
    assert {"quantization", "rank", "adapted layers", "longest example", "micro-batch", "checkpointing"} <= {
        knob.name for knob in knobs
    }
    for knob in knobs:
        lines = [word for word in shlex.split(knob.set) if word != "--set"]
        then = changed_forecast(config, stats, facts, machine=machine(gpu), overrides=[*held, *lines])
        assert knob.changes_gib == pytest.approx(then.memory.device_gib - now.memory.device_gib)
        assert knob.changes_minutes == pytest.approx(then.time.total_minutes - now.time.total_minutes)
        assert knob.verdict == then.memory.verdict
        assert knob.now != knob.then


def test_knobs_go_the_way_physics_goes():
    knobs = {
        (knob.name, knob.then): knob for knob in find_knobs(*subject("original"), hardware_for("A100 80GB", base=CPU))
    }
    assert knobs["quantization", "none"].changes_gib > knobs["quantization", "int8"].changes_gib > 10
    assert knobs["rank", "32"].changes_gib < 0 < knobs["rank", "128"].changes_gib
    assert knobs["checkpointing", "on"].changes_gib < 0 < knobs["checkpointing", "on"].changes_minutes
    assert knobs["micro-batch", "2"].changes_gib > 0
    assert knobs["longest example", "512 tokens"].changes_gib < 0
