"""Plans: whether a run fits, how long it takes and what it costs, before anything is loaded. Pure arithmetic."""

from duologue.plan.advise import Advice
from duologue.plan.cost import CostPlan
from duologue.plan.example_data import example_stats
from duologue.plan.gpus import hardware_for
from duologue.plan.memory import Component, MemoryPlan, Verdict
from duologue.plan.models import known_facts
from duologue.plan.plan import Plan, make_plan, plan_from_json
from duologue.plan.resolve import Reason, ResolvedSettings
from duologue.plan.time import TimePlan

__all__ = [
    "Advice",
    "Component",
    "CostPlan",
    "MemoryPlan",
    "Plan",
    "Reason",
    "ResolvedSettings",
    "TimePlan",
    "Verdict",
    "example_stats",
    "hardware_for",
    "known_facts",
    "make_plan",
    "plan_from_json",
]
