"""`make_plan`: does the run fit, how long does it take, what does it cost, and what was decided on the way."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from duologue.config import Config
from duologue.data import DataStats
from duologue.engine import Hardware, ModelFacts
from duologue.plan.advise import Advice, advise
from duologue.plan.calibration import Learned, Measured
from duologue.plan.chatting import ChatPlan, plan_chat
from duologue.plan.cost import CostPlan, watts
from duologue.plan.example_data import check_stats
from duologue.plan.forecast import Forecast, forecast
from duologue.plan.machine import Machine, machine_of
from duologue.plan.measured import assumptions as measured_assumptions
from duologue.plan.measured import learned, seconds_per_step
from duologue.plan.memory import MemoryPlan, Verdict
from duologue.plan.requirements import RequirementsPlan, plan_requirements
from duologue.plan.resolve import Reason, ResolvedSettings, lora_settings
from duologue.plan.restore import restore
from duologue.plan.shapes import check_shape
from duologue.plan.time import TimePlan

_DERIVED = ("ram_gib", "disk_gib")  # of the JSON, beside the plan's own fields
_DERIVED_TIME = ("hours", "low_hours", "high_hours", "hours_per_epoch")


@dataclass(frozen=True, slots=True)
class Plan:
    """A predicted run.

    Attributes:
        verdict: `fits`, `tight` (only a part of the memory interval fits) or `no`.
        machine: Name of the device.
        profile: The training stack whose memory is predicted.
        memory: Peak memory.
        time: Minutes.
        minutes_per_epoch: One pass over the training split, without set-up and measuring.
        cost: Electricity, rent and buying.
        settings: Every `auto` as a value.
        reasons: Why each setting has its value.
        advice: Changes that lower the memory, when the verdict is not `fits`; the least harmful first.
        requirements: System memory and disk.
        chat: Talking to the result on the same machine.
        learned: How far earlier runs or a probe on this machine moved the numbers away from the law.
        assumptions: What the numbers rest on.
    """

    verdict: Verdict
    machine: str
    profile: str
    memory: MemoryPlan
    time: TimePlan
    minutes_per_epoch: float
    cost: CostPlan
    settings: ResolvedSettings
    reasons: tuple[Reason, ...]
    advice: tuple[Advice, ...]
    requirements: RequirementsPlan
    chat: tuple[ChatPlan, ...]
    learned: Learned
    assumptions: tuple[str, ...]

    @property
    def margin_gib(self) -> float:
        """Memory that is left in the likely case; negative when it is too little."""
        return self.memory.available_gib - self.memory.device_gib

    def as_json(self) -> dict[str, Any]:
        """Return the plan as the JSON of `duologue plan --json` and of plan.json."""
        tree = asdict(self)
        tree["ram_gib"], tree["disk_gib"] = self.requirements.ram_gib, self.requirements.disk_gib
        time = self.time
        tree["time"] |= {
            "hours": time.total_minutes / 60,
            "low_hours": time.low_minutes / 60,
            "high_hours": time.high_minutes / 60,
            "hours_per_epoch": self.minutes_per_epoch / 60,
        }
        return tree


def make_plan(
    config: Config, stats: DataStats, facts: ModelFacts, hardware: Hardware, *, measured: Measured | None = None
) -> Plan:
    """Return the plan of a run. That it does not fit is a verdict, not an error.

    Args:
        config: What is to be trained.
        stats: Token counts of its data.
        facts: Shape of its base model.
        hardware: What has to hold it.
        measured: Earlier runs and a probe on this hardware; without them the laws alone are used.

    Raises:
        PlanError: The model or the adapter cannot exist.
        DataError: There is nothing to train on.
    """
    check_shape(facts, lora_settings(config))
    check_stats(stats)
    machine = replace(machine_of(hardware), measured=measured)
    found = forecast(config, stats, facts, machine=machine)
    settings = found.settings
    requirements = plan_requirements(
        config, facts, settings=settings, memory=found.memory, machine=machine, hardware=hardware
    )
    workload = found.workload
    return Plan(
        verdict=found.memory.verdict,
        machine=machine.name,
        profile=found.workload.profile.name,
        memory=found.memory,
        time=found.time,
        minutes_per_epoch=workload.steps_per_epoch * seconds_per_step(workload, machine) / 60,
        cost=found.cost,
        settings=settings,
        reasons=found.reasons,
        advice=advise(config, stats, facts, machine=machine, now=found),
        requirements=requirements,
        chat=plan_chat(facts, machine, quantization=settings.quantization, context_tokens=settings.context_tokens),
        learned=learned(workload, machine, time=found.time, memory=found.memory),
        assumptions=_assumptions(stats, facts, found=found, machine=machine, hardware=hardware),
    )


def plan_from_json(tree: dict[str, Any]) -> Plan:
    """Return the plan that `Plan.as_json` wrote.

    Raises:
        PlanError: A key is missing, unknown, or has a value of the wrong type.
    """
    own = {key: value for key, value in tree.items() if key not in _DERIVED}
    if isinstance(own.get("time"), dict):
        own["time"] = {key: value for key, value in own["time"].items() if key not in _DERIVED_TIME}
    return restore(Plan, own, where="plan.json")


def _assumptions(
    stats: DataStats, facts: ModelFacts, *, found: Forecast, machine: Machine, hardware: Hardware
) -> tuple[str, ...]:
    stack = "transformers + PEFT, adapters in float32, logits only for trained tokens, fused attention"
    if found.settings.compute_dtype != "float32":
        stack += f", {found.settings.compute_dtype} autocast"
    lines = [f"Software: {stack}; no upcast of embeddings and norms."]
    lines += _gpu_assumptions(found, machine, hardware) if machine.gpu else _cpu_assumptions(found, machine)
    if found.settings.quantization == "int8":
        lines.append("int8 is taken to train as fast as nf4: no published comparison says otherwise.")
    if stats.max_tokens > facts.context_tokens:
        lines.append(
            f"The longest example has {stats.max_tokens:,} tokens; the model was made for {facts.context_tokens:,}."
        )
    padded = found.workload.padding_factor - 1
    if padded >= 0.005:
        lines.append(f"Padding adds {padded:.0%} to the tokens that are computed, at the lengths of this data.")
    return tuple(lines)


def _gpu_assumptions(found: Forecast, machine: Machine, hardware: Hardware) -> list[str]:
    assert machine.gpu_facts is not None
    row = machine.gpu_facts
    lines = list(measured_assumptions(found.workload, machine))
    lines = lines or ["Speed is a prediction from published runs, not a measurement on this machine."]
    if not machine.is_known_gpu:
        lines.append(f"{machine.name} is not in the table; its speed and power are taken from {row.name}, no rent.")
    if machine.gpu is not None and not machine.gpu.driver_version:
        lines.append("The GPU is empty and drives no display; 1.5 % of its memory belongs to the driver.")
    if len(hardware.gpus) > 1:
        lines.append(f"Only the first of {len(hardware.gpus)} GPUs is used.")
    lines += _lesser_precision(found, machine)
    if found.cost.rent_usd is not None:
        lines.append(f"Rent at {found.cost.rent_usd_per_hour} USD per hour: {found.cost.rent_source}.")
    lines.append(f"Electricity: {watts(machine):.0f} W in all, {row.watts:.0f} W of them for the GPU.")
    return lines


def _cpu_assumptions(found: Forecast, machine: Machine) -> list[str]:
    if machine.is_cpu_measured:
        lines = [f"Speed from {machine.cpu_gflops:.0f} GFLOP/s measured on this CPU, when nothing else runs."]
    else:
        lines = [f"The CPU was not measured; {machine.cpu_gflops:.0f} GFLOP/s are assumed."]
    lines = list(measured_assumptions(found.workload, machine)) or lines
    if found.settings.quantization != "none" or found.settings.compute_dtype != "float32":
        lines.append("Packed weights or 16 bit are taken to halve the speed of a CPU; that was not measured.")
    lines.append(f"Electricity: {watts(machine):.0f} W for the processor and the rest.")
    return lines


def _lesser_precision(found: Forecast, machine: Machine) -> list[str]:
    """What a card without bfloat16, or without int8 instructions, means for the run."""
    lines = []
    if found.settings.quantization == "int8" and not machine.has_int8:
        lines.append(f"{machine.name} is older than bitsandbytes' int8 kernels: set model.quantization to nf4.")
    if machine.has_bfloat16:
        return lines
    dtype = found.settings.compute_dtype
    why = {
        "float32": "the run computes in float32, which takes twice the activations and a fraction of the speed",
        "float16": "the run computes in float16, whose small range can make the loss overflow",
        "bfloat16": "bfloat16 is emulated there, many times slower: set model.compute_dtype to float32 or float16",
    }
    return [*lines, f"{machine.name} has no bfloat16: {why[dtype]}."]
