"""Speed and memory by engine and length of context, as they were measured while the models were open."""

from collections.abc import Callable
from typing import Literal

from duologue.evaluate.evaluators import Evaluator
from duologue.evaluate.intervals import unmeasured
from duologue.evaluate.measure import Better, Measure, MeasureVerdict
from duologue.evaluate.observed import Known, Observed, Speed

NOISE = 0.10
"""Fraction by which a repeated timing differs on a quiet machine; a difference within it is `same`."""

_ROUNDS = "Median of several rounds, each with a prompt of its own, so that no kept prompt helps; '(warm)' is the same "
_ROUNDS += "prompt once more. No interval: the rounds of two models are not pairs; within 10% counts as the same."
_ROWS: tuple[tuple[str, str, Better, str, Callable[[Speed], float]], ...] = (
    (
        "speed.first_token",
        "s",
        "lower",
        f"Time from the request to the first token, reading the prompt included. {_ROUNDS}",
        lambda speed: speed.first_token_seconds,
    ),
    (
        "speed.tokens_per_second",
        "tokens/s",
        "higher",
        f"Tokens after the first over the time they took, one reply at a time. {_ROUNDS}",
        lambda speed: speed.tokens_per_second,
    ),
    (
        "speed.peak_memory",
        "GiB",
        "lower",
        "Peak memory up to that length: allocated on the GPU, or resident in this process on a CPU.",
        lambda speed: speed.peak_memory_bytes / 2**30,
    ),
)


def measure(known: Known, base: Observed, tuned: Observed) -> tuple[Measure, ...]:  # noqa: ARG001
    """Return first-token time, decoding speed and memory for each engine and length that either model has."""
    sides = [{(speed.engine, speed.context_tokens): speed for speed in side.speeds} for side in (base, tuned)]
    places = list(dict.fromkeys((*sides[0], *sides[1])))
    if not places:
        reason = "no speed was measured; the suite does not ask for it"
        return tuple(
            unmeasured(name, unit=unit, better=better, definition=definition, reason=reason)
            for name, unit, better, definition, _ in _ROWS
        )
    return tuple(_measure(row, place, sides[0].get(place), sides[1].get(place)) for row in _ROWS for place in places)


def _measure(
    row: tuple[str, str, Better, str, Callable[[Speed], float]],
    place: tuple[str, int],
    base: Speed | None,
    tuned: Speed | None,
) -> Measure:
    name, unit, better, definition, number = row
    first, second = (None if speed is None else number(speed) or None for speed in (base, tuned))  # 0 is: not told
    verdict: MeasureVerdict = "not measured"
    fault = ""
    if first is not None and second is not None:
        verdict = _verdict(first, second, better=better)
    elif first is None and second is None:
        fault = "the engine did not tell"
    else:
        fault = f"measured for the {'tuned' if first is None else 'base'} model only"
        verdict = "only shown"
    return Measure(
        name=name,
        unit=unit,
        better=better,
        base=first,
        tuned=second,
        low=None,
        high=None,
        verdict=verdict,
        num=(first is not None) + (second is not None),
        definition=definition,
        part=f"{place[0]}, {place[1]} tokens",
        fault=fault,
    )


def _verdict(base: float, tuned: float, *, better: Better) -> Literal["better", "worse", "same"]:
    if abs(tuned - base) <= NOISE * base:
        return "same"
    return "better" if (tuned > base) == (better == "higher") else "worse"


EVALUATOR = Evaluator("speed", 1, measure)
