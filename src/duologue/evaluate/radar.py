"""The radar of measures that are on one scale, see `scales`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from duologue.evaluate.plots import AMBER, BLUE, FONT_PIXELS, GRID, INK, SOFT, PageWidth, figure_of, svg_of
from duologue.evaluate.scales import Spot
from duologue.evaluate.words import title_of

FEWEST_AXES = 3
_RINGS = (0.25, 0.5, 0.75, 1.0)
_LABEL_AT = 1.07  # times the radius
_LINE_PIXELS = 15  # between two labels of a side
_BASE = {"color": BLUE, "linewidth": 1.6, "linestyle": "--", "marker": "o", "markersize": 6, "markerfacecolor": "none"}
_TUNED = {"color": AMBER, "linewidth": 2, "marker": "o", "markersize": 6}
_STROKE = 0.035  # half the length of the data's stroke, in radii


def draw_radar(spots: Sequence[Spot], *, width: PageWidth) -> str:
    """Return the radar: the base dashed, the tuned model filled with its intervals, strokes where the data is.

    Wide pages have the names at the axes. Narrow ones have numbers, those of the list below.
    """
    radius, size = (175, 430) if width == "wide" else (122, 290)
    figure, axes = figure_of(width, height=size, left=2, bottom=2, top=2)
    reach = (axes.bbox.width / 2 / radius, axes.bbox.height / 2 / radius)
    axes.set_xlim(-reach[0], reach[0])
    axes.set_ylim(-reach[1], reach[1])
    axes.set_axis_off()
    num = len(spots)
    for ring in _RINGS:
        _outline(axes, [ring] * num, {"color": GRID, "linewidth": 1})
    for at in range(num):
        axes.plot(*zip((0, 0), corner(at, num, 1.0), strict=True), color=GRID, linewidth=1)
    for ring in (0.5, 1.0):  # no axis points straight up
        axes.text(0, ring, f"{ring:g}", color=SOFT, fontsize=FONT_PIXELS, ha="center", va="center")
    x, y = zip(*_closed([spot.tuned for spot in spots]), strict=True)
    axes.fill(x, y, color=AMBER, alpha=0.12, linewidth=0)
    for at, spot in enumerate(spots):
        if spot.low is not None and spot.high is not None:
            ends = zip(corner(at, num, spot.low), corner(at, num, spot.high), strict=True)
            axes.plot(*ends, color=AMBER, alpha=0.45, linewidth=6, solid_capstyle="butt")
        if spot.real is not None:
            axes.plot(*zip(*_stroke(at, num, spot.real), strict=True), color=INK, linewidth=2)
    _outline(axes, [spot.base for spot in spots], _BASE)
    _outline(axes, [spot.tuned for spot in spots], _TUNED)
    _name_axes(axes, spots, width=width, pixels=_LINE_PIXELS / radius)
    return svg_of(figure, salt=f"radar-{width}")


def corner(at: int, num: int, value: float) -> tuple[float, float]:
    """Return where a value stands on an axis: axes go round as a clock does, half a step from straight up."""
    angle = 2 * math.pi * (at + 0.5) / num
    return value * math.sin(angle), value * math.cos(angle)


def _closed(values: Sequence[float]) -> list[tuple[float, float]]:
    points = [corner(at, len(values), value) for at, value in enumerate(values)]
    return [*points, points[0]]


def _outline(axes: Axes, values: Sequence[float], look: Mapping[str, Any]) -> None:
    x, y = zip(*_closed(values), strict=True)
    axes.plot(x, y, clip_on=False, **look)


def _stroke(at: int, num: int, value: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return both ends of a short line across an axis."""
    x, y = corner(at, num, value)
    along = corner(at, num, 1.0)
    across = (along[1] * _STROKE, -along[0] * _STROKE)
    return (x - across[0], y - across[1]), (x + across[0], y + across[1])


def _name_axes(axes: Axes, spots: Sequence[Spot], *, width: PageWidth, pixels: float) -> None:
    num = len(spots)
    places = [corner(at, num, _LABEL_AT) for at in range(num)]
    if width == "wide":
        places = spread(places, least=pixels)
    for at, (spot, (x, y)) in enumerate(zip(spots, places, strict=True)):
        name = f"{at + 1} {title_of(spot.measure.name)}" if width == "wide" else f"{at + 1}"
        side = "center" if width == "narrow" or abs(x) < 0.02 else "left" if x > 0 else "right"
        axes.text(
            x, y, name, color=INK, fontsize=FONT_PIXELS, ha=side, va="center", clip_on=False, parse_math=False
        )  # fmt: skip


def spread(places: Sequence[tuple[float, float]], *, least: float) -> list[tuple[float, float]]:
    """Return places moved up or down so that those of one side of the middle are at least so far apart in height."""
    moved = list(places)
    for is_right in (True, False):
        side = [at for at, (x, _) in enumerate(places) if (x >= 0) == is_right]
        for sign in (1, -1):  # away from the middle line, above it and below it
            bound = -math.inf
            half = [at for at in side if (places[at][1] >= 0) == (sign > 0)]
            for at in sorted(half, key=lambda at: abs(places[at][1])):
                bound = max(abs(places[at][1]), bound + least)
                moved[at] = (places[at][0], sign * bound)
    return moved
