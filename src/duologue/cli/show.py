"""Tables for people: the account of the data, an evaluation."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from rich.markup import escape
from rich.table import Table

from duologue.cli.output import Output
from duologue.data import Account, DataStats, TokenCounts

_SHOWN_REASONS = 20


def show_account(out: Output, account: Account, stats: DataStats | None) -> None:
    """Print what was found in the files and what happened to the rows and the tokens."""
    table = Table("file", "format", "rows", "used", "dropped", box=None, pad_edge=False)
    for file in account.files:
        name = file.path.rsplit("/", 1)[-1]
        counts = (f"{number:,}" for number in (file.num_rows, file.num_loaded, file.num_dropped))
        table.add_row(escape(name), file.format, *counts)
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
    elif account.tokens is not None and account.tokens.total:
        _show_tokens(out, account.tokens)
    _show_duplicates(out, account)
    if account.personal_data:
        found = ", ".join(f"{count:,} x {kind}" for kind, count in account.personal_data.items())
        out.say(f"personal data: {found}")
    reasons = account.reasons()
    for reason, count in islice(reasons.items(), _SHOWN_REASONS):
        out.say(f"  {count:,} x {reason}")
    if len(reasons) > _SHOWN_REASONS:
        out.say(f"  and {len(reasons) - _SHOWN_REASONS} more kinds")
    if not reasons:
        out.say("  nothing was dropped, merged or cut")


def _show_tokens(out: Output, tokens: TokenCounts) -> None:
    about = "about " if tokens.are_estimated else ""
    share = tokens.trained / tokens.total
    out.say(
        f"{about}{tokens.total:,} tokens of {tokens.tokenizer}, of which {about}{tokens.trained:,} ({share:.0%}) are "
        "the character's own words and would be learned"
    )


def _show_duplicates(out: Output, account: Account) -> None:
    duplicates = account.duplicates
    if duplicates.exact or duplicates.near:
        out.say(
            f"{duplicates.exact:,} conversations occur twice, {duplicates.near:,} are nearly equal to another "
            f"({duplicates.groups:,} groups, each in one split)"
        )


def show_evaluation(out: Output, evaluation: dict[str, Any]) -> None:
    """Print the verdict, held-out perplexity, speed, all measures, and the replies side by side."""
    if evaluation["base_perplexity"] is None:
        out.say("no conversation is held out, so perplexity cannot be measured (data.validation_fraction)")
    else:
        out.say(
            f"held-out perplexity: {evaluation['base_perplexity']:.2f} before, "
            f"{evaluation['tuned_perplexity']:.2f} after ({-evaluation['improvement_fraction']:+.0%})"
        )
    speed, first = evaluation["tokens_per_second"]["tuned"], evaluation["first_token_seconds"]["tuned"]
    if speed is not None and first is not None:
        out.say(f"speed: {speed:.1f} tokens/s, first token after {first:.2f} s")
    measures = evaluation.get("measures", ())
    if measured := [measure for measure in measures if not measure["fault"]]:
        out.say(_measure_table(measured))
    reasons: dict[str, list[str]] = {}
    for measure in measures:
        if measure["fault"]:
            reasons.setdefault(measure["fault"], []).append(_label(measure))
    for reason, names in reasons.items():
        out.say(f"  not measured, because {reason}: {', '.join(names)}")
    for fault in evaluation.get("faults", ()):
        out.say(f"  {fault}")
    if evaluation["replies"]:
        table = Table("prompt", "before", "after", show_lines=True)
        for row in evaluation["replies"]:
            table.add_row(*(escape(row[key]) for key in ("prompt", "base", "tuned")))
        out.say(table)


def show_gate(out: Output, documents: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Print, for each run, whether the gate is open, and what is broken or not known."""
    for name, document in documents:
        gate = document["gate"]
        out.say(f"gate, {escape(name)}: {'open' if gate['is_open'] else 'closed'}")
        for words in gate["broken"]:
            out.say(f"  broken: {escape(words)}")
        for words in gate["unknown"]:
            out.say(f"  not known: {escape(words)}")


def _measure_table(measures: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("measure", "base", "tuned", "difference, 95%", "", "verdict"):
        table.add_column(heading, overflow="fold")
    group = ""
    for measure in measures:
        if group != (group := measure["name"].partition(".")[0]):
            table.add_row(group, style="bold")
        low, high = measure["low"], measure["high"]
        ends = "" if low is None or high is None else f"{low:+.3g} to {high:+.3g}"
        verdict = measure["verdict"]
        if measure["is_broken"]:
            verdict = f"{verdict}, OVER THE LIMIT {measure['threshold']:g}"
        name = _label(measure).removeprefix(f"{group}.")
        unit = "" if measure["unit"] == "share" else measure["unit"]
        cells = (f" {name}", _number(measure["base"]), _number(measure["tuned"]), ends, unit, verdict)
        table.add_row(*(escape(cell) for cell in cells))
    return table


def _label(measure: dict[str, Any]) -> str:
    return f"{measure['name']} ({measure['part']})" if measure["part"] else str(measure["name"])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
