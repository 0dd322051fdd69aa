"""Early stopping: which evaluation was the best, and whether there were enough without a better one."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Stopping:
    """What the evaluations so far say.

    Attributes:
        patience: Evaluations without a better one after which the run ends; 0 never ends it.
        judged_by: The held-out loss, or the share of sampled replies that pass (the loss decides among equals).
        best_step: Step of the best evaluation; 0 before the first.
        best_loss: Its held-out loss in nats per trained token; infinite when nothing is held out.
        best_share: Its share of replies that pass; 0 when none are drawn.
        num_since_best: Evaluations since then.
    """

    patience: int
    judged_by: Literal["loss", "replies"]
    best_step: int = 0
    best_loss: float = math.inf
    best_share: float = 0.0
    num_since_best: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the run should end."""
        return 0 < self.patience <= self.num_since_best

    def after(self, step: int, *, loss: float = math.inf, share: float = 0.0) -> "Stopping":
        """Return the state after the evaluation of a step."""
        new, old = (-loss, share), (-self.best_loss, self.best_share)
        if self.judged_by == "replies":
            new, old = new[::-1], old[::-1]
        if not self.best_step or new > old:
            return replace(self, best_step=step, best_loss=loss, best_share=share, num_since_best=0)
        return replace(self, num_since_best=self.num_since_best + 1)

    def as_json(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return asdict(self)
