"""The sections of the report: each turns one part of a run into HTML."""

from collections.abc import Mapping, Sequence

from duologue.data import Account, DataStats
from duologue.evaluate.evaluation import Evaluation
from duologue.evaluate.markup import details, drawing, legend, section, table
from duologue.evaluate.plots import LARGEST_RATIO, NUM_PART_COLOURS, Bar, PageWidth, draw_bars, draw_loss, draw_memory
from duologue.evaluate.words import deviation, escape, measure_name, number
from duologue.plan import Plan
from duologue.train import ReplyRecord, StepRecord


def loss_section(
    history: Sequence[StepRecord],
    validation_points: Sequence[tuple[int, float]],
    evaluation: Evaluation,
    *,
    sampled: Sequence[ReplyRecord] = (),
    kept_step: int = 0,
    is_from_base: bool = True,
) -> str:
    """Return the loss curve with the held-out points, the base model's at step 0, and the replies on the way.

    Steps that compare replies have no loss per token; `feedback_section` shows what they did.

    Args:
        history: The steps of the run.
        validation_points: Step and held-out loss in nats per token.
        evaluation: Base and tuned model.
        sampled: Replies that were drawn while the run went.
        kept_step: Step whose adapter was kept; 0 when the last was.
        is_from_base: Whether the base model is what the run began with.
    """
    held_out = dict(validation_points)
    if is_from_base and evaluation.base.loss is not None:
        held_out.setdefault(0, evaluation.base.loss)
    if evaluation.tuned.loss is not None and history:
        held_out.setdefault(kept_step or history[-1].step, evaluation.tuned.loss)
    points = sorted(held_out.items())
    if not history and not points:
        return section("learning", "How it learned", "<p>This run recorded no step.</p>")
    plain = [record for record in history if not record.is_comparison]
    entries = [("blue", "training loss and its moving average")] if plain or not points else []
    entries += [("amber", "held-out loss")] if points else []
    if any(record.is_spike for record in plain):
        entries.append(("ink", "loss spike"))
    key = legend(entries)
    curve = drawing(lambda width: draw_loss(plain, points, width=width), label="Loss by optimizer step")
    words = _loss_words(history, points)
    if kept_step:
        words += f" The adapter is that of step {kept_step:,}, which was best; the run could end early."
    body = key + curve + f"<p class='note'>{words}</p>"
    if sampled:
        rows = [(f"{reply.step:,}", reply.prompt, reply.text, reply.faults or "passes") for reply in sampled]
        body += details("Replies on the way", table(("step", "prompt", "reply", "checks"), rows, numeric_from=None))
    return section("learning", "How it learned", body)


def plan_section(plan: Plan, plan_versus_actual: Mapping[str, Mapping[str, float]], *, learned: str = "") -> str:
    """Return what was predicted and what happened, as bars and as a table, and why each setting was chosen.

    Args:
        plan: What was predicted.
        plan_versus_actual: Predicted and measured value by name, with the plan's `low` and `high` where it gave them.
        learned: What the next plan takes from this run, in words.
    """
    rows, bars = [], []
    for name, pair in plan_versus_actual.items():
        planned, actual = pair["plan"], pair["actual"]
        ratio = actual / planned if planned else None
        label = measure_name(name)
        interval = _interval_words(pair)
        rows.append((label, number(planned), interval, number(actual), deviation(None if ratio is None else ratio - 1)))
        if ratio is not None:
            given = (pair["low"] / planned, pair["high"] / planned) if interval else None
            bars.append(Bar(label, f"{number(actual)} of {number(planned)} planned", ratio, given))
    body = f"<p>{escape(_forecast_words(plan))}</p>"
    if bars:
        mark = "the mark on each bar is the plan" + (
            ", the bracket its interval" if any(b.interval for b in bars) else ""
        )
        entries = [("amber", "measured"), ("ink", mark)]
        if any(bar.ratio > LARGEST_RATIO for bar in bars):
            entries.append(("blue", f"cut off at {LARGEST_RATIO:g} times the plan"))
        body += legend(entries)
        body += drawing(lambda width: draw_bars(bars, width=width), label="Measured as a share of the plan")
    body += table(("measure", "plan", "interval", "measured", "deviation"), rows, numeric_from=1)
    if learned:
        body += f"<p class='note'>{escape(learned)}</p>"
    reasons = [(reason.setting, reason.value, reason.why) for reason in plan.reasons]
    body += details("Why these settings", table(("setting", "value", "why"), reasons, numeric_from=None))
    assumed = "".join(f"<li>{escape(line)}</li>" for line in plan.assumptions)
    body += details("What the plan assumed", f"<ul>{assumed}</ul>")
    return section("plan", "Plan and reality", body)


