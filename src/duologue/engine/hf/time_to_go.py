"""How long a run still takes: its steps, and the evaluations and checkpoints between them."""

import statistics
from collections import deque

from duologue.engine.job import TrainingJob

_RECENT = 50
_FORWARD_SHARE = 1 / 3  # of a training step: forward and backward are three forwards
_GUESSED_SECONDS_PER_NEW_TOKEN = 0.05  # until the first replies were drawn


class TimeToGo:
    """Learns from what was done; a first evaluation is taken for a third of the training time per token."""

    def __init__(self, job: TrainingJob, *, num_validation_tokens: int) -> None:
        """Take the intervals of a job and the size of its held-out split."""
        self._job = job
        self._num_validation_tokens = num_validation_tokens
        self._steps: deque[tuple[float, int]] = deque(maxlen=_RECENT)
        self._evaluations: list[float] = []
        self._saves: list[float] = []

    def add_step(self, seconds: float, num_tokens: int) -> None:
        """Count a step."""
        self._steps.append((seconds, num_tokens))

    def add_evaluation(self, seconds: float) -> None:
        """Count an evaluation with its sampled replies."""
        self._evaluations.append(seconds)

    def add_save(self, seconds: float) -> None:
        """Count a checkpoint."""
        self._saves.append(seconds)

    def seconds(self, step: int) -> float:
        """Return the seconds to go after a step."""
        job = self._job
        if not self._steps:
            return 0.0
        per_step = statistics.fmean(seconds for seconds, _ in self._steps)
        per_evaluation = self._evaluations[-1] if self._evaluations else self._guess()
        per_save = statistics.fmean(self._saves) if self._saves else 0.0
        num_evaluations = times_left(step, job.max_steps, every=job.eval_every_steps)
        num_saves = times_left(step, job.max_steps, every=job.save_every_steps)
        return (job.max_steps - step) * per_step + num_evaluations * per_evaluation + num_saves * per_save

    def _guess(self) -> float:
        seconds, tokens = (sum(values) for values in zip(*self._steps, strict=True))
        replies = len(self._job.samples.prompts) * self._job.samples.max_new_tokens
        scoring = seconds / max(1, tokens) * _FORWARD_SHARE * self._num_validation_tokens
        return scoring + replies * _GUESSED_SECONDS_PER_NEW_TOKEN


def times_left(step: int, max_steps: int, *, every: int) -> int:
    """Return how often something is still done that is done at every n-th step and at the last; 0 for n = 0."""
    if not every or step >= max_steps:
        return 0
    return max_steps // every - step // every + (1 if max_steps % every else 0)
