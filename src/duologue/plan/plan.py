"""`make_plan`: does the run fit, how long does it take, what does it cost, and what was decided on the way."""

from dataclasses import asdict, dataclass
from typing import Any

from duologue.config import Config
from duologue.data import DataStats
from duologue.engine import Hardware, ModelFacts
from duologue.plan.advise import Advice, advise
from duologue.plan.cost import CostPlan
from duologue.plan.example_data import check_stats
from duologue.plan.forecast import Forecast, forecast
from duologue.plan.machine import Machine, machine_of
from duologue.plan.memory import GIB, MemoryPlan, Verdict
from duologue.plan.resolve import Reason, ResolvedSettings, lora_settings
from duologue.plan.restore import restore
from duologue.plan.shapes import check_shape, num_adapter_params, num_params
from duologue.plan.time import TimePlan


@dataclass(frozen=True, slots=True)
class Plan:
    """A predicted run.

    Attributes:
        verdict: `fits`, `tight` (only a part of the memory interval fits) or `no`.
        memory: Peak memory.
        time: Minutes.
        cost: Electricity and rent.
        settings: Every `auto` as a value.
        reasons: Why each setting has its value.
        advice: Changes that lower the memory, when the verdict is not `fits`; the least harmful first.
        assumptions: What the numbers rest on.
    """

    verdict: Verdict
    memory: MemoryPlan
    time: TimePlan
    cost: CostPlan
    settings: ResolvedSettings
    reasons: tuple[Reason, ...]
    advice: tuple[Advice, ...]
    assumptions: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the plan as the JSON of `duologue plan --json` and of plan.json."""
        return asdict(self)


def make_plan(config: Config, stats: DataStats, facts: ModelFacts, hardware: Hardware) -> Plan:
    """Return the plan of a run. That it does not fit is a verdict, not an error.

    Raises:
        PlanError: The model or the adapter cannot exist.
        DataError: There is nothing to train on.
    """
    check_shape(facts, lora_settings(config))
    check_stats(stats)
    machine = machine_of(hardware)
    found = forecast(config, stats, facts, machine=machine)
    return Plan(
        verdict=found.memory.verdict,
        memory=found.memory,
        time=found.time,
        cost=found.cost,
        settings=found.settings,
        reasons=found.reasons,
        advice=advise(config, stats, facts, machine=machine, now=found),
        assumptions=_assumptions(config, stats, facts, found=found, machine=machine, hardware=hardware),
    )


def plan_from_json(tree: dict[str, Any]) -> Plan:
    """Return the plan that `Plan.as_json` wrote.

    Raises:
        PlanError: A key is missing, unknown, or has a value of the wrong type.
    """
    return restore(Plan, tree, where="plan.json")


def _assumptions(
    config: Config, stats: DataStats, facts: ModelFacts, *, found: Forecast, machine: Machine, hardware: Hardware
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
    if machine.gpu and facts.name.endswith(".gguf"):
        unpacked = 4 * num_params(facts) / GIB
        free = hardware.ram_free_bytes / GIB
        lines.append(f"Loading unpacks the file in system memory: {unpacked:.1f} GiB, {free:.1f} GiB are free.")
    checkpoints = config.training.num_checkpoints * 12 * num_adapter_params(facts, lora_settings(config)) / GIB
    free = hardware.disk_free_bytes / GIB
    lines.append(f"Disk: {checkpoints:.2f} GiB for the checkpoints that are kept; {free:.1f} GiB are free.")
    return tuple(lines)


def _gpu_assumptions(found: Forecast, machine: Machine, hardware: Hardware) -> list[str]:
    assert machine.gpu_facts is not None
    row = machine.gpu_facts
    lines = ["Speed is a prediction from published runs, not a measurement on this machine."]
    if not machine.is_known_gpu:
        lines.append(f"{machine.name} is not in the table; its speed and power are taken from {row.name}, no rent.")
    if machine.gpu is not None and not machine.gpu.driver_version:
        lines.append("The GPU is empty and drives no display; 1.5 % of its memory belongs to the driver.")
    if len(hardware.gpus) > 1:
        lines.append(f"Only the first of {len(hardware.gpus)} GPUs is used.")
    if found.cost.rent_usd is not None:
        lines.append(f"Rent at {row.rent_usd_per_hour} USD per hour, the price of {row.prices_date}.")
    lines.append(f"Electricity: {row.watts:.0f} W for the GPU and 60 W for the rest.")
    return lines


def _cpu_assumptions(found: Forecast, machine: Machine) -> list[str]:
    if machine.is_cpu_measured:
        lines = [f"Speed from {machine.cpu_gflops:.0f} GFLOP/s measured on this CPU, when nothing else runs."]
    else:
        lines = [f"The CPU was not measured; {machine.cpu_gflops:.0f} GFLOP/s are assumed."]
    if found.settings.quantization != "none" or found.settings.compute_dtype != "float32":
        lines.append("Packed weights or 16 bit are taken to halve the speed of a CPU; that was not measured.")
    lines.append("Electricity: 65 W for the processor and 60 W for the rest.")
    return lines