def memory_section(plan: Plan, *, measured_gib: float | None) -> str:
    """Return the planned memory by component, with the measured peak."""
    memory = plan.memory
    parts = [component.gib for component in memory.components]

    def draw(width: PageWidth) -> str:
        return draw_memory(parts, measured_gib=measured_gib, available_gib=memory.available_gib, width=width)

    rows = "".join(
        f"<tr><td><i class='swatch' style='background:var(--part-{at % NUM_PART_COLOURS})'></i>{escape(part.name)}</td>"
        f"<td class='number'>{part.gib:.3f} GiB</td></tr>"
        for at, part in enumerate(memory.components)
    )
    total = f"<tr class='total'><td>planned</td><td class='number'>{memory.device_gib:.3f} GiB</td></tr>"
    note = (
        f"Planned between {memory.low_gib:.2f} and {memory.high_gib:.2f} GiB of {memory.available_gib:.1f} GiB "
        f"that were free."
    )
    if memory.device_gib > memory.allocated_gib:
        note += " The measured peak counts tensors only, not what the allocator keeps and the driver needs."
    body = drawing(draw, label="Memory by component")
    body += f"<table>{rows}{total}</table><p class='note'>{escape(note)}</p>"
    return section("memory", "Memory", body)


def account_section(account: Account, stats: DataStats, *, learned_by: str = "") -> str:
    """Return what happened to every row of the data.

    Args:
        account: The account of the files.
        stats: Token counts.
        learned_by: The run that learned from these files, where the report's own run learned from feedback.
    """
    kept = (
        f"{account.num_conversations:,} conversations with {account.num_turns:,} replies were kept, "
        f"{account.num_dropped:,} rows were dropped, {account.num_duplicates:,} of them as duplicates."
    )
    whose = f"Learned by run {learned_by}, where this one started" if learned_by else "To learn from"
    tokens = (
        f"{whose}: {stats.num_tokens:,} tokens in {stats.num_train_examples:,} examples; "
        f"{stats.num_trained_tokens:,} of them are the character's own words. "
        f"Held out: {stats.num_validation_tokens:,} tokens in {stats.num_validation_examples:,} examples. "
        f"The longest example has {stats.max_tokens:,} tokens."
    )
    files = [
        (
            f"{_file_name(file.path)} ({file.format})",
            f"{file.num_rows:,}",
            f"{file.num_loaded:,}",
            f"{file.num_dropped:,}",
        )
        for file in account.files
    ]
    body = f"<p>{escape(kept)}</p><p>{escape(tokens)}</p>"
    body += table(("file", "rows", "kept", "dropped"), files, numeric_from=1)
    if account.faults:
        reasons = [(reason, f"{count:,}") for reason, count in account.reasons().items()]
        body += details("What was wrong with rows", table(("reason", "rows"), reasons, numeric_from=1))
    return section("data", "The data", body)


def _loss_words(history: Sequence[StepRecord], points: Sequence[tuple[int, float]]) -> str:
    words = []
    if history:
        minutes = sum(record.seconds for record in history) / 60
        words.append(f"{len(history):,} optimizer steps in {number(minutes)} minutes.")
    compared = [record.step for record in history if record.is_comparison]
    if compared:
        words.append(f"From step {compared[0]:,} on replies were compared, whose loss is not one per token.")
    spikes = [record.step for record in history if record.is_spike]
    if spikes:
        shown = ", ".join(f"{step:,}" for step in spikes[:10]) + (", and later" if len(spikes) > 10 else "")
        words.append(f"The loss spiked at step {shown}.")
    if len(points) > 1:
        best_step, best = min(points, key=lambda point: point[1])
        words.append(f"The held-out loss was lowest at step {best_step:,} ({best:.3f} nats per token).")
        if best_step < points[-1][0]:
            words.append(f"It then rose to {points[-1][1]:.3f}: the later steps did not help.")
    return " ".join(words)


def _interval_words(pair: Mapping[str, float]) -> str:
    return f"{number(pair['low'])} to {number(pair['high'])}" if "low" in pair and "high" in pair else ""


def _forecast_words(plan: Plan) -> str:
    memory = {"fits": "it fits", "tight": "it may just fit", "no": "it does not fit"}[plan.verdict]
    time, cost = plan.time, plan.cost
    price = f"{cost.electricity_usd:.2f}" if cost.electricity_usd >= 0.01 else "less than 0.01"
    words = (
        f"The plan said beforehand: {memory}; {number(time.total_minutes)} minutes in all, between "
        f"{number(time.low_minutes)} and {number(time.high_minutes)}; {price} USD of electricity"
    )
    return f"{words}." if cost.rent_usd is None else f"{words}, or {cost.rent_usd:.2f} USD for such a GPU by the hour."


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]
