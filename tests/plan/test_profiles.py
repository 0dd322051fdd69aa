"""Stack profiles: the same recipe on different software."""

from dataclasses import replace

import pytest

from duologue.data import DataStats
from duologue.engine import Hardware, LoraSettings
from duologue.plan import hardware_for, known_facts
from duologue.plan import profiles as p
from duologue.plan.machine import machine_of
from duologue.plan.memory import plan_memory
from duologue.plan.time import seconds_per_step
from duologue.plan.workload import Workload

CARD = machine_of(hardware_for("A100 SXM4 80GB", base=Hardware((), 2, 2**35, 2**35, 10**11)))
ALL = [value for value in vars(p).values() if isinstance(value, p.StackProfile)]


def workload(profile: p.StackProfile, *, length=2048, quantization="nf4") -> Workload:
    facts = known_facts("meta-llama/Llama-3.1-8B-Instruct")
    assert facts is not None
    stats = DataStats(32, 0, 32 * length, 16 * length, 0, length, (length,) * 32)
    lora = LoraSettings(rank=16, alpha=16)
    return Workload(facts, lora, stats, quantization, True, "bfloat16", 2, 1, True, profile)


def allocated(profile: p.StackProfile, **options) -> float:
    return plan_memory(workload(profile, **options), CARD).allocated_gib


def test_every_profile_has_a_name_of_its_own():
    assert len({profile.name for profile in ALL}) == len(ALL) >= 20


@pytest.mark.parametrize("profile", ALL, ids=lambda profile: profile.name)
@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
def test_every_profile_plans_every_weight_format(profile, quantization):
    work = workload(profile, quantization=quantization)
    plan = plan_memory(work, CARD)
    assert sum(part.gib for part in plan.components) == pytest.approx(plan.device_gib)
    assert 0 < plan.low_gib <= plan.allocated_gib * 1.01 <= plan.device_gib * 1.01 <= plan.high_gib * 1.01
    assert seconds_per_step(work, CARD) > 0


def test_ours_needs_less_than_stock_peft_and_more_than_a_fused_loss():
    ours = allocated(p.DUOLOGUE)
    assert allocated(p.UNSLOTH) < ours < allocated(p.PEFT) < allocated(p.HF_KBIT)
    assert allocated(p.FMS_LIGER) < allocated(p.FMS_FOAK) < allocated(p.FMS_PLAIN)


def test_a_longer_sequence_costs_unsloth_a_tenth_of_what_k_bit_preparation_costs():
    def slope(profile: p.StackProfile) -> float:
        return (allocated(profile, length=8192) - allocated(profile, length=4096)) * 2**30 / (2 * 4096)

    # its own table of longest contexts on Llama-3.1-8B: 0.2275 and 2.65 MB per token
    assert slope(p.UNSLOTH) == pytest.approx(0.2275e6, rel=0.05)
    assert slope(p.HF_KBIT) == pytest.approx(2.65e6, rel=0.05)


def test_shared_weights_take_less_of_each_card():
    one, two = workload(p.ANSWERAI_FSDP), replace(workload(p.ANSWERAI_FSDP), num_gpus=2)
    assert plan_memory(two, CARD).allocated_gib < plan_memory(one, CARD).allocated_gib - 1.5
    assert allocated(p.ANSWERAI_OFFLOAD) < allocated(p.ANSWERAI_FSDP) - 1.5


def test_fused_kernels_are_faster_than_stock_and_casts_are_slower():
    seconds = {
        profile.name: seconds_per_step(workload(profile, length=4096), CARD)
        for profile in (p.FMS_LIGER, p.FMS_PLAIN, p.FMS_KBIT)
    }
    assert seconds["fms-liger"] < seconds["fms-plain"] < seconds["fms-kbit"]
