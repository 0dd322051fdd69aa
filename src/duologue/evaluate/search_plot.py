"""The drawing of a hyper-parameter search: held-out loss by trial and step, and by learning rate. A file of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from duologue.train.search import TrialRecord

_RATE, _RANK = "training.learning_rate", "lora.rank"
_BEST, _START, _OTHER, _INK = "#b45f06", "#1f5fa8", "#9aa3ad", "#333333"


def draw_search(
    path: Path, records: Sequence[TrialRecord], *, best: int, importance: Mapping[str, float] | None = None
) -> None:
    """Write the drawing as SVG.

    Args:
        path: Where to.
        records: The trials.
        best: Number of the trial with the lowest loss; 0 when none finished.
        importance: How much each setting decides; without it there is no third panel.
    """
    panels = 3 if importance else 2
    figure = Figure(figsize=(4.6 * panels, 3.9), dpi=100, layout="constrained")
    axes = figure.subplots(1, panels)
    _curves(axes[0], records, best)
    _rates(axes[1], records, best)
    if importance:
        _bars(axes[2], importance)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tune"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def _curves(axes: Axes, records: Sequence[TrialRecord], best: int) -> None:
    for record in sorted(records, key=lambda one: one.number in (1, best)):
        if not record.points:
            continue
        steps, losses = zip(*record.points, strict=True)
        colour = _colour(record, best)
        is_whole = record.state == "finished"
        axes.plot(steps, losses, color=colour, linewidth=2.2 if colour != _OTHER else 1.1, marker="o", markersize=3)
        if not is_whole:
            axes.plot(steps[-1], losses[-1], color=colour, marker="x", markersize=8)
        axes.annotate(f" {record.number}", (steps[-1], losses[-1]), color=colour, fontsize=9, va="center")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("held-out loss, nats per token")
    axes.set_title("by step; x: ended before its last step", fontsize=10, loc="left", color=_INK)
    axes.grid(axis="y", alpha=0.3)


def _rates(axes: Axes, records: Sequence[TrialRecord], best: int) -> None:
    ranks = [float(record.settings.get(_RANK, 1)) for record in records] or [1.0]
    for record in records:
        if _RATE not in record.settings or not record.points:
            continue
        loss = record.loss if record.loss is not None else min(value for _, value in record.points)
        size = 30 + 120 * float(record.settings.get(_RANK, 1)) / max(ranks)
        colour = _colour(record, best)
        face = colour if record.state == "finished" else "none"
        axes.scatter(record.settings[_RATE], loss, s=size, edgecolors=colour, facecolors=face)
        axes.annotate(f"  {record.number}", (record.settings[_RATE], loss), color=colour, fontsize=9, va="center")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate (the larger, the higher the rank)")
    axes.set_title("orange: best, blue: settings as they were", fontsize=10, loc="left", color=_INK)
    axes.grid(axis="y", alpha=0.3)


def _bars(axes: Axes, importance: Mapping[str, float]) -> None:
    names = sorted(importance, key=lambda name: importance[name])
    axes.barh(names, [importance[name] for name in names], color=_START)
    axes.set_xlim(0, 1)
    axes.set_title("what decides the loss, as a share", fontsize=10, loc="left", color=_INK)


def _colour(record: TrialRecord, best: int) -> str:
    return _BEST if record.number == best else _START if record.number == 1 else _OTHER
