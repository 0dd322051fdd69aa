"""Loss spikes: a step whose loss stands far above those before it."""

import statistics
from collections.abc import Sequence

_WINDOW_STEPS = 50
_FEWEST_STEPS = 10  # before that the loss falls too fast to say what is usual
_DEVIATIONS = 6.0
_LEAST_DEVIATION = 0.02  # of the median: equal losses make no spike of a rounding error


def is_spike(loss: float, before: Sequence[float]) -> bool:
    """Return whether a loss is above the median plus six median absolute deviations of the last 50 steps.

    Args:
        loss: Of the step.
        before: Losses of the steps before it, oldest first.
    """
    recent = before[-_WINDOW_STEPS:]
    if len(recent) < _FEWEST_STEPS:
        return False
    median = statistics.median(recent)
    deviation = statistics.median(abs(value - median) for value in recent)
    return loss > median + _DEVIATIONS * max(deviation, _LEAST_DEVIATION * median)
