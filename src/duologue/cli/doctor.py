"""`duologue doctor`: what this machine is, and which recipes fit it."""

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.table import Table

from duologue import __version__
from duologue.cli.output import JsonFlag, Output
from duologue.config import RECIPES, load_recipe
from duologue.engine import Hardware, detect_hardware
from duologue.plan import example_stats, known_facts, make_plan

_PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "gradio", "xllamacpp")
_GIB = 2**30


def doctor(is_json: JsonFlag = False) -> None:
    """Say what this machine has and which recipes fit."""
    out = Output(is_json=is_json)
    hardware = detect_hardware(Path.cwd(), measure_cpu=True)
    versions = {"duologue": __version__, "python": platform.python_version()} | {n: _version(n) for n in _PACKAGES}
    for gpu in hardware.gpus:
        capability = ".".join(map(str, gpu.compute_capability))
        out.say(
            f"GPU: {gpu.name}, {gpu.total_bytes / _GIB:.1f} GiB ({gpu.free_bytes / _GIB:.1f} free), "
            f"compute capability {capability}, driver {gpu.driver_version}"
        )
    if not hardware.gpus:
        out.say("GPU: none found; training and chat run on the CPU")
    out.say(f"CPU: {hardware.num_cores} cores, {hardware.cpu_gflops:.0f} GFLOP/s measured in float32")
    out.say(f"RAM: {hardware.ram_bytes / _GIB:.1f} GiB, {hardware.ram_free_bytes / _GIB:.1f} free")
    out.say(f"disk: {hardware.disk_free_bytes / _GIB:.1f} GiB free here")
    out.say(", ".join(f"{name} {number}" for name, number in versions.items()))
    recipes = {name: _fit(name, hardware) for name in RECIPES}
    table = Table("recipe", "base", "verdict", "needs", "has", box=None, pad_edge=False)
    for name, row in recipes.items():
        needs, has = f"{row['needs_gib']:.1f} GiB", f"{row['has_gib']:.1f} GiB"
        table.add_row(name, str(row["base"]), str(row["verdict"]), needs, has)
    out.say(table)
    out.result({"hardware": asdict(hardware), "versions": versions, "recipes": recipes})


def _fit(name: str, hardware: Hardware) -> dict[str, str | float]:
    config = load_recipe(name)
    facts = known_facts(config.model.base)
    assert facts is not None, f"recipe {name} has a base without facts"
    plan = make_plan(config, example_stats(config), facts, hardware)
    return {
        "base": config.model.base,
        "verdict": plan.verdict,
        "needs_gib": plan.memory.device_gib,
        "has_gib": plan.memory.available_gib,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
