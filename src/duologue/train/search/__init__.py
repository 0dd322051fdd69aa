"""Hyper-parameter search within a time budget: what is varied, trials one after the other, losers ended early."""

from duologue.train.search.budget import Budget
from duologue.train.search.loop import Predictions, Watch, run_search
from duologue.train.search.records import TrialRecord, TrialState, best_of, read_records, start_of, write_json
from duologue.train.search.space import Axis, Settings, Space, changed_keys, make_space, set_lines, with_settings
from duologue.train.search.study import Study
from duologue.train.search.trial import NUM_LOOKS, TrialMaker, halves

__all__ = [
    "NUM_LOOKS",
    "Axis",
    "Budget",
    "Predictions",
    "Settings",
    "Space",
    "Study",
    "TrialMaker",
    "TrialRecord",
    "TrialState",
    "Watch",
    "best_of",
    "changed_keys",
    "halves",
    "make_space",
    "read_records",
    "run_search",
    "set_lines",
    "start_of",
    "with_settings",
    "write_json",
]
