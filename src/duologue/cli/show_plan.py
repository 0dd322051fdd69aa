"""A plan for people: verdict, memory as a bar, time, money, system memory and disk, chat, what each setting buys."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from duologue.cli.output import Output
from duologue.plan import ChatPlan, CostPlan, Knob, MemoryPlan, Plan, RequirementsPlan

_BAR_CHARS = 60
_SHOWN_ADVICE = 4
_COLOURS = ("blue", "cyan", "magenta", "yellow", "green", "red", "white", "bright_blue", "bright_cyan")
VERDICTS = {"fits": ("fits", "green"), "tight": ("tight", "yellow"), "no": ("does not fit", "red")}


def show_plan(out: Output, plan: Plan, knobs: Sequence[Knob] = ()) -> None:
    """Print what a run needs and takes, why each automatic setting is what it is, and what would change it."""
    words, colour = VERDICTS[plan.verdict]
    out.say(f"{plan.machine}: {words}{_by_how_much(plan)}", style=colour)
    _show_memory(out, plan.memory)
    _show_time(out, plan)
    _show_cost(out, plan.cost)
    _show_requirements(out, plan.requirements)
    _show_chat(out, plan.chat)
    for reason in (reason for reason in plan.reasons if reason.is_automatic):
        out.say(f"  {reason.setting} = {reason.value}: {reason.why}")
    if plan.advice:
        _show_advice(out, plan)
    elif plan.verdict != "fits":
        out.say("nothing that can be set makes it fit; `duologue plan --best` finds a model that does", style="red")
    if knobs:
        _show_knobs(out, knobs)
    for assumption in plan.assumptions:
        out.say(f"  assumed: {assumption}", style="dim")


def show_notes(out: Output, notes: Sequence[str]) -> None:
    """Print what a plan rests on besides its own assumptions."""
    for note in notes:
        out.say(f"  {note}", style="dim")


def duration(minutes: float) -> str:
    """Return minutes as people say them."""
    if minutes >= 90:
        return f"{minutes / 60:.1f} h"
    return f"{minutes:.1f} min" if minutes >= 1 else f"{minutes * 60:.0f} s"


def usd(amount: float | None) -> str:
    """Return an amount of money; small ones keep their digits."""
    if amount is None:
        return "no price"
    return f"${amount:,.2f}" if amount >= 0.1 or amount == 0 else f"${amount:.2g}"


def _by_how_much(plan: Plan) -> str:
    memory = plan.memory
    needs = f"needs {memory.device_gib:.1f} GiB ({memory.low_gib:.1f} to {memory.high_gib:.1f})"
    has = f"of {memory.available_gib:.1f} GiB"
    if plan.verdict == "fits":
        return f": {needs} {has}; {memory.available_gib - memory.high_gib:.1f} GiB are left even at worst"
    if plan.verdict == "tight":
        return f": {needs} {has}; at worst {memory.high_gib - memory.available_gib:.1f} GiB are missing"
    return f": {needs} {has}; at least {memory.low_gib - memory.available_gib:.1f} GiB are missing"


def _show_memory(out: Output, memory: MemoryPlan) -> None:
    scale = _BAR_CHARS / max(memory.available_gib, memory.device_gib)
    bar, table, filled = Text("  "), Table(box=None, show_header=False, pad_edge=False), 0.0
    for at, component in enumerate(memory.components):
        colour = _COLOURS[at % len(_COLOURS)]
        begin, filled = round(filled * scale), filled + component.gib
        bar.append("█" * (round(filled * scale) - begin), colour)
        table.add_row(Text("  ■", colour), component.name, f"{component.gib:.2f} GiB")
    bar.append("░" * (_BAR_CHARS - round(filled * scale)), "dim")
    if memory.device_gib > memory.available_gib:
        limit = 2 + round(memory.available_gib * scale)
        out.say(f"{'':{limit}}▼ {memory.available_gib:.1f} GiB are free", style="red")
    out.say(bar)
    out.say(table)
    out.say(
        f"memory: {memory.allocated_gib:.1f} GiB allocated by tensors, {memory.reserved_gib:.1f} reserved by torch, "
        f"{memory.device_gib:.1f} on the device ({memory.low_gib:.1f} to {memory.high_gib:.1f})"
    )


def _show_time(out: Output, plan: Plan) -> None:
    time = plan.time
    out.say(
        f"time: {duration(time.total_minutes)} in all ({duration(time.low_minutes)} to {duration(time.high_minutes)}): "
        f"set-up {duration(time.setup_minutes)}, {time.num_steps:,} steps {duration(time.train_minutes)} at "
        f"{time.tokens_per_second:,.0f} tokens/s, measuring {duration(time.eval_minutes)}; "
        f"an epoch takes {duration(plan.minutes_per_epoch)}"
    )


def _show_cost(out: Output, cost: CostPlan) -> None:
    rent = ""
    if cost.rent_usd is not None:
        rent = f", or {usd(cost.rent_usd)} to rent such a card ({usd(cost.rent_usd_per_hour)} per hour)"
    out.say(f"cost: {cost.electricity_kwh:.3f} kWh, {usd(cost.electricity_usd)} of electricity{rent}")
    if cost.break_even_runs is not None:
        resale = f" and selling it for {usd(cost.resale_usd)}" if cost.resale_usd else ""
        out.say(
            f"  buying the card for {usd(cost.card_usd)} ({cost.card_source}){resale} is cheaper than renting after "
            f"{cost.break_even_runs:,.0f} such runs"
        )
    for line in cost.missing:
        out.say(f"  {line}")


def _show_requirements(out: Output, needs: RequirementsPlan) -> None:
    for name, gib, free, is_enough, parts in (
        ("system memory", needs.ram_gib, needs.ram_free_gib, needs.has_enough_ram, needs.ram),
        ("disk", needs.disk_gib, needs.disk_free_gib, needs.has_enough_disk, needs.disk),
    ):
        stages = ", ".join(f"{part.stage} {part.gib:.1f}" for part in parts)
        missing = "" if is_enough else f"; {gib - free:.1f} GiB are missing"
        out.say(
            f"{name}: {gib:.1f} GiB for the run, {free:.1f} free{missing} ({stages})",
            style=None if is_enough else "red",
        )


def _show_chat(out: Output, chats: Sequence[ChatPlan]) -> None:
    for chat in chats:
        name = "as trained" if chat.engine == "hf" else "as GGUF"
        fits = "" if chat.fits else ", does not fit"
        out.say(
            f"chat {name} ({chat.format}): {chat.tokens_per_second:.0f} tokens/s ({chat.low_tokens_per_second:.0f} to "
            f"{chat.high_tokens_per_second:.0f}), first word after {chat.first_token_seconds:.1f} s, "
            f"{chat.total_gib:.1f} GiB with {chat.context_tokens:,} tokens of context{fits}"
        )


def _show_advice(out: Output, plan: Plan) -> None:
    first = plan.advice[0]
    if first.verdict == "fits":
        out.say("\nThe smallest change that makes it fit:", style="bold")
    else:
        out.say("\nNo set of changes makes it fit; `duologue plan --best` finds a model that does. Most helps:")
    enough = [advice for advice in plan.advice if advice.verdict == "fits"]
    for at, advice in enumerate(enough if len(enough) > 1 else plan.advice[:_SHOWN_ADVICE]):
        if at == 1:
            out.say("Others that make it fit:" if len(enough) > 1 else "What else helps a little:")
        words = VERDICTS[advice.verdict][0]
        out.say_to_paste(f"  {advice.set}", style="bold" if at == 0 else None)
        out.say(f"      {words}; {advice.saves_gib:.1f} GiB less, {_signed_minutes(60 * advice.costs_hours)}")
    out.say()


def _show_knobs(out: Output, knobs: Sequence[Knob]) -> None:
    out.say("\nWhat each setting buys, changed alone:", style="bold")
    table = Table("setting", "now", "then", "GiB", "time", "", box=None, pad_edge=False)
    for knob in knobs:
        words, colour = VERDICTS[knob.verdict]
        table.add_row(
            knob.name,
            knob.now,
            knob.then,
            f"{knob.changes_gib:+.2f}",
            _signed_minutes(knob.changes_minutes),
            Text(words, colour),
        )
    out.say(table)
    out.say()


def _signed_minutes(minutes: float) -> str:
    if abs(minutes) < 1 / 60:
        return "same time"
    return f"{'+' if minutes > 0 else '-'}{duration(abs(minutes))}"
