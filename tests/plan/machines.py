"""Machines, configs and token counts that the tests of the plan room share."""

from duologue.config import Config, load_recipe, make_config
from duologue.data import DataStats
from duologue.engine import Hardware, ModelFacts
from duologue.plan import Candidate, Machine, example_stats, hardware_for, known_facts, machine_of

CPU = Hardware((), num_cores=2, ram_bytes=2**35, ram_free_bytes=23 * 2**30, disk_free_bytes=10**11, cpu_gflops=130.0)


def machine(gpu: str = "") -> Machine:
    return machine_of(hardware_for(gpu, base=CPU) if gpu else CPU)


def facts_of(base: str) -> ModelFacts:
    facts = known_facts(base)
    assert facts is not None
    return facts


def subject(recipe: str, *overrides: str) -> tuple[Config, DataStats, ModelFacts]:
    config = load_recipe(recipe, overrides=overrides)
    return config, example_stats(config), facts_of(config.model.base)


def candidate(recipe: str, *overrides: str) -> Candidate:
    config, stats, facts = subject(recipe, *overrides)
    return Candidate(recipe, config, facts, stats)


def config_with(*overrides: str) -> Config:
    tree = {"model": {"base": "bundled:smollm2-135m"}, "data": {"train": ["data/*.json"]}}
    return make_config(tree, overrides=overrides, where="test")
