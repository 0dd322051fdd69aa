"""Speed by length of context, for each model and engine that was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from duologue.evaluate.markup import drawing, legend, section
from duologue.evaluate.plots import AMBER, BLUE, FONT_PIXELS, GRID, SOFT, PageWidth, figure_of, svg_of
from duologue.evaluate.speeds import WARM
from duologue.evaluate.words import escape

_COLOURS = {"base": BLUE, "tuned": AMBER}
_MARKERS = (("o", "\u25cf"), ("s", "\u25a0"), ("^", "\u25b2"), ("D", "\u25c6"), ("v", "\u25bc"))
_METRICS = (
    ("tokens_per_second", "Tokens per second, after the first", "tokens per second"),
    ("first_token_seconds", "Time to the first token", "seconds"),
)


@dataclass(frozen=True, slots=True)
class Series:
    """What one engine did with one model at each length of context.

    Attributes:
        side: `base` or `tuned`.
        engine: Its name, without the mark of a warm start.
        is_warm: Whether the prompt had been read before.
        points: Length in tokens and value.
    """

    side: str
    engine: str
    is_warm: bool
    points: tuple[tuple[int, float], ...]


def speed_section(facts: Mapping[str, Any]) -> str:
    """Return tokens per second and time to the first token by length of context; nothing where none was measured.

    Args:
        facts: Of an evaluation; `speeds` holds rows for `base` and `tuned`.
    """
    speeds = facts.get("speeds") or {}
    body = ""
    engines: list[str] = []
    has_warm = False
    for metric, heading, unit in _METRICS:
        series = series_of(speeds, metric)
        if not series:
            continue
        engines += [each.engine for each in series if each.engine not in engines]
        has_warm = has_warm or any(each.is_warm for each in series)
        body += f"<h3>{heading}</h3>" + _drawn(series, unit=unit, label=heading)
    if not body:
        return ""
    key = legend((("blue", "base model"), ("amber", "tuned model")))
    names = ", ".join(f"{_MARKERS[at % len(_MARKERS)][1]} {name}" for at, name in enumerate(engines))
    text = f"Engine: {names}. Medians of several rounds."
    if has_warm:
        text += " Dashed: the same prompt once more, when the engine may still know it."
    return section("speed", "Speed", f"{key}{body}<p class='note'>{escape(text)}</p>")


def series_of(speeds: Mapping[str, Sequence[Mapping[str, Any]]], metric: str) -> tuple[Series, ...]:
    """Return what was measured, by model and engine; a 0 means that it was not told."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for side in _COLOURS:
        for row in speeds.get(side, ()):
            if row.get(metric):
                found.setdefault((side, row["engine"]), []).append((row["context_tokens"], row[metric]))
    return tuple(
        Series(side, engine.removesuffix(WARM), engine.endswith(WARM), tuple(sorted(points)))
        for (side, engine), points in found.items()
    )


def draw_speed(series: Sequence[Series], *, unit: str, width: PageWidth, salt: str) -> str:
    """Return a line for each series; the lengths of context stand at equal distances."""
    figure, axes = figure_of(width, height=230 if width == "wide" else 200, left=44, bottom=42)
    lengths = sorted({length for each in series for length, _ in each.points})
    engines = list(dict.fromkeys(each.engine for each in series))
    for each in series:
        marker = _MARKERS[engines.index(each.engine) % len(_MARKERS)][0]
        axes.plot(
            [lengths.index(length) for length, _ in each.points],
            [value for _, value in each.points],
            color=_COLOURS[each.side], linewidth=1.8, linestyle="--" if each.is_warm else "-", marker=marker,
            markersize=7, markerfacecolor="none" if each.is_warm else _COLOURS[each.side], clip_on=False,
        )  # fmt: skip
    axes.set_xlim(-0.15, max(1, len(lengths) - 1) + 0.15)
    axes.set_ylim(bottom=0)
    axes.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths])
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.set_axisbelow(True)
    axes.spines["bottom"].set_visible(True)
    axes.locator_params(axis="y", nbins=5)
    axes.set_xlabel("tokens of context", color=SOFT, fontsize=FONT_PIXELS)
    axes.set_title(unit, loc="left", x=-44 / axes.bbox.width, color=SOFT, fontsize=FONT_PIXELS)
    return svg_of(figure, salt=f"{salt}-{width}")


def _drawn(series: Sequence[Series], *, unit: str, label: str) -> str:
    salt = f"speed-{unit}"
    return drawing(
        lambda width: draw_speed(series, unit=unit, width=width, salt=salt), label=f"{label} by length of context"
    )
