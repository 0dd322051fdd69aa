"""Each measure over the runs: a line of dots and interval for each run, all runs on the measure's own scale."""

from collections.abc import Sequence
from itertools import groupby

from duologue.evaluate.dots import Line, draw_line, key_of
from duologue.evaluate.measure import Measure
from duologue.evaluate.measure_table import group_title, label_of, verdict_words
from duologue.evaluate.words import amount, escape

_MARGIN = 0.04  # of the span of the values, on both sides


def plots_of(rows: Sequence[tuple[str, Sequence[tuple[str, Measure | None]]]], *, left_out: Sequence[str]) -> str:
    """Return the plots of all measures that some run measured, by group; empty without one.

    Args:
        rows: Group of the measures, and each run's name with its measure; None where it has none.
        left_out: Names of measures that cannot be compared across these runs.
    """
    out = ""
    for group, members in groupby(rows, key=lambda row: row[0]):
        plots = "".join(_plot(runs) for _, runs in members if not _is_of(runs, left_out))
        if plots:
            out += f"<h3>{escape(group_title(group))}</h3>{plots}"
    return f"{key_of()}{out}" if out else ""


def line_of(measure: Measure) -> Line:
    """Return what stands on a run's line; the interval is that of the difference, laid on from the base."""
    if measure.base is None or measure.low is None or measure.high is None:
        return Line(base=measure.base, tuned=measure.tuned, real=measure.reference)
    low, high = measure.base + measure.low, measure.base + measure.high
    return Line(base=measure.base, tuned=measure.tuned, low=low, high=high, real=measure.reference)


def ends_of(lines: Sequence[Line]) -> tuple[float, float]:
    """Return a scale that holds all values of some lines, with a margin."""
    values = [value for line in lines for value in line.values]
    low, high = min(values), max(values)
    margin = _MARGIN * (high - low) or _MARGIN * abs(high) or 1.0
    return low - margin, high + margin


def _is_of(runs: Sequence[tuple[str, Measure | None]], names: Sequence[str]) -> bool:
    return any(measure is not None and measure.name in names for _, measure in runs)


def _plot(runs: Sequence[tuple[str, Measure | None]]) -> str:
    first = next(measure for _, measure in runs if measure is not None)
    lines = [line_of(measure) for _, measure in runs if measure is not None and measure.tuned is not None]
    if not lines:
        return ""
    ends = ends_of(lines)
    items = "".join(_row(name, measure, ends) for name, measure in runs)
    better = {"lower": "lower is better", "higher": "higher is better", "nearer": "nearer to the data is better"}
    words = better.get(first.better, "")
    head = f"{label_of(first)}{f' ({words})' if words else ''}"
    scale = (
        "<div class='axis' aria-hidden='true'>"
        f"<span>{escape(amount(ends[0], first.unit))}</span><span>{escape(amount(ends[1], first.unit))}</span></div>"
    )
    return f"<h4>{escape(head)}</h4><ol class='lines'>{items}</ol>{scale}"


def _row(name: str, measure: Measure | None, ends: tuple[float, float]) -> str:
    if measure is None or measure.tuned is None:
        words = "not in this evaluation" if measure is None else verdict_words(measure)
        return (
            f"<li><span class='name'>{escape(name)}</span><span></span>"
            f"<span class='values'><em>{escape(words)}</em></span></li>"
        )
    values = f"{amount(measure.base, measure.unit)} \u2192 {amount(measure.tuned, measure.unit)}"
    return (
        f"<li><span class='name'>{escape(name)}</span>{draw_line(line_of(measure), ends=ends)}"
        f"<span class='values'>{escape(values)}<em>{escape(verdict_words(measure))}</em></span></li>"
    )
