"""How far a run on feedback goes: as far as the loss on held-out conversations allows."""

import math
from collections.abc import Callable, Sequence

import torch

from duologue.engine.hf.fit import Fit
from duologue.engine.hf.preferences.start import put_start
from duologue.engine.job import Adapter, Event

_AIM = 0.9  # of the rise that is allowed: a guess at the share that just fits would miss it every other time
_MOST_GUESSES = 8


def keep_within(fit: Fit, start: Adapter, *, max_rise: float, must_stop: Callable[[], bool]) -> float:
    """Move a fitted adapter back towards its start until the held-out loss has risen by less than is allowed.

    On the straight line between two sets of weights most of what was learned is kept while less is forgotten (Wortsman
    et al. 2022, Robust Fine-Tuning of Zero-Shot Models). The loss rises faster than the share, about with its square,
    which gives the next guess; each guess is measured.

    Args:
        fit: After its last step, which was evaluated.
        start: The adapter it began with.
        max_rise: Of the loss on held-out examples, as a share; 0 allows any.
        must_stop: Asked while it measures.

    Returns:
        The share of the way that is kept: 1 where nothing had to be taken back or nothing is held out.

    Raises:
        InterruptedRun: It had to stop; the weights of the last step are saved.
    """
    losses = fit.evaluations.losses
    if not max_rise or not {0, fit.step_number} <= losses.keys():
        return 1.0
    first, last = losses[0], losses[fit.step_number]
    ends = _copies(fit.parameters)
    put_start(fit.model, start)
    starts = _copies(fit.parameters)
    share, loss = 1.0, last
    for guess in range(_MOST_GUESSES + 1):
        if loss <= first * (1 + max_rise):
            break
        rise = loss / first - 1
        share *= math.sqrt(_AIM * max_rise / rise) if math.isfinite(rise) else 0.5
        share = 0.0 if guess == _MOST_GUESSES else share
        _mix(fit.parameters, starts, ends, share)
        if not fit.evaluations.run(fit.step_number, must_stop=must_stop, draws_replies=False):
            _mix(fit.parameters, starts, ends, 1.0)
            fit.stop()
        loss = losses[fit.step_number]
    _mix(fit.parameters, starts, ends, share)
    if share < 1:
        rises = {"rise": last / first - 1, "kept_rise": loss / first - 1, "allowed_rise": max_rise}
        fit.on_event(Event("taken_back", fit.step_number, {"kept_share": share, **rises}))
    return share


def _copies(parameters: Sequence[torch.nn.Parameter]) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in parameters]


def _mix(
    parameters: Sequence[torch.nn.Parameter], starts: Sequence[torch.Tensor], ends: Sequence[torch.Tensor], share: float
) -> None:
    """Put parameters at a share of the way from a start to an end; both ends exactly."""
    with torch.no_grad():
        for parameter, start, end in zip(parameters, starts, ends, strict=True):
            parameter.copy_(end if share == 1 else torch.lerp(start, end, share))
