"""Plan and splits to an adapter: the run folder, its ledger, resuming, planned against measured."""

from duologue.train.folder import Run, find_adapter, list_runs, new_run, newest_unfinished
from duologue.train.history import History, ReplyRecord, StepRecord, read_history
from duologue.train.lock import training_lock
from duologue.train.resumable import load_resumable
from duologue.train.run import ALONE, TrainingResult, make_job, run
from duologue.train.samples import sample_request
from duologue.train.sharing import Sharing

__all__ = [
    "ALONE",
    "History",
    "ReplyRecord",
    "Run",
    "Sharing",
    "StepRecord",
    "TrainingResult",
    "find_adapter",
    "list_runs",
    "load_resumable",
    "make_job",
    "new_run",
    "newest_unfinished",
    "read_history",
    "run",
    "sample_request",
    "training_lock",
]
