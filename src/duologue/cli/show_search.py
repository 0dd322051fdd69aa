"""Tables of many plans for people: every card, recipes side by side, the best recipes for a card, rows of a CSV."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from duologue.cli.output import Output
from duologue.cli.show_plan import VERDICTS, duration, usd
from duologue.plan import CardRow, Comparison, Found, Limits, Machine, WaysOut

_SHOWN_CHOICES = 8
_WORTH_SHOWING = 0.005  # of a change


def show_cards(out: Output, rows: Sequence[CardRow]) -> None:
    """Print a row for every card: one recipe in detail, several side by side."""
    names = list(dict.fromkeys(row.name for row in rows))
    if len(names) > 1:
        _show_card_recipes(out, rows, names)
        return
    table = Table(box=None, pad_edge=False)
    for name in (names[0], "", "at worst", "has", "weights", "time", "rent"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        needs, has = f"{row.high_gib:.1f} GiB", f"{row.available_gib:.1f}"
        verdict = Text(row.verdict, VERDICTS[row.verdict][1])
        table.add_row(row.gpu, verdict, needs, has, row.quantization, duration(60 * row.hours), usd(row.rent_usd))
    out.say(table)


def _show_card_recipes(out: Output, rows: Sequence[CardRow], names: Sequence[str]) -> None:
    table = Table("card", *names, box=None, pad_edge=False)
    for card in dict.fromkeys(row.gpu for row in rows):
        own = [row for row in rows if row.gpu == card]
        cells = [_card_cell(row) for row in own]
        table.add_row(card, *cells)
    out.say(table)
    out.say("  fits: even at worst; tight: perhaps; no: not even at best. Time is the whole run", style="dim")


def _card_cell(row: CardRow) -> Text:
    time = f" {row.hours:.1f}h" if row.hours >= 1.5 else f" {60 * row.hours:.0f}m"
    return Text(row.verdict if row.verdict == "no" else f"{row.verdict}{time}", VERDICTS[row.verdict][1])


def show_comparison(out: Output, comparison: Comparison, ways: WaysOut) -> None:
    """Print recipes side by side, then what the ways out cost."""
    table = Table("", *comparison.names, box=None, pad_edge=False)
    for line in comparison.lines:
        cells = []
        for cell, change in zip(line.cells, line.change, strict=True):
            is_shown = change is not None and abs(change) > _WORTH_SHOWING
            cells.append(f"{cell.text}  {change:+.0%}" if is_shown else cell.text)
        table.add_row(line.name, *cells)
    out.say(table)
    if not ways.ways:
        return
    out.say("\nThe ways out:", style="bold")
    table = Table("", "recipe", "card", "one run", "once", "per run", box=None, pad_edge=False)
    for way in ways.ways:
        once = usd(way.usd_once) if way.usd_once else ""
        table.add_row(way.name, way.recipe, way.gpu, duration(60 * way.hours), once, usd(way.usd_per_run))
    out.say(table)
    for runs, other in (
        (ways.runs_to_beat_keeping, "keeping the recipe and renting a big card"),
        (ways.runs_to_beat_renting, "switching and renting a small one"),
    ):
        if runs is not None:
            out.say(f"  buying is cheaper than {other} after {runs:,.0f} runs")
    for source in dict.fromkeys(way.price_source for way in ways.ways):
        out.say(f"  prices: {source}", style="dim")


def show_best(
    out: Output,
    found: Found,
    reach: Sequence[dict[str, Any]],
    *,
    machine: Machine,
    limits: Limits,
    free_bytes: int,
) -> None:
    """Print the best recipe, what else is not beaten, and how far named sizes go."""
    display = (free_bytes - machine.available_bytes) / 2**30
    taken = f", {display:.1f} GiB kept for a display" if display else ""
    out.say(f"{machine.name}: {machine.available_bytes / 2**30:.1f} GiB for training{taken}")
    if found.choices:
        _show_choices(out, found)
    else:
        out.say("nothing fits within these limits", style="red")
    out.say(
        f"  {found.num_planned:,} combinations planned: {found.num_too_large:,} too large, "
        f"{found.num_over_deadline:,} over the deadline, {found.num_over_price:,} over the price",
        style="dim",
    )
    out.say(
        "  first comes: more parameters, then more bits, then longer examples, then the higher rank; nobody can "
        "predict quality itself",
        style="dim",
    )
    if limits.max_usd is not None:
        out.say("  the price limit is the rent of the run, or its electricity where no rent is known", style="dim")
    out.say(f"\nHow far other sizes go here (nf4, checkpointing, rank {reach[0]['rank']}, one example at a time):")
    for row in reach:
        out.say(f"  {_reach(row, machine)}")


def show_audit(out: Output, audit: dict[str, Any]) -> None:
    """Print each claim of an audit with its verdict and the arithmetic."""
    colours = {"holds": "green", "partly": "yellow", "false": "red", "unsupported": "magenta"}
    for claim in audit["claims"]:
        out.say(f"{claim['number']}. {claim['says'].strip()}", style="bold")
        out.say(f"   {claim['verdict']}", style=colours[claim["verdict"]])
        for check in (*claim["checks"], *claim["beside"]):
            for line in check["lines"]:
                out.say(f"     {line}", style="dim")
    counts = ", ".join(f"{number} {verdict}" for verdict, number in audit["counts"].items())
    out.say(f"{len(audit['claims'])} claims: {counts}")


def show_points(out: Output, points: Sequence[dict[str, Any]]) -> None:
    """Print a prediction for every row of a table."""
    table = Table("row", "allocated", "reserved", "device", "tokens/s", "", "why", box=None, pad_edge=False)
    for row in points:
        numbers = [row[f"predicted_{name}_gb"] for name in ("allocated", "reserved", "device")]
        speed = row["predicted_tokens_per_s"]
        words, colour = VERDICTS.get(row["verdict"] or "", ("", "white"))
        table.add_row(
            str(row["row"]),
            *("" if number is None else f"{number:.1f} GB" for number in numbers),
            "" if speed is None else f"{speed:,.0f}",
            Text(words, colour),
            str(row["why"]),
        )
    out.say(table)


def _show_choices(out: Output, found: Found) -> None:
    table = Table(
        "model", "size", "weights", "length", "rank", "batch", "at worst", "time", "cost", box=None, pad_edge=False
    )
    shown = found.best_of_each_base()[:_SHOWN_CHOICES]
    for choice in shown:
        table.add_row(
            choice.base.rpartition("/")[2],
            f"{choice.num_params / 1e9:.1f}B",
            "16 bit" if choice.quantization == "none" else choice.quantization,
            f"{choice.max_length_tokens:,}",
            str(choice.rank),
            f"{choice.micro_batch_size} x {choice.gradient_accumulation_steps}",
            f"{choice.high_gib:.1f} GiB",
            duration(60 * choice.hours),
            usd(choice.usd),
        )
    out.say(table)
    rest = len(found.choices) - len(shown)
    out.say(f"  the first of each model; {rest:,} other choices are beaten by none either (--json)", style="dim")
    first = found.choices[0]
    out.say(f"\nThe first, {first.base} ({first.licence}):", style="bold")
    for line in first.overrides:
        out.say(f"  --set {line}")


def _reach(row: dict[str, Any], machine: Machine) -> str:
    name = f"{row['size']} ({row['base']})"
    tokens, attention = row["longest_tokens"], row["longest_tokens_attention_only"]
    if tokens:
        more = f"; {attention:,} with adapters on attention only" if attention > tokens else ""
        return f"{name}: fits with examples of up to {tokens:,} tokens{more}"
    if attention:
        return f"{name}: fits only with adapters on attention, examples of up to {attention:,} tokens"
    has = machine.available_bytes / 2**30
    return f"{name}: does not fit; with 512 tokens it needs up to {row['high_gib_at_512']:.1f} of {has:.1f} GiB"
