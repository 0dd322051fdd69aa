"""Tables for people: the account of the data, a plan, an evaluation."""

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from duologue.cli.output import Output
from duologue.data import Account, DataStats, Fault
from duologue.plan import Plan

_BAR_CHARS = 30
_VERDICTS = {"fits": ("fits", "green"), "tight": ("tight", "yellow"), "no": ("does not fit", "red")}


def show_account(out: Output, account: Account, stats: DataStats | None, cuts: Sequence[Fault] = ()) -> None:
    """Print what was found in the files and what happened to the rows."""
    table = Table("file", "format", "rows", "used", "dropped", box=None, pad_edge=False)
    for file in account.files:
        name = file.path.rsplit("/", 1)[-1]
        table.add_row(escape(name), file.format, str(file.num_rows), str(file.num_loaded), str(file.num_dropped))
    out.say(table)
    out.say(f"{account.num_conversations:,} conversations, {account.num_turns:,} replies by the character")
    if stats is not None:
        share = stats.num_trained_tokens / stats.num_tokens
        out.say(
            f"{stats.num_tokens:,} tokens to train on in {stats.num_train_examples:,} examples, of which "
            f"{stats.num_trained_tokens:,} ({share:.0%}) are the character's own words and are learned"
        )
        held_out = f"{stats.num_validation_tokens:,} tokens in {stats.num_validation_examples:,} examples"
        out.say(f"{held_out} are held out to measure")
    reasons: dict[str, int] = account.reasons()
    for fault in cuts:
        key = f"{fault.reason} ({fault.action})"
        reasons[key] = reasons.get(key, 0) + 1
    for reason, count in reasons.items():
        out.say(f"  {count} x {reason}")
    if not reasons:
        out.say("  nothing was dropped, merged or cut")


def show_plan(out: Output, plan: Plan) -> None:
    """Print verdict, memory by component, time, money, and why each automatic setting is what it is."""
    memory, time, cost = plan.memory, plan.time, plan.cost
    verdict, colour = _VERDICTS[plan.verdict]
    out.say(
        f"{verdict}: needs {memory.device_gib:.1f} GiB "
        f"({memory.low_gib:.1f} to {memory.high_gib:.1f}) of {memory.available_gib:.1f} GiB",
        style=colour,
    )
    table = Table(box=None, show_header=False, pad_edge=False)
    largest = max(component.gib for component in memory.components)
    for component in memory.components:
        bar = "█" * max(1, round(_BAR_CHARS * component.gib / largest)) if component.gib else ""
        table.add_row(f"  {component.name}", f"{component.gib:.2f} GiB", Text(bar, "blue"))
    out.say(table)
    out.say(
        f"time: {_minutes(time.total_minutes)} in all ({_minutes(time.low_minutes)} to {_minutes(time.high_minutes)}): "
        f"set-up {_minutes(time.setup_minutes)}, {time.num_steps:,} steps {_minutes(time.train_minutes)} at "
        f"{time.tokens_per_second:,.0f} tokens/s, measuring {_minutes(time.eval_minutes)}"
    )
    rent = f", or ${cost.rent_usd:,.2f} to rent such a card" if cost.rent_usd is not None else ""
    out.say(f"cost: {cost.electricity_kwh:.3f} kWh, ${cost.electricity_usd:.3f} of electricity{rent}")
    for reason in (reason for reason in plan.reasons if reason.is_automatic):
        out.say(f"  {reason.setting} = {reason.value}: {reason.why}")
    for advice in plan.advice:
        out.say(f"  to save {advice.saves_gib:.1f} GiB: {advice.set} ({advice.costs_hours:+.1f} h)")
    for assumption in plan.assumptions:
        out.say(f"  assumed: {assumption}", style="dim")


def show_evaluation(out: Output, evaluation: dict[str, Any]) -> None:
    """Print held-out perplexity, speed, and the replies side by side."""
    if evaluation["base_perplexity"] is None:
        out.say("no conversation is held out, so perplexity cannot be measured (data.validation_fraction)")
    else:
        out.say(
            f"held-out perplexity: {evaluation['base_perplexity']:.2f} before, "
            f"{evaluation['tuned_perplexity']:.2f} after ({-evaluation['improvement_fraction']:+.0%})"
        )
    speed, first = evaluation["tokens_per_second"]["tuned"], evaluation["first_token_seconds"]["tuned"]
    out.say(f"speed: {speed:.1f} tokens/s, first token after {first:.2f} s")
    table = Table("prompt", "before", "after", show_lines=True)
    for row in evaluation["replies"]:
        table.add_row(*(escape(row[key]) for key in ("prompt", "base", "tuned")))
    out.say(table)


def _minutes(minutes: float) -> str:
    if minutes >= 90:
        return f"{minutes / 60:.1f} h"
    return f"{minutes:.1f} min" if minutes >= 1 else f"{minutes * 60:.0f} s"
