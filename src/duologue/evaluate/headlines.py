"""The three numbers that a report begins with, chosen by a rule that knows no result.

Each place has a list of measures in a fixed order; the first that was measured is taken, whatever it says. So the three
are always how well the held-out replies are foretold, how much the voice is the character's, and what was forgotten.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from duologue.evaluate.measure import Measure
from duologue.evaluate.measure_table import verdict_words
from duologue.evaluate.words import amount, change_interval, escape

PLACES: tuple[tuple[tuple[str, str], ...], ...] = (
    (
        ("language.perplexity", "perplexity of held-out replies"),
        ("language.bits_per_byte", "bits per byte of held-out replies"),
    ),
    (
        ("character.voice_share", "of replies taken for the character's"),
        ("character.voice_auc", "told apart from the real replies (AUC, 0.5 is not)"),
        ("character.facts_kept", "of the card's facts kept"),
        ("character.length_distance", "words off the data's lengths"),
    ),
    (
        ("language.general_rise", "more bits per byte on general texts"),
        ("language.general_perplexity_rise", "more perplexity on general texts"),
    ),
)
"""Names of measures, and what they are called at the head of a report."""

RULE = (
    "Always these, whatever they say: how well held-out replies are foretold, how much the voice is the character's, "
    "and what was forgotten. What was not measured gives way to the next of its kind, or is left out."
)


@dataclass(frozen=True, slots=True)
class Headline:
    """One number at the head of a report.

    Attributes:
        measure: The measure.
        words: What it is called there.
    """

    measure: Measure
    words: str

    @property
    def value(self) -> str:
        """Both models' numbers; a rise over the base has but one."""
        measure = self.measure
        tuned = amount(measure.tuned, measure.unit)
        if measure.name.endswith("_rise"):
            return tuned if (measure.tuned or 0.0) <= 0 else f"+{tuned}"
        return f"{amount(measure.base, measure.unit)} \u2192 {tuned}"

    @property
    def interval(self) -> str:
        """The 95% interval of the difference, in words."""
        measure = self.measure
        ends = change_interval(measure.low, measure.high, measure.unit)
        return ends if measure.low is None else f"difference, 95%: {ends}"


def choose_headlines(measures: Sequence[Measure]) -> tuple[Headline, ...]:
    """Return at most one headline for each of `PLACES`, in that order."""
    measured = {
        measure.name: measure
        for measure in measures
        if not measure.part and measure.base is not None and measure.tuned is not None
    }
    found = (next(((name, words) for name, words in place if name in measured), None) for place in PLACES)
    return tuple(Headline(measured[each[0]], each[1]) for each in found if each is not None)


def headline_tiles(headlines: Sequence[Headline]) -> str:
    """Return headlines as tiles, with the rule they were chosen by; nothing without any."""
    if not headlines:
        return ""
    tiles = "".join(
        f"<div class='tile'><dd>{escape(headline.value)}</dd><dt>{escape(headline.words)}"
        f"<span>{escape(headline.interval)}</span><span>{escape(verdict_words(headline.measure))}</span></dt></div>"
        for headline in headlines
    )
    return f"<dl class='tiles headlines'>{tiles}</dl><p class='rule'>{escape(RULE)}</p>"
