"""The plan of a run on feedback: two replies per pair, one reading of everything by the adapter it starts from."""

import math
from dataclasses import dataclass, replace

from duologue.config import Config
from duologue.data import DataStats
from duologue.engine import Hardware, ModelFacts
from duologue.errors import PlanError
from duologue.plan.calibration import Measured
from duologue.plan.forecast import forecast
from duologue.plan.machine import machine_of
from duologue.plan.plan import Plan, make_plan
from duologue.plan.resolve import Reason
from duologue.plan.time import TimePlan, reading_seconds

_FROM_FIRST = ("micro_batch_size", "gradient_accumulation_steps")


@dataclass(frozen=True, slots=True)
class FeedbackWork:
    """What a run on feedback goes through, in numbers.

    Attributes:
        stats: Token counts; a pair is one example of both its replies, the prompt counted once. Examples that are
            learned again are among them.
        num_corrected: Corrected replies.
        num_others: Pairs, or replies that were liked or not.
        num_reference_tokens: Tokens that the start adapter reads once.
        num_again_tokens: Tokens that are read without learning in every pass over the feedback (`kto`).
        replay_fraction: Examples of the character's own data that a step learns again, per piece of feedback in it.
    """

    stats: DataStats
    num_corrected: int
    num_others: int
    num_reference_tokens: int
    num_again_tokens: int = 0
    replay_fraction: float = 0.0


def plan_feedback(
    config: Config, work: FeedbackWork, facts: ModelFacts, hardware: Hardware, *, measured: Measured | None = None
) -> tuple[Plan, int]:
    """Return the plan, and how many of its steps are on corrected replies.

    Args:
        config: With the rate and the passes of `[feedback]` and the adapter of the start in it.
        work: What is gone through.
        facts: Shape of the base model.
        hardware: What has to hold it.
        measured: Earlier runs on this hardware.

    Raises:
        PlanError: It does not fit, even in the best case.
    """
    first = make_plan(config, work.stats, facts, hardware, measured=measured)
    batch = first.settings.micro_batch_size * first.settings.gradient_accumulation_steps
    epochs = config.training.num_epochs
    sft_steps, other_steps = (_steps(number, batch, epochs) for number in (work.num_corrected, work.num_others))
    wanted = sft_steps + other_steps
    larger = 1.0 + work.replay_fraction  # a step has so many times the examples that the plan of a training counts
    is_free = config.budget.max_minutes == "unlimited"
    allowed = wanted if is_free else min(wanted, max(1, math.floor(first.settings.max_steps / larger)))
    sft_steps = min(sft_steps, math.ceil(sft_steps * allowed / wanted))
    training = config.training.model_copy(
        update={"max_steps": allowed, **{name: getattr(first.settings, name) for name in _FROM_FIRST}}
    )
    config = config.model_copy(update={"training": training})
    plan = make_plan(config, work.stats, facts, hardware, measured=measured)
    whys = {reason.setting: reason.why for reason in first.reasons if reason.setting in _FROM_FIRST}
    whys["max_steps"] = _why_steps(work, batch, epochs, wanted=wanted, allowed=allowed)
    reasons = tuple(Reason(r.setting, r.value, whys.get(r.setting, r.why)) for r in plan.reasons)
    machine = replace(machine_of(hardware), measured=measured)
    workload = forecast(config, work.stats, facts, machine=machine).workload
    speed = plan.learned.speed or 1.0
    before = reading_seconds(workload, machine, num_tokens=work.num_reference_tokens) / speed / 60
    again = reading_seconds(workload, machine, num_tokens=work.num_again_tokens) / speed / 60
    again *= other_steps / max(1, -(-work.num_others // batch)) * allowed / wanted
    again += work.replay_fraction * plan.time.train_minutes
    lines = [f"Before the first step the adapter it starts from reads everything once: {before:.1f} minutes."]
    if work.num_others:
        lines.append("A pair counts as one example of both its replies; their common prompt is read once.")
    if work.replay_fraction:
        lines.append(
            f"Each step learns {round(work.replay_fraction * batch)} examples of the character's own data again."
        )
    plan = replace(
        plan,
        reasons=reasons,
        time=_longer(plan.time, setup=before, train=again),
        assumptions=(*plan.assumptions, *lines),
    )
    _require_room(plan)
    return plan, sft_steps


def _steps(number: int, batch: int, epochs: float) -> int:
    per_epoch = -(-number // batch)
    return max(1, math.ceil(epochs * per_epoch - 1e-9)) if number else 0


def _why_steps(work: FeedbackWork, batch: int, epochs: float, *, wanted: int, allowed: int) -> str:
    passes = "1 pass" if epochs == 1 else f"{epochs:g} passes"
    what = f"{work.num_corrected} corrected replies, then {work.num_others} pairs or single replies"
    why = f"feedback.num_epochs: {passes} over {what}, {batch} a step"
    return why if allowed == wanted else f"{why} would be {wanted}; budget.max_minutes allows {allowed}"


def _longer(time: TimePlan, *, setup: float, train: float) -> TimePlan:
    ratio = (time.total_minutes + setup + train) / time.total_minutes if time.total_minutes else 1.0
    step = (time.train_minutes + train) / time.train_minutes if time.train_minutes else 1.0
    return replace(
        time,
        setup_minutes=time.setup_minutes + setup,
        train_minutes=time.train_minutes * step,
        tokens_per_second=time.tokens_per_second / step,
        total_minutes=time.total_minutes * ratio,
        low_minutes=time.low_minutes * ratio,
        high_minutes=time.high_minutes * ratio,
    )


def _require_room(plan: Plan) -> None:
    if plan.verdict != "no":
        return
    memory = plan.memory
    raise PlanError(
        f"learning from this feedback needs {memory.low_gib:.1f} GiB at least, and {memory.available_gib:.1f} GiB are "
        "free",
        where=plan.machine,
        action="Lower data.max_length_tokens, set training.micro_batch_size to 1, or close other programs.",
    )
