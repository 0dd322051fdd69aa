"""The character measures at a glance: a radar, and the same numbers as dots on lines."""

from collections.abc import Sequence

from duologue.evaluate.dots import Line, draw_line, key_of
from duologue.evaluate.markup import drawing, section
from duologue.evaluate.measure import Measure
from duologue.evaluate.measure_table import label_of, verdict_words
from duologue.evaluate.radar import FEWEST_AXES, draw_radar
from duologue.evaluate.scales import Spot, spots_of
from duologue.evaluate.words import amount, escape

_SCALE = (
    "Measures of different units stand on one scale: 0 is the worst end of each, 1 the best. Shares where more is "
    "better stand as they are; where less is better, as what is left to one; an AUC of 0.5, which is not told apart, "
    "is 1. Where nearest to the data is best, the data is 1: a share loses by its distance over the largest distance "
    "there can be, a mean (words, per reply, per sentence) is the smaller of model and data over the larger. The bar "
    "is the 95% interval of the difference between the models, laid on from the base; the verdict beside it says what "
    "that means."
)


def character_section(measures: Sequence[Measure]) -> str:
    """Return the radar of the character measures with their intervals and a line of dots for each.

    Nothing without a measured one; no radar with fewer than three.

    Args:
        measures: All measures.
    """
    ordered = sorted(measures, key=lambda measure: (measure.name, measure.part))
    spots, left = spots_of(ordered)
    if not spots:
        return ""
    radar = ""
    if len(spots) >= FEWEST_AXES:
        label = "Radar of the character measures; the list below says the same in numbers"
        radar = drawing(lambda width: draw_radar(spots, width=width), label=label)
    rows = "".join(_row(number, spot) for number, spot in enumerate(spots, start=1))
    head = "<div class='axis' aria-hidden='true'><span>0, worst</span><span>1, best</span></div>"
    note = f"<p class='note'>{escape(_SCALE)}</p>"
    if left:
        note += f"<p class='note'>Without two ends, so not drawn here: {escape(', '.join(left))}.</p>"
    key = key_of(has_real=any(spot.real is not None for spot in spots))
    return section("character", "Character", f"{key}{radar}<ol class='lines'>{rows}</ol>{head}{note}")


def _row(number: int, spot: Spot) -> str:
    measure = spot.measure
    line = Line(base=spot.base, tuned=spot.tuned, low=spot.low, high=spot.high, real=spot.real)
    real = "" if measure.reference is None else f"; data {amount(measure.reference, measure.unit)}"
    values = f"{amount(measure.base, measure.unit)} \u2192 {amount(measure.tuned, measure.unit)}{real}"
    return (
        f"<li><span class='name'>{number} {escape(label_of(measure))}</span>"
        f"{draw_line(line, ends=(0.0, 1.0))}"
        f"<span class='values'>{escape(values)}<em>{escape(verdict_words(measure))}</em></span></li>"
    )
