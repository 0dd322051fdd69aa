"""Dots with intervals on a line, as small drawings whose places are percentages: one serves every width and colour."""

from dataclasses import dataclass

_EDGE_PERCENT = 2.0  # room for half a dot on both sides


@dataclass(frozen=True, slots=True)
class Line:
    """What stands on one line, in any unit. What is None is not drawn.

    Attributes:
        base: The base model: a hollow dot.
        tuned: The tuned model: a full dot.
        low: Lower end of the tuned model's interval: a bar.
        high: Upper end.
        real: The real data: an upright stroke.
    """

    base: float | None = None
    tuned: float | None = None
    low: float | None = None
    high: float | None = None
    real: float | None = None

    @property
    def values(self) -> tuple[float, ...]:
        """All values that are drawn."""
        found = (self.base, self.tuned, self.low, self.high, self.real)
        return tuple(value for value in found if value is not None)


def draw_line(line: Line, *, ends: tuple[float, float]) -> str:
    """Return a line as an SVG of the whole width.

    Args:
        line: What stands on it.
        ends: Values at the left and at the right end.
    """

    def at(value: float) -> str:
        return f"{percent_at(value, ends=ends):.2f}%"

    parts = ["<line class='rail' x1='2%' x2='98%' y1='11' y2='11'/>"]
    if line.low is not None and line.high is not None:
        parts.append(f"<line class='span' x1='{at(line.low)}' x2='{at(line.high)}' y1='11' y2='11'/>")
    if line.real is not None:
        parts.append(f"<line class='real' x1='{at(line.real)}' x2='{at(line.real)}' y1='2' y2='20'/>")
    if line.base is not None:
        parts.append(f"<circle class='base' cx='{at(line.base)}' cy='11' r='5'/>")
    if line.tuned is not None:
        parts.append(f"<circle class='tuned' cx='{at(line.tuned)}' cy='11' r='5'/>")
    return f"<svg class='dots' aria-hidden='true'>{''.join(parts)}</svg>"


def percent_at(value: float, *, ends: tuple[float, float]) -> float:
    """Return where a value stands, in percent of the width; what is beyond an end stands at that end."""
    low, high = ends
    share = (value - low) / (high - low) if high > low else 0.5
    return _EDGE_PERCENT + (100 - 2 * _EDGE_PERCENT) * min(1.0, max(0.0, share))


def key_of(*, has_base: bool = True, has_real: bool = True) -> str:
    """Return the legend of such lines."""
    shown = [
        (Line(base=0.5), "base model", has_base),
        (Line(tuned=0.5, low=0.0, high=1.0), "tuned model and the 95% interval of its difference to the base", True),
        (Line(real=0.5), "the real data", has_real),
    ]
    items = "".join(
        f"<li><span class='key'>{draw_line(line, ends=(0, 1))}</span>{words}</li>"
        for line, words, is_shown in shown
        if is_shown
    )
    return f"<ul class='legend dotted'>{items}</ul>"
