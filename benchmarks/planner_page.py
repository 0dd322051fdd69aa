"""The page docs/explanation/planner-accuracy.md: the tables of planner_accuracy.py set into their text."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).parent / "templates" / "planner-accuracy.md"
_NONE = "-"


def render(document: dict[str, Any], summary_lines: Sequence[str]) -> str:
    """Return the page."""
    return TEMPLATE.read_text(encoding="utf-8").format(
        num_rows=document["num_rows"],
        summary="\n".join(summary_lines),
        held_out="\n".join(_held_out(document)),
        verdicts="\n".join(_verdicts(document)),
        not_predicted="\n".join(_not_predicted(document)),
        residuals="\n".join(_residuals(document)),
    )


def _held_out(document: dict[str, Any]) -> Iterator[str]:
    yield _line("rows", "as shipped", "without its source", "without its model")
    yield _rule(4)
    for bar, values in document["summary"]["duologue"].items():
        cells = [f"{values['mean_percent']:.1f}%"]
        for name in ("source", "model"):
            held = document["held_out"][name][bar]
            spread = f"{held['lowest_percent']:+.0f} to {held['highest_percent']:+.0f}"
            cells.append(f"{held['mean_percent']:.1f}% ({spread})")
        yield _line(bar, *cells)


def _verdicts(document: dict[str, Any]) -> Iterator[str]:
    tools = list(document["summary"])
    yield _line("row", "model", "length", "card", "stack", "what happened", *tools)
    yield _rule(6 + len(tools))
    for item in document["verdict_rows"]:
        happened = "out of memory" if item["peak_gb"] == "OOM" else "longest that fits"
        run = (item["model"], item["seq_len"], item["gpu"], item["stack"])
        yield _line(str(item["row"]), *run, happened, *(item[name] or _NONE for name in tools))


def _not_predicted(document: dict[str, Any]) -> Iterator[str]:
    yield _line("row", "model", "source", "why")
    yield _rule(4)
    for item in document["not_predicted"]:
        source = item["source"].partition(" (")[0].partition(" scripts/")[0]
        yield _line(str(item["row"]), item["model"], source[:70], item["why"].removeprefix("no prediction: "))


def _residuals(document: dict[str, Any]) -> Iterator[str]:
    peers = [name for name in document["summary"] if name != "duologue"]
    yield _line("row", "model", "stack", "quantity", "measured", "predicted", "duologue", *peers)
    yield _rule(7 + len(peers))
    for item in document["residuals"]:
        digits = 0 if item["quantity"] == "speed" else 2
        numbers = (f"{item['measured']:.{digits}f}", f"{item['predicted']:.{digits}f}", f"{item['percent']:+.1f}%")
        others = (_NONE if item[name] is None else f"{item[name]:+.1f}%" for name in peers)
        yield _line(str(item["row"]), item["model"], item["stack"], item["quantity"], *numbers, *others)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns
