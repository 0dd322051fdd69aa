"""How sure a difference between two models is: paired bootstrap intervals, and what they say.

The unit that is drawn is what happened independently: a conversation, a case. Both models saw the same units, so that
each draw takes the same ones from both (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 8). The
percentile interval is too narrow where units are few; it is widened around the difference as Student's t widens a
normal one (Hesterberg, What Teachers Should Know About the Bootstrap, 2015, section 5.3).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from duologue.errors import DataError
from duologue.evaluate.measure import Better, Measure, MeasureVerdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TAIL = 0.025  # left out on each side: 95% remain
_FEWEST_ALIKE = 6  # units that all differ alike: fewer happen by chance in more than 5% (sign test, 2 / 2**num)
_CHUNK_NUMBERS = 2_000_000  # drawn at once: 16 MB, however many units there are


@dataclass(frozen=True, slots=True)
class Interval:
    """A number of two models, and the 95% interval of their difference.

    Attributes:
        base: The first model's.
        tuned: The second model's.
        low: Lower end of the interval of `tuned - base`; minus infinity for a single unit, which says nothing.
        high: Upper end.
        num: Units that were drawn from.
        draws: Both numbers in every draw; `verdict_of` needs them for `nearer`.
    """

    base: float
    tuned: float
    low: float
    high: float
    num: int
    draws: tuple[tuple[float, ...], tuple[float, ...]] = field(default=((), ()), compare=False, repr=False)


def paired_mean(base: Sequence[float], tuned: Sequence[float], *, seed: int, num_draws: int = 2000) -> Interval:
    """Return both means and the interval of their difference.

    Args:
        base: One value per unit.
        tuned: The same units' values, in the same order.
        seed: Draws are the same for the same seed.
        num_draws: How often all units are drawn, with replacement.

    Raises:
        DataError: There is no unit, the sides differ in length, or a value is not a number.
    """
    return paired_ratio(
        [(value, 1.0) for value in base], [(value, 1.0) for value in tuned], seed=seed, num_draws=num_draws
    )


def paired_ratio(
    base: Sequence[tuple[float, float]], tuned: Sequence[tuple[float, float]], *, seed: int, num_draws: int = 2000
) -> Interval:
    """Return, for both models, the sum of the first numbers over the sum of the second, such as nats over tokens.

    Units in which neither model has anything to count are left out: they would make few others look like many.

    Args:
        base: Numerator and denominator per unit.
        tuned: The same units', in the same order.
        seed: Draws are the same for the same seed.
        num_draws: How often all units are drawn, with replacement. A draw whose denominators sum to zero is left out.

    Raises:
        DataError: There is no unit, the sides differ in length, a value is not a number, or all denominators are zero.
    """
    import numpy as np

    _check(base, tuned)
    rows = [(*one, *other) for one, other in zip(base, tuned, strict=True)]
    values = np.asarray([row for row in rows if any(row)], dtype=float)  # where nothing was counted, nothing was seen
    num = len(values)
    whole = values.sum(axis=0)
    first, second = float(whole[0] / whole[1]), float(whole[2] / whole[3])
    if num == 1:
        return Interval(first, second, -math.inf, math.inf, num)
    rng = np.random.default_rng(seed)
    at_once = max(1, _CHUNK_NUMBERS // num)
    drawn = [
        rng.multinomial(num, [1.0 / num] * num, size=min(at_once, num_draws - at)) @ values
        for at in range(0, num_draws, at_once)
    ]
    sums = np.concatenate(drawn)
    sums = sums[(sums[:, 1] > 0) & (sums[:, 3] > 0)]
    bases, tuneds = sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3]
    low, high = _widened(bases, tuneds, difference=second - first, num=num)
    return Interval(first, second, low, high, num, (tuple(bases.tolist()), tuple(tuneds.tolist())))


def verdict_of(
    interval: Interval, *, better: Better, reference: float | None = None, same_within: float = 0.0
) -> MeasureVerdict:
    """Return what an interval says: `better` or `worse` when it leaves zero, `same` inside the band, else `unclear`.

    Args:
        interval: Of `tuned - base`.
        better: Which direction is better. With `nearer` the interval is that of the distances to `reference`.
        reference: What `nearer` is near to; without it such a measure is only shown.
        same_within: Half the width of the band in which a difference is of no interest, in the measure's own unit. A
            difference that is surely within the band is `same`, also where it is surely not zero.

    Where all units differ by the same the interval has no width: fewer than six of them say nothing.
    """
    if better == "neither" or (better == "nearer" and reference is None):
        return "only shown"
    low, high = interval.low, interval.high
    if better == "nearer" and reference is not None:
        low, high = _distances(interval, reference)
    if low == high != 0 and interval.num < _FEWEST_ALIKE:
        return "unclear"
    if low >= -same_within and high <= same_within:
        return "same"
    if low > 0:
        return "better" if better == "higher" else "worse"
    if high < 0:
        return "worse" if better == "higher" else "better"
    return "unclear"


def make_measure(
    interval: Interval,
    *,
    name: str,
    unit: str,
    better: Better,
    definition: str,
    reference: float | None = None,
    same_within: float = 0.0,
    part: str = "",
    details: dict[str, Any] | None = None,
) -> Measure:
    """Return an interval as a measure with its verdict; ends that are not finite become None.

    Args:
        interval: The numbers.
        name: Group and name.
        unit: Of all numbers.
        better: Which direction is better.
        definition: How it is computed, in a sentence, with its source.
        reference: The same number of the real data.
        same_within: As in `verdict_of`.
        part: What it is about when a measure comes several times.
        details: Further numbers and examples.
    """
    if unit == "share":
        interval = _with_what_was_not_seen(interval)
    return Measure(
        name=name,
        unit=unit,
        better=better,
        base=interval.base,
        tuned=interval.tuned,
        low=interval.low if math.isfinite(interval.low) else None,
        high=interval.high if math.isfinite(interval.high) else None,
        verdict=verdict_of(interval, better=better, reference=reference, same_within=same_within),
        num=interval.num,
        definition=definition,
        reference=reference,
        part=part,
        details=details,
    )


def unmeasured(name: str, *, unit: str, better: Better, definition: str, reason: str, part: str = "") -> Measure:
    """Return a measure without numbers, and why there are none."""
    return Measure(
        name=name,
        unit=unit,
        better=better,
        base=None,
        tuned=None,
        low=None,
        high=None,
        verdict="not measured",
        num=0,
        definition=definition,
        part=part,
        fault=reason,
    )


def _with_what_was_not_seen(interval: Interval) -> Interval:
    """Return the interval of a share, with a width also where all units differed alike and no draw could differ.

    None of n units was otherwise, so fewer than 1 - 0.025 ** (1 / n) of all are, about 3.7 / n (Clopper and Pearson,
    The Use of Confidence or Fiducial Limits, 1934, at no success); and those may differ by anything from -1 to 1.
    """
    if interval.low != interval.high:
        return interval
    unseen = 1 - _TAIL ** (1 / interval.num)
    seen = interval.low * (1 - unseen)
    return replace(interval, low=seen - unseen, high=seen + unseen)


def _check(base: Sequence[tuple[float, float]], tuned: Sequence[tuple[float, float]]) -> None:
    if len(base) != len(tuned):
        raise DataError(
            f"{len(base)} things were seen of the base model and {len(tuned)} of the tuned one", needed="the same ones"
        )
    if not base:
        raise DataError("nothing was seen that could be compared", needed="at least one conversation or case")
    for side in (base, tuned):
        if not all(math.isfinite(number) for pair in side for number in pair):
            raise DataError("a value that was to be compared is not a finite number")
        if any(pair[1] < 0 for pair in side) or not sum(pair[1] for pair in side):
            raise DataError("what was to be divided by sums to zero", needed="at least one scored token or reply")


def _widened(
    bases: "NDArray[np.float64]", tuneds: "NDArray[np.float64]", *, difference: float, num: int
) -> tuple[float, float]:
    """Return the percentile interval, its two arms made longer as few units need it; it holds the difference."""
    import numpy as np

    low, high = (float(end) for end in np.quantile(tuneds - bases, (_TAIL, 1 - _TAIL)))
    factor = _student(num - 1) / -NormalDist().inv_cdf(_TAIL) * math.sqrt(num / (num - 1))
    return difference - max(0.0, difference - low) * factor, difference + max(0.0, high - difference) * factor


def _student(degrees: int) -> float:
    """Return the 97.5% point of Student's t (Abramowitz and Stegun, 26.7.5; the first two are exact)."""
    exact = {1: 12.706, 2: 4.303}
    if degrees in exact:
        return exact[degrees]
    z = -NormalDist().inv_cdf(_TAIL)
    terms: tuple[float, ...] = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(z + sum(term / degrees**power for power, term in enumerate(terms, start=1)))


def _distances(interval: Interval, reference: float) -> tuple[float, float]:
    """Return the interval of |tuned - reference| - |base - reference|.

    Without draws, of an interval that was made otherwise, the base is taken as known and the difference as unknown.
    """
    import numpy as np

    before = abs(interval.base - reference)
    after = abs(interval.tuned - reference)
    if interval.draws[0]:
        bases, tuneds = (np.abs(np.asarray(side) - reference) for side in interval.draws)
        return _widened(bases, tuneds, difference=after - before, num=interval.num)
    ends = [abs(interval.base + end - reference) - before for end in (interval.low, interval.high)]
    crosses = interval.base + interval.low <= reference <= interval.base + interval.high
    return (-before if crosses else min(ends)), max(ends)
