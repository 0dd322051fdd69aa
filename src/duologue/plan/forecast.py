"""Settings, memory, time and money of one config, without advice: what the planner computes again for every change."""

from dataclasses import dataclass

from duologue.config import Config
from duologue.data import DataStats
from duologue.engine import ModelFacts
from duologue.plan.cost import CostPlan, plan_cost
from duologue.plan.machine import Machine
from duologue.plan.measured import plan_memory, plan_time
from duologue.plan.memory import MemoryPlan
from duologue.plan.resolve import Reason, ResolvedSettings, resolve
from duologue.plan.time import TimePlan
from duologue.plan.workload import Workload


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one config leads to on one machine."""

    workload: Workload
    settings: ResolvedSettings
    reasons: tuple[Reason, ...]
    memory: MemoryPlan
    time: TimePlan
    cost: CostPlan


def forecast(config: Config, stats: DataStats, facts: ModelFacts, *, machine: Machine) -> Forecast:
    """Resolve a config and predict its memory, time and cost."""
    found = resolve(config, stats, facts, machine=machine)
    settings = found.settings
    time = plan_time(
        found.workload,
        machine,
        max_steps=settings.max_steps,
        eval_every_steps=settings.eval_every_steps,
        config=config,
    )
    return Forecast(
        workload=found.workload,
        settings=settings,
        reasons=found.reasons,
        memory=plan_memory(found.workload, machine),
        time=time,
        cost=plan_cost(time.total_minutes, machine, config=config),
    )
