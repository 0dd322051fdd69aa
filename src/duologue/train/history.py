"""What a run's `events.jsonl` says about its steps, over all interruptions."""

import json
from dataclasses import dataclass

from duologue.train.folder import Run


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One optimizer step.

    Attributes:
        step: Counted from 1.
        loss: Nats per trained token of the global batch.
        learning_rate: Rate used.
        grad_norm: Norm before clipping.
        tokens_per_second: All tokens, padding left out.
        seconds: Wall time.
        num_tokens: Tokens of the global batch.
        memory_gib: Peak memory so far.
    """

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens_per_second: float
    seconds: float
    num_tokens: int
    memory_gib: float


@dataclass(frozen=True, slots=True)
class History:
    """The steps in order, and `(step, loss)` on the validation split."""

    steps: tuple[StepRecord, ...]
    validation: tuple[tuple[int, float], ...]


def read_history(run: Run) -> History:
    """Return the history of a run; a step done twice (before and after an interruption) counts as last done."""
    steps: dict[int, StepRecord] = {}
    validation: dict[int, float] = {}
    path = run.folder / "events.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a line cut short when the process was killed
        if event["name"] == "step":
            names = StepRecord.__slots__
            steps[event["step"]] = StepRecord(**{name: event[name] for name in names})
        elif event["name"] == "evaluated":
            validation[event["step"]] = event["validation_loss"]
    return History(tuple(steps[at] for at in sorted(steps)), tuple(sorted(validation.items())))
