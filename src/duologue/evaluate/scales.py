"""One scale for measures of different units: 0 is the worst end of a measure, 1 its best.

| unit | better | 1 | 0 |
|---|---|---|---|
| share, distance | higher | all | none |
| share, distance | lower | none | all |
| AUC | lower | 0.5, not told apart | 1, always told apart |
| share | nearer | as in the data | as far from the data as a share can be |
| a mean, such as words | nearer | as in the data | nothing, or without end more: smaller over larger |

What has no such ends, such as a slope or a distance in words, has no place on the scale.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from duologue.evaluate.measure import Measure
from duologue.evaluate.measure_table import group_of, label_of

_SHARES = ("share", "distance")
_MEANS = ("words", "per reply", "per sentence")


@dataclass(frozen=True, slots=True)
class Spot:
    """A measure on the scale from 0 to 1.

    Attributes:
        measure: The measure.
        base: Of the base model.
        tuned: Of the tuned model.
        low: Lower end of the tuned model's 95% interval: that of the difference, laid on from the base; None without.
        high: Upper end.
        real: Of the real data; None where that is not known.
    """

    measure: Measure
    base: float
    tuned: float
    low: float | None
    high: float | None
    real: float | None


def spots_of(measures: Sequence[Measure], *, group: str = "character") -> tuple[tuple[Spot, ...], tuple[str, ...]]:
    """Return the measured ones of a group on the scale, and the labels of those that have no place on it.

    Args:
        measures: In any order, which is kept.
        group: First part of their names.
    """
    spots, left = [], []
    for measure in measures:
        if group_of(measure) != group or measure.base is None or measure.tuned is None:
            continue
        place = scale_of(measure)
        if place is None:
            left.append(label_of(measure))
            continue
        low, high = _interval(measure, measure.base, place)
        real = None if measure.reference is None else place(measure.reference)
        spots.append(Spot(measure, place(measure.base), place(measure.tuned), low, high, real))
    return tuple(spots), tuple(left)


def scale_of(measure: Measure) -> Callable[[float], float] | None:
    """Return what turns a value of a measure into its place on the scale; None where its unit has no two ends."""
    unit, better, reference = measure.unit, measure.better, measure.reference
    if unit in _SHARES and better == "higher":
        return _within
    if unit in _SHARES and better == "lower":
        return lambda value: _within(1 - value)
    if unit == "AUC" and better == "lower":
        return lambda value: _within(2 * (1 - value))
    if better != "nearer" or reference is None:
        return None
    if unit == "share":
        farthest = max(reference, 1 - reference)
        return lambda value: _within(1 - abs(value - reference) / farthest)
    if unit in _MEANS and reference > 0:
        return lambda value: _within(min(value, reference) / max(value, reference))
    return None


def _interval(
    measure: Measure, base: float, place: Callable[[float], float]
) -> tuple[float, float] | tuple[None, None]:
    """Return both ends on the scale; with `nearer` the data's value may lie between them, which is its top."""
    if measure.low is None or measure.high is None:
        return None, None
    ends = (base + measure.low, base + measure.high)
    places = [place(end) for end in ends]
    if measure.better == "nearer" and measure.reference is not None and ends[0] <= measure.reference <= ends[1]:
        places.append(place(measure.reference))
    return min(places), max(places)


def _within(value: float) -> float:
    return min(1.0, max(0.0, value))
