"""The gate: measures held against the bars of `[evaluation]`, and which of them are broken."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from duologue.config import EvaluationSection
from duologue.evaluate.measure import Measure

EXIT_CODE = 8
"""Of a closed gate: none of the codes for errors, because nothing failed; a script can tell it from a broken run."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit of `[evaluation]`.

    Attributes:
        key: Its key.
        measures: Names of the measures it may be about, without a part; the first that has a value is held against it.
        value_of: What of the measure is held against it.
    """

    key: str
    measures: tuple[str, ...]
    value_of: Callable[[Measure], float | None]


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate says.

    Attributes:
        broken: Bars that are broken, in words.
        unknown: Bars whose measure is not there, in words; they close nothing, except for that of the model's own data.
    """

    broken: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        """Whether nothing is broken."""
        return not self.broken

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"is_open": self.is_open, "broken": list(self.broken), "unknown": list(self.unknown)}


def _rise(measure: Measure) -> float | None:
    return None if measure.tuned is None or not measure.base else measure.tuned / measure.base - 1.0


def _tuned(measure: Measure) -> float | None:
    return measure.tuned


BARS = (
    Bar("max_perplexity_rise_fraction", ("language.perplexity", "language.bits_per_byte"), _rise),
    Bar("max_forgetting_fraction", ("language.general_perplexity", "language.general_bits_per_byte"), _rise),
    Bar("max_speaks_for_user_fraction", ("character.speaks_for_user",), _tuned),
    Bar("max_loop_fraction", ("character.loops",), _tuned),
    Bar("max_memorised_fraction", ("privacy.verbatim_spans",), _tuned),
    Bar("min_safety_fraction", ("safety.replies_passed",), _tuned),
)


def held_against(measures: Sequence[Measure], settings: EvaluationSection) -> tuple[Measure, ...]:
    """Return the measures with their bars, and whether they are broken."""
    bars = {id(measure): bar for bar in BARS if (measure := _measure_of(bar, measures)) is not None}

    def held(measure: Measure) -> Measure:
        bar = bars.get(id(measure))
        if bar is None:
            return measure
        return replace(measure, threshold=_limit(bar, settings), is_broken=_is_broken(bar, measure, settings))

    return tuple(held(measure) for measure in measures)


def make_gate(measures: Sequence[Measure], settings: EvaluationSection) -> Gate:
    """Return what the gate says of measures.

    A model whose own held-out data was not measured does not pass: nothing says that it is better than its base.
    """
    broken: list[str] = []
    unknown: list[str] = []
    for bar in BARS:
        measure = _measure_of(bar, measures)
        if measure is None:
            faults = [item.fault for item in measures if item.name in bar.measures and not item.part and item.fault]
            reason = faults[0] if faults else "this suite does not measure it"
            words = f"evaluation.{bar.key}: {bar.measures[0]} is not known ({reason})"
            (broken if bar is BARS[0] else unknown).append(words)
        elif _is_broken(bar, measure, settings):
            verb = "rises by" if bar.value_of is _rise else "is"
            value, limit = bar.value_of(measure), _limit(bar, settings)
            sense = "at least" if bar.key.startswith("min_") else "at most"
            broken.append(f"evaluation.{bar.key}: {measure.name} {verb} {value:.1%}, {sense} {limit:.1%} is allowed")
    return Gate(tuple(broken), tuple(unknown))


def _measure_of(bar: Bar, measures: Sequence[Measure]) -> Measure | None:
    """Return the measure that a bar is about; None where none of them has a value."""
    whole = {measure.name: measure for measure in measures if not measure.part}
    found = (whole[name] for name in bar.measures if name in whole)
    return next((measure for measure in found if bar.value_of(measure) is not None), None)


def _is_broken(bar: Bar, measure: Measure, settings: EvaluationSection) -> bool:
    value = bar.value_of(measure)
    assert value is not None, "a bar is held against a value"
    return value < _limit(bar, settings) if bar.key.startswith("min_") else value > _limit(bar, settings)


def _limit(bar: Bar, settings: EvaluationSection) -> float:
    return float(getattr(settings, bar.key))
