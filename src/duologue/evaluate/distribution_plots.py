"""How long the replies are and how surprising each held-out conversation is, as distributions."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from duologue.evaluate.markup import drawing, legend, section
from duologue.evaluate.plots import AMBER, BLUE, FONT_PIXELS, GRID, INK, SOFT, PageWidth, figure_of, svg_of
from duologue.evaluate.words import escape

FEWEST = 5
"""Replies or conversations that a plot needs; fewer are no distribution."""

_NUM_BINS = 20
_TAIL = 0.98  # of the longest side is drawn to scale; what is longer is in the last bar
_SIDES = (("real", "the real data", INK), ("base", "base model", BLUE), ("tuned", "tuned model", AMBER))
_ROW_PIXELS = 78


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of the replies of one side.

    Attributes:
        title: Whose, how many and how long.
        values: In words.
        colour: Of its bars.
    """

    title: str
    values: tuple[float, ...]
    colour: str


def distributions_section(facts: Mapping[str, Any]) -> str:
    """Return what the evaluation kept of lengths and of surprise; nothing where it kept none.

    Args:
        facts: Of an evaluation; `distributions` holds the numbers, as `distributions.distributions` makes them.
    """
    kept = facts.get("distributions") or {}
    body = _lengths(kept.get("reply_words") or {}) + _surprise(kept.get("bits_per_byte") or {})
    return section("distributions", "Distributions", body) if body else ""


def bins_of(sides: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return the edges of bars that hold 98% of every side's values; their widths are whole and alike."""
    tops = [sorted(values)[math.ceil(_TAIL * len(values)) - 1] for values in sides if values]
    width = max(1, math.ceil((max(tops, default=0) + 1) / _NUM_BINS))
    return tuple(float(width * at) for at in range(_NUM_BINS + 1))


def shares_in(values: Sequence[float], edges: Sequence[float]) -> tuple[float, ...]:
    """Return the share of the values in each bar; what is beyond the last edge is in the last bar."""
    counts = [0] * (len(edges) - 1)
    for value in values:
        counts[min(int((value - edges[0]) / (edges[1] - edges[0])), len(counts) - 1)] += 1
    return tuple(count / len(values) for count in counts)


def draw_lengths(sides: Sequence[Lengths], *, width: PageWidth) -> str:
    """Return a row of bars for each side, one below the other on the same scales, with a line at the median."""
    figure, axes = figure_of(width, height=_ROW_PIXELS * len(sides) + 46, left=2, bottom=42, top=4)
    edges = bins_of([side.values for side in sides])
    heights = [shares_in(side.values, edges) for side in sides]
    highest = max(max(row) for row in heights)
    step = edges[1] - edges[0]
    middles = [edge + step / 2 for edge in edges[:-1]]
    for at, (side, shares) in enumerate(zip(sides, heights, strict=True)):
        floor = len(sides) - 1 - at
        axes.bar(
            middles, [0.7 * share / highest for share in shares], bottom=floor, width=step * 0.86, color=side.colour,
            alpha=0.75,
        )  # fmt: skip
        axes.plot([edges[0], edges[-1]], [floor, floor], color=GRID, linewidth=1)
        median = min(statistics.median(side.values), edges[-1])
        axes.plot([median, median], [floor - 0.04, floor + 0.74], color=INK, linewidth=1.6)
        axes.text(
            edges[0],
            floor + 0.78,
            side.title,
            color=INK,
            fontsize=FONT_PIXELS,
            ha="left",
            va="bottom",
            parse_math=False,
        )
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(-0.06, len(sides))
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=8 if width == "wide" else 4, integer=True)
    axes.set_xlabel("words in a reply", color=SOFT, fontsize=FONT_PIXELS)
    return svg_of(figure, salt=f"lengths-{width}")


def draw_surprise(pairs: Sequence[tuple[float, float]], *, width: PageWidth) -> str:
    """Return each conversation as a dot: across the base model's bits per byte, upwards what the tuned one adds."""
    figure, axes = figure_of(width, height=300 if width == "wide" else 240, left=44, bottom=42)
    looks: dict[bool, dict[str, Any]] = {
        True: {"color": AMBER, "marker": "o"},
        False: {"color": BLUE, "marker": "^", "markerfacecolor": "none"},
    }
    for is_better, look in looks.items():
        found = [(base, tuned - base) for base, tuned in pairs if (tuned < base) == is_better]
        if found:
            x, y = zip(*found, strict=True)
            axes.plot(x, y, linestyle="", markersize=6, alpha=0.8, clip_on=False, **look)
    axes.axhline(0.0, color=INK, linewidth=1.2)
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.set_axisbelow(True)
    axes.spines["bottom"].set_visible(True)
    axes.locator_params(axis="x", nbins=8 if width == "wide" else 4)
    axes.locator_params(axis="y", nbins=5)
    axes.yaxis.set_major_formatter(lambda bits, _: f"{bits:+.2g}".replace("-", "\u2212") if bits else "0")
    axes.set_xlabel("bits per byte of the base model", color=SOFT, fontsize=FONT_PIXELS)
    title = "tuned minus base, bits per byte"
    axes.set_title(title, loc="left", x=-44 / axes.bbox.width, color=SOFT, fontsize=FONT_PIXELS)
    return svg_of(figure, salt=f"surprise-{width}")


def _lengths(kept: Mapping[str, Any]) -> str:
    sides, notes = [], []
    for name, words, colour in _SIDES:
        values, num = kept.get(name, {}).get("values", ()), kept.get(name, {}).get("num", 0)
        if len(values) < FEWEST:
            continue
        title = f"{words}: {num:,} replies, median {statistics.median(values):g} words"
        sides.append(Lengths(title, tuple(values), colour))
        if num > len(values):
            notes.append(f"{words}: {len(values):,} of {num:,} replies, drawn by the seed")
    if not sides:
        return ""
    last = bins_of([side.values for side in sides])[-2]
    text = f"The line is the median. The last bar also holds all that is longer than {last:g} words."
    if notes:
        text += f" Drawn are, of {'; of '.join(notes)}."
    plot = drawing(lambda width: draw_lengths(sides, width=width), label="Distribution of the lengths of replies")
    return f"<h3>Length of the replies</h3>{plot}<p class='note'>{escape(text)}</p>"


def _surprise(kept: Mapping[str, Any]) -> str:
    pairs = [(float(base), float(tuned)) for base, tuned in kept.get("pairs", ())]
    if len(pairs) < FEWEST:
        return ""
    num_better = sum(tuned < base for base, tuned in pairs)
    text = (
        f"Each dot is a held-out conversation. {num_better:,} of {len(pairs):,} lie below the line: they are less "
        "surprising to the tuned model than to the base."
    )
    if kept.get("num", 0) > len(pairs):
        text += f" Drawn are {len(pairs):,} of {kept['num']:,}, by the seed."
    key = legend((("amber", "less surprising than to the base (dots)"), ("blue", "not less (triangles)")))
    plot = drawing(lambda width: draw_surprise(pairs, width=width), label="Bits per byte of held-out conversations")
    return f"<h3>Surprise of each held-out conversation</h3>{key}{plot}<p class='note'>{escape(text)}</p>"
