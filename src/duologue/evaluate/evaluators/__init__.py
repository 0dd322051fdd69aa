"""The evaluators: each makes measures of what was seen of two models. What they need of a model was seen before."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Known, Observed


@dataclass(frozen=True, slots=True)
class Evaluator:
    """A named way to make measures.

    Attributes:
        name: As suites name it.
        version: Raised whenever its numbers change for the same input.
        measure: Takes what is known and what was seen of the base and of the tuned model. Pure, and repeatable for the
            seed in `Known`. What it raises is recorded, not passed on.
    """

    name: str
    version: int
    measure: Callable[[Known, Observed, Observed], Sequence[Measure]]


EVALUATORS: tuple[str, ...] = (
    "language",
    "forgetting",
    "voice",
    "facts",
    "drift",
    "user_speech",
    "loops",
    "form",
    "habits",
    "refusal",
    "judge",
    "memorisation",
    "personal_data",
    "safety",
    "speed",
)
"""Names of all evaluators; each is a module here with an `EVALUATOR`, imported when it is asked for."""


def load_evaluator(name: str) -> Evaluator:
    """Return the evaluator of that name, one of `EVALUATORS`."""
    found: Evaluator = importlib.import_module(f"{__name__}.{name}").EVALUATOR
    return found
