"""Base and tuned model to measures, replies, a verdict, and a report a person can read."""

from duologue.evaluate.canaries import canary_examples, known_canaries, load_canaries
from duologue.evaluate.compare_page import write_comparison
from duologue.evaluate.differences import compare_words
from duologue.evaluate.evaluation import Evaluation, Side
from duologue.evaluate.evaluators import load_evaluator
from duologue.evaluate.gate import EXIT_CODE, Gate
from duologue.evaluate.intervals import paired_ratio, verdict_of
from duologue.evaluate.observe import Opener, Subject
from duologue.evaluate.observed import Known
from duologue.evaluate.report import write_report
from duologue.evaluate.run import Kept, make_work, run
from duologue.evaluate.search_plot import draw_search
from duologue.evaluate.suite import Suite, load_suite

__all__ = [
    "EXIT_CODE",
    "Evaluation",
    "Gate",
    "Kept",
    "Known",
    "Opener",
    "Side",
    "Subject",
    "Suite",
    "canary_examples",
    "compare_words",
    "draw_search",
    "known_canaries",
    "load_canaries",
    "load_evaluator",
    "load_suite",
    "make_work",
    "paired_ratio",
    "run",
    "verdict_of",
    "write_comparison",
    "write_report",
]
