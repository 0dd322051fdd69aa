"""Base and tuned model to numbers, replies and a report a person can read."""

from duologue.evaluate.evaluation import Evaluation, Side
from duologue.evaluate.report import write_report
from duologue.evaluate.run import run

__all__ = ["Evaluation", "Side", "run", "write_report"]
