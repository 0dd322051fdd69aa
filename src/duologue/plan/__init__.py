"""Plans: whether a run fits, how long it takes and what it costs, before anything is loaded. Pure arithmetic."""

from typing import TYPE_CHECKING

from duologue.later import offered_later
from duologue.plan.advise import Advice
from duologue.plan.calibration import Calibration, CalibrationTarget, Learned, Measured
from duologue.plan.calibration import load as load_calibration
from duologue.plan.chatting import ChatPlan, plan_chat
from duologue.plan.cost import CostPlan
from duologue.plan.example_data import cut_stats, example_stats
from duologue.plan.gpus import hardware_for
from duologue.plan.machine import Machine, machine_of, without_display
from duologue.plan.memory import Component, MemoryPlan, Verdict
from duologue.plan.models import known_facts, known_models
from duologue.plan.plan import Plan, make_plan, plan_from_json
from duologue.plan.requirements import Need, RequirementsPlan
from duologue.plan.resolve import Reason, ResolvedSettings, lora_settings
from duologue.plan.shapes import num_params
from duologue.plan.time import TimePlan

if TYPE_CHECKING:
    from duologue.plan.audit import Audit, audit_file
    from duologue.plan.cloud import CloudJob, cloud_task, default_bucket
    from duologue.plan.compare import Comparison, compare_recipes
    from duologue.plan.feedback import FeedbackWork, plan_feedback
    from duologue.plan.knobs import Knob, find_knobs
    from duologue.plan.learning import keep_run
    from duologue.plan.points import PointPrediction, predict_points
    from duologue.plan.search import (
        LENGTHS_TOKENS,
        Choice,
        Found,
        Limits,
        even_stats,
        find_recipes,
        least_gib,
        longest_example,
    )
    from duologue.plan.table import Candidate, CardRow, card_table
    from duologue.plan.ways import Way, WaysOut, ways_out

# Imported when they are first asked for: a plain plan needs none of them, and its start counts in tenths of a second.
_LATER = {
    "audit": ("Audit", "audit_file"),
    "cloud": ("CloudJob", "cloud_task", "default_bucket"),
    "compare": ("Comparison", "compare_recipes"),
    "feedback": ("FeedbackWork", "plan_feedback"),
    "knobs": ("Knob", "find_knobs"),
    "learning": ("keep_run",),
    "points": ("PointPrediction", "predict_points"),
    "search": (
        "LENGTHS_TOKENS",
        "Choice",
        "Found",
        "Limits",
        "even_stats",
        "find_recipes",
        "least_gib",
        "longest_example",
    ),
    "table": ("Candidate", "CardRow", "card_table"),
    "ways": ("Way", "WaysOut", "ways_out"),
}

__all__ = [
    "LENGTHS_TOKENS",
    "Advice",
    "Audit",
    "Calibration",
    "CalibrationTarget",
    "Candidate",
    "CardRow",
    "ChatPlan",
    "Choice",
    "CloudJob",
    "Comparison",
    "Component",
    "CostPlan",
    "FeedbackWork",
    "Found",
    "Knob",
    "Learned",
    "Limits",
    "Machine",
    "Measured",
    "MemoryPlan",
    "Need",
    "Plan",
    "PointPrediction",
    "Reason",
    "RequirementsPlan",
    "ResolvedSettings",
    "TimePlan",
    "Verdict",
    "Way",
    "WaysOut",
    "audit_file",
    "card_table",
    "cloud_task",
    "compare_recipes",
    "cut_stats",
    "default_bucket",
    "even_stats",
    "example_stats",
    "find_knobs",
    "find_recipes",
    "hardware_for",
    "keep_run",
    "known_facts",
    "known_models",
    "least_gib",
    "load_calibration",
    "longest_example",
    "lora_settings",
    "machine_of",
    "make_plan",
    "num_params",
    "plan_chat",
    "plan_feedback",
    "plan_from_json",
    "predict_points",
    "ways_out",
    "without_display",
]

__getattr__ = offered_later(__name__, _LATER)
