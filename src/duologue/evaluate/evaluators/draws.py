"""Bootstrap of numbers that are no ratio of sums, such as distances of distributions and slopes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from duologue.evaluate.intervals import Interval, _widened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Statistic = Callable[[Numbers], Numbers]

NUM_DRAWS = 2000


def drawn_interval(base: "Numbers", tuned: "Numbers", statistic: "Statistic", *, seed: int) -> Interval:
    """Return a number of both models and the interval of its difference.

    Args:
        base: A row for each unit, of numbers that add up over units, such as a histogram.
        tuned: The same of the tuned model, for the same units.
        statistic: Takes sums over units, one row each, and returns one number per row.
        seed: Of the draws.
    """
    import numpy as np

    num = len(base)
    one = np.ones((1, num))
    first, second = float(statistic(one @ base)[0]), float(statistic(one @ tuned)[0])
    weights = draw_weights(num, seed=seed)
    return interval_of(first, second, (statistic(weights @ base), statistic(weights @ tuned)), num=num)


def draw_weights(num_units: int, *, seed: int) -> "Numbers":
    """Return how often each unit is drawn, one row per draw."""
    import numpy as np

    rng = np.random.default_rng(seed)
    drawn: Numbers = rng.multinomial(num_units, [1.0 / num_units] * num_units, size=NUM_DRAWS).astype(np.float64)
    return drawn


def interval_of(base: float, tuned: float, draws: "tuple[Numbers, Numbers]", *, num: int) -> Interval:
    """Return the interval of numbers that were drawn; draws in which one could not be computed are left out."""
    import numpy as np

    if num == 1:
        return Interval(base, tuned, -np.inf, np.inf, num)
    usable = np.isfinite(draws[0]) & np.isfinite(draws[1])
    bases, tuneds = draws[0][usable], draws[1][usable]
    low, high = _widened(bases, tuneds, difference=tuned - base, num=num)
    return Interval(base, tuned, low, high, num, (tuple(bases.tolist()), tuple(tuneds.tolist())))
