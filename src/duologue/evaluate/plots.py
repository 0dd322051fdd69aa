"""The report's drawings as SVG texts that take their colours and fonts from the page around them.

matplotlib draws with marker colours; they are replaced by CSS variables, so one drawing serves light and dark mode.
Sizes are CSS pixels at scale 1, which is why every drawing exists for wide and for narrow pages.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from duologue.train import StepRecord

PageWidth = Literal["wide", "narrow"]
NUM_PART_COLOURS = 8
_PIXELS: dict[PageWidth, int] = {"wide": 880, "narrow": 312}
INK, SOFT, GRID, BLUE, AMBER, TRACK = "#010101", "#010102", "#010103", "#010104", "#010105", "#010106"
PARTS = tuple(f"#0102{at:02x}" for at in range(NUM_PART_COLOURS))
_CSS = {INK: "ink", SOFT: "soft", GRID: "grid", BLUE: "blue", AMBER: "amber", TRACK: "track"} | {
    colour: f"part-{at}" for at, colour in enumerate(PARTS)
}
FONT_PIXELS = 12
_MAX_POINTS = 400  # more than a screen shows
LARGEST_RATIO = 2.5  # bars of more than this many times the plan are cut


@dataclass(frozen=True, slots=True)
class Bar:
    """One predicted value and what was measured, as texts and as a ratio.

    Attributes:
        label: What is measured, with its unit.
        value: Both values as a text.
        ratio: Measured over planned.
        interval: The plan's own interval over the planned value; None when it gave none.
    """

    label: str
    value: str
    ratio: float
    interval: tuple[float, float] | None = None


def draw_loss(steps: Sequence[StepRecord], held_out: Sequence[tuple[int, float]], *, width: PageWidth) -> str:
    """Return the training loss per step, its moving average, the spikes, and the held-out loss."""
    figure, axes = figure_of(width, height=300 if width == "wide" else 230, left=44, bottom=40)
    points = _thinned([(record.step, record.loss) for record in steps])
    if points:
        at, losses = zip(*points, strict=True)
        axes.plot(at, losses, color=BLUE, alpha=0.35, linewidth=1)
        axes.plot(at, _smoothed(losses), color=BLUE, linewidth=2.2)
    if spikes := [(record.step, record.loss) for record in steps if record.is_spike]:
        axes.plot(*zip(*spikes, strict=True), color=INK, linestyle="", marker="^", markersize=5, clip_on=False)
    if held_out:
        axes.plot(*zip(*held_out, strict=True), color=AMBER, linewidth=1.6, marker="o", markersize=6, clip_on=False)
    axes.set_xlim(left=0, right=max([1, *(step for step, _ in [*points, *held_out])]))
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.set_axisbelow(True)
    axes.spines["bottom"].set_visible(True)
    axes.locator_params(axis="x", integer=True, nbins=8 if width == "wide" else 4)
    axes.locator_params(axis="y", nbins=5)
    axes.set_xlabel("optimizer step", color=SOFT, fontsize=FONT_PIXELS)
    axes.set_title("nats per token", loc="left", x=-44 / axes.bbox.width, color=SOFT, fontsize=FONT_PIXELS)
    return svg_of(figure, salt=f"loss-{width}")


def draw_series(points: Sequence[tuple[int, float]], *, title: str, is_share: bool, width: PageWidth) -> str:
    """Return one value by step, with its moving average and a line where it says nothing.

    Args:
        points: Step and value.
        title: What it is, with its unit.
        is_share: From 0 to 1, where a half says nothing; else nothing is 0.
        width: For which page.
    """
    figure, axes = figure_of(width, height=200, left=44, bottom=40)
    points_at = _thinned(points)
    at, values = zip(*points_at, strict=True)
    axes.axhline(0.5 if is_share else 0.0, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot(at, values, color=BLUE, alpha=0.35, linewidth=1, marker="o", markersize=2.5, clip_on=False)
    axes.plot(at, _smoothed(values), color=BLUE, linewidth=2.2)
    axes.set_xlim(points[0][0], max(points[0][0] + 1, points[-1][0]))
    if is_share:
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.set_axisbelow(True)
    axes.spines["bottom"].set_visible(True)
    axes.locator_params(axis="x", integer=True, nbins=8 if width == "wide" else 4)
    axes.locator_params(axis="y", nbins=5)
    axes.set_xlabel("optimizer step", color=SOFT, fontsize=FONT_PIXELS)
    axes.set_title(title, loc="left", x=-44 / axes.bbox.width, color=SOFT, fontsize=FONT_PIXELS)
    return svg_of(figure, salt=f"{title}-{width}")


def draw_bars(bars: Sequence[Bar], *, width: PageWidth) -> str:
    """Return one bar per measure, its length the measured share of the plan, with a line where the plan stands.

    A bracket around that line shows the interval that the plan gave.
    """
    row = 52
    figure, axes = figure_of(width, height=row * len(bars), left=2, bottom=2, top=2)
    ends = [end for bar in bars for end in (bar.ratio, bar.interval[1] if bar.interval else 1.0)]
    right = max(1.3, min(LARGEST_RATIO, max(ends)) * 1.05)
    for at, bar in enumerate(bars):
        middle = row * at + 34
        shown = min(bar.ratio, LARGEST_RATIO)
        axes.barh(middle, right, height=16, color=TRACK)
        axes.barh(middle, shown, height=16, color=AMBER if shown == bar.ratio else BLUE)
        axes.plot([1.0, 1.0], [middle - 11, middle + 11], color=INK, linewidth=1.6)
        if bar.interval is not None:
            low, high = bar.interval[0], min(bar.interval[1], right)
            below = middle + 14
            axes.plot([low, low, high, high], [below - 3, below, below, below - 3], color=INK, linewidth=1.0)
        _write(axes, (0, middle - 15), bar.label, colour=INK)
        _write(axes, (right, middle - 15), bar.value, align="right")
    axes.set_xlim(0, right)
    axes.set_ylim(row * len(bars), 0)
    axes.set_axis_off()
    return svg_of(figure, salt=f"bars-{width}")


def draw_memory(parts: Sequence[float], *, measured_gib: float | None, available_gib: float, width: PageWidth) -> str:
    """Return the planned memory as one stacked bar.

    Args:
        parts: GiB of each component, in the colours `part-0`, `part-1`, ...
        measured_gib: The measured peak, drawn as a line across the bar.
        available_gib: How far the bar could grow; drawn as its track.
        width: For which page.
    """
    figure, axes = figure_of(width, height=108, left=2, bottom=28, top=30)
    right = 1.15 * max(sum(parts), measured_gib or 0.0)
    axes.barh(0, min(available_gib, right), height=1.0, color=TRACK)
    start = 0.0
    for at, gib in enumerate(parts):
        axes.barh(0, gib, left=start, height=1.0, color=PARTS[at % NUM_PART_COLOURS])
        start += gib
    if measured_gib is not None:
        axes.plot([measured_gib, measured_gib], [-0.5, 0.78], color=INK, linewidth=1.6, clip_on=False)
        align: Literal["left", "right"] = "right" if measured_gib > right / 2 else "left"
        label = f"measured peak {measured_gib:.2f} GiB"
        _write(axes, (measured_gib, 0.86), label, colour=INK, align=align)
    axes.set_xlim(0, right)
    axes.set_ylim(-0.62, 0.62)
    axes.spines["bottom"].set_visible(True)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=8 if width == "wide" else 4)
    axes.xaxis.set_major_formatter(lambda gib, _: f"{gib:g} GiB" if gib else "0")
    return svg_of(figure, salt=f"memory-{width}")


def figure_of(width: PageWidth, *, height: int, left: int, bottom: int, top: int = 26) -> tuple[Figure, Axes]:
    """Return a figure of so many CSS pixels with margins in pixels."""
    across = _PIXELS[width]
    figure = Figure(figsize=(across / 72, height / 72), dpi=72)
    right = min(left, 10)
    box = (left / across, bottom / height, (across - left - right) / across, (height - bottom - top) / height)
    axes = figure.add_axes(box)
    for spine in axes.spines.values():
        spine.set_visible(False)
        spine.set_color(GRID)
    axes.tick_params(colors=SOFT, labelsize=FONT_PIXELS, length=0, pad=8)
    return figure, axes


def _write(
    axes: Axes, at: tuple[float, float], text: str, *, colour: str = SOFT, align: Literal["left", "right"] = "left"
) -> None:
    axes.text(*at, text, color=colour, ha=align, va="bottom", clip_on=False, fontsize=FONT_PIXELS)


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """Return at most `_MAX_POINTS` points, each the mean of its neighbours."""
    size = -(-len(points) // _MAX_POINTS) or 1
    groups = [points[at : at + size] for at in range(0, len(points), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in groups]


def _smoothed(values: Sequence[float]) -> list[float]:
    """Return the centred moving average over a fifteenth of the curve."""
    reach = max(1, len(values) // 30)
    windows = [values[max(0, at - reach) : at + reach + 1] for at in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def svg_of(figure: Figure, *, salt: str) -> str:
    """Return the figure as an inline SVG without ids, sizes and colours of its own, and without any address."""
    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # inside a page it would style the page
    text = re.sub(r"font-family: [^;]*;", "", text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    view_box = re.search(r'viewBox="[^"]*"', text)
    assert view_box is not None, "matplotlib always writes a viewBox"
    text = f"<svg {view_box[0]} aria-hidden='true'>" + text[text.index(">") + 1 :]
    for colour, name in _CSS.items():
        text = text.replace(colour, f"var(--{name})")
    return text.strip()
