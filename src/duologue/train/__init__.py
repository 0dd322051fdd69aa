"""Plan and splits to an adapter: the run folder, its ledger, resuming, planned against measured."""

from duologue.train.feedback import (
    FeedbackRun,
    held_out_change,
    is_from_feedback,
    load_resumable_feedback,
    run_feedback,
)
from duologue.train.feedback_choice import Chosen, Pieces, choose, feedback_config, find_start
from duologue.train.folder import Run, find_adapter, list_runs, new_run, newest_unfinished
from duologue.train.held_out import held_out_before
from duologue.train.history import History, ReplyRecord, StepRecord, read_history
from duologue.train.lineage import Lineage, read_lineage
from duologue.train.lock import training_lock
from duologue.train.resumable import load_resumable
from duologue.train.run import ALONE, TrainingResult, make_job, run
from duologue.train.samples import sample_request, user_header
from duologue.train.sharing import Sharing

__all__ = [
    "ALONE",
    "Chosen",
    "FeedbackRun",
    "History",
    "Lineage",
    "Pieces",
    "ReplyRecord",
    "Run",
    "Sharing",
    "StepRecord",
    "TrainingResult",
    "choose",
    "feedback_config",
    "find_adapter",
    "find_start",
    "held_out_before",
    "held_out_change",
    "is_from_feedback",
    "list_runs",
    "load_resumable",
    "load_resumable_feedback",
    "make_job",
    "new_run",
    "newest_unfinished",
    "read_history",
    "read_lineage",
    "run",
    "run_feedback",
    "sample_request",
    "training_lock",
    "user_header",
]
