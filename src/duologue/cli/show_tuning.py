"""A search for people: a line per trial, the table, and what the comparison at the end says."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from duologue.cli.output import Output
from duologue.cli.show_plan import duration
from duologue.train.search import TrialRecord


def trial_sentence(record: TrialRecord) -> str:
    """Return how a trial went, in a line."""
    settings = ", ".join(f"{key.partition('.')[2]} {value:g}" for key, value in record.settings.items())
    shown = f"held-out loss {record.loss:.4f}" if record.loss is not None else _why(record)
    return f"trial {record.number}: {settings}: {shown} ({duration(record.seconds / 60)})"


def show_trials(out: Output, records: Sequence[TrialRecord], *, best: int) -> None:
    """Print all trials, the best first, then what was ended, then what failed."""
    keys = list(records[0].settings) if records else []
    table = Table("trial", *(key.partition(".")[2] for key in keys), "held-out loss", "steps", "time", "", box=None)
    for record in sorted(records, key=lambda one: (one.loss is None, one.loss or 0.0, one.number)):
        loss = record.loss if record.loss is not None else record.points[-1][1] if record.points else None
        step = record.points[-1][0] if record.points else 0
        marks = [word for word, holds in (("best", record.number == best), ("as it was", record.number == 1)) if holds]
        table.add_row(
            str(record.number),
            *(f"{record.settings[key]:g}" if key in record.settings else "" for key in keys),
            "" if loss is None else f"{loss:.4f}",
            f"{step}/{record.max_steps}" if record.max_steps else "",
            duration(record.seconds / 60),
            ", ".join(marks) or ("" if record.state == "finished" else _why(record)),
        )
    out.title("The trials")
    out.say(table)


def show_comparison(out: Output, result: dict[str, Any]) -> None:
    """Print what the winner is worth on conversations that did not choose it."""
    found = result["comparison"]
    if found is not None:
        low, high = found["low"], found["high"]
        ends = f" (95%: {low:+.4f} to {high:+.4f})" if low is not None else ""
        out.say(
            f"on {found['num_conversations']} held-out conversations that chose nothing: {found['start']:.4f} before, "
            f"{found['best']:.4f} with the best, {found['best'] - found['start']:+.4f} nats per token{ends}"
        )
    out.say(result["verdict"], style="bold")
    if result["importance"]:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in result["importance"].items())
        out.say(f"what decided the loss: {shares}")


def _why(record: TrialRecord) -> str:
    return f"{record.state}: {record.note}" if record.note else record.state
