"""System memory and disk, stage by stage."""

from dataclasses import replace

import pytest

from duologue.engine import Hardware
from duologue.plan import hardware_for, make_plan
from tests.plan.machines import CPU, subject

GIB = 2**30


def requirements(recipe, gpu="", hardware: Hardware = CPU, *overrides):
    return make_plan(*subject(recipe, *overrides), hardware_for(gpu, base=hardware) if gpu else hardware).requirements


def stages(needs) -> dict[str, float]:
    return {need.stage: need.gib for need in needs}


def test_merging_and_gguf_of_a_34b_need_disk_for_the_whole_model_and_memory_for_a_tensor():
    needs = requirements("original", "A100 80GB")
    size = 34.389e9 * 2 / GIB
    assert stages(needs.disk)["base model"] == pytest.approx(size, rel=0.01)
    assert stages(needs.disk)["merge"] == pytest.approx(size, rel=0.01)
    assert stages(needs.disk)["gguf"] == pytest.approx(size * (1 + 4.8944 / 16), rel=0.01)
    assert stages(needs.ram)["merge"] < 8


def test_checkpoints_hold_weights_and_two_moments_and_one_more_than_is_kept():
    needs = requirements("original", "A100 80GB", CPU, "training.num_checkpoints=4")
    assert stages(needs.disk)["checkpoints"] == pytest.approx(5 * 12 * 491_520_000 / GIB)
    assert stages(needs.disk)["adapter"] == pytest.approx(4 * 491_520_000 / GIB, abs=0.06)


def test_the_run_counts_what_it_needs_and_not_what_may_follow():
    needs = requirements("original", "A100 80GB")
    disk, ram = stages(needs.disk), stages(needs.ram)
    assert needs.disk_gib == pytest.approx(disk["base model"] + disk["checkpoints"] + disk["adapter"])
    assert needs.ram_gib == max(ram["load"], ram["train"])


def test_a_cpu_run_lives_in_system_memory():
    plan = make_plan(*subject("quickstart"), CPU)
    assert stages(plan.requirements.ram)["train"] == plan.memory.device_gib
    assert plan.requirements.ram_free_gib == CPU.ram_free_bytes / GIB


def test_a_gguf_base_is_unpacked_in_system_memory_even_for_a_gpu():
    on_gpu = requirements("quickstart", "RTX 4090")
    assert stages(on_gpu.ram)["load"] > stages(on_gpu.ram)["train"]
    assert stages(on_gpu.disk)["base model"] == pytest.approx(98_362_432 / GIB)


def test_too_little_is_noticed():
    poor = replace(CPU, ram_free_bytes=GIB, disk_free_bytes=GIB)
    needs = requirements("original", "A100 80GB", poor)
    assert not needs.has_enough_ram
    assert not needs.has_enough_disk
    rich = requirements("quickstart", "", replace(CPU, disk_free_bytes=10**12))
    assert rich.has_enough_ram
    assert rich.has_enough_disk
