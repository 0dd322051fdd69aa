"""Plan and splits to an adapter: the run folder, its ledger, resuming, planned against measured."""

from duologue.train.folder import Run, find_adapter, list_runs, new_run, newest_unfinished
from duologue.train.history import History, StepRecord, read_history
from duologue.train.lock import training_lock
from duologue.train.run import TrainingResult, load_resumable, make_job, run

__all__ = [
    "History",
    "Run",
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
    "training_lock",
]
