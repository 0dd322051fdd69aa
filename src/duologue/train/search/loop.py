"""`run_search`: trials until the time or their number is used up. What a trial does is passed in."""

import gc
import statistics
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duologue.errors import EngineError, InterruptedRun, PlanError
from duologue.train.search.budget import Budget
from duologue.train.search.records import TrialRecord, TrialState, read_records, write_record
from duologue.train.search.space import Settings
from duologue.train.search.study import Study

_HOPELESS = 3  # failures before anything finished: what is wrong is not in the settings


class Watch(threading.Event):
    """What a trial asks whether to go on; set by the person, by the end of the time, or by a look at its loss."""

    def __init__(
        self,
        number: int,
        *,
        budget: Budget,
        reserve_seconds: float,
        should_stop: threading.Event,
        look: Callable[[int, float], bool],
    ) -> None:
        """Take what can end a trial.

        Args:
            number: Of the trial.
            budget: The search's time.
            reserve_seconds: What must be left of it after the trial.
            should_stop: Set by the person.
            look: Takes a place and a loss there; says whether the trial is to end.
        """
        super().__init__()
        self.number = number
        self.ended_by: TrialState | None = None
        self.points: list[tuple[int, float]] = []
        self.max_steps = 0
        self._budget = budget
        self._reserve = reserve_seconds
        self._should_stop = should_stop
        self._look = look

    def is_set(self) -> bool:
        """Return whether the trial must stop; what was used of the time is written down now and then."""
        self._budget.tick()
        if self.ended_by is None:
            if self._should_stop.is_set():
                self.ended_by = "interrupted"
            elif self._budget.left <= self._reserve:
                self.ended_by = "out of time"
        return self.ended_by is not None

    def look(self, step: int, loss: float, *, place: int, is_last: bool) -> None:
        """Take a held-out loss.

        Args:
            step: After which it was measured.
            loss: In nats per trained token.
            place: Which of the looks it is, from 1; trials are compared at the same place.
            is_last: The trial is over anyway.
        """
        self.points.append((step, loss))
        if self._look(place, loss) and not is_last and self.ended_by is None:
            self.ended_by = "ended early"


Objective = Callable[[Settings, Watch], float]
"""Does a trial and returns its held-out loss; raises `InterruptedRun` when the watch is set, `EngineError` else."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What is known before a trial.

    Attributes:
        seconds: How long settings take, by the plan.
        config: Every value of a trial's config, as JSON, for its record.
        seed: The trials' seed.
    """

    seconds: Callable[[Settings], float]
    config: Callable[[Settings], dict[str, Any]] = lambda _: {}
    seed: int = 0


def run_search(
    folder: Path,
    study: Study,
    objective: Objective,
    *,
    predictions: Predictions,
    budget: Budget,
    reserve_seconds: float,
    max_trials: int,
    should_stop: threading.Event,
    on_trial: Callable[[TrialRecord], None],
) -> tuple[TrialRecord, ...]:
    """Do trials; return all of the search, those before an interruption too.

    Args:
        folder: Of the search.
        study: Says what to try.
        objective: Does a trial.
        predictions: What is known before.
        budget: No trial is begun that would not be over, going by the plan and by the trials before.
        reserve_seconds: What must be left of it for the comparison at the end.
        max_trials: Most trials in all, those that come again left out; 0 sets no limit.
        should_stop: Set by the person.
        on_trial: Told about each trial when it is over.

    Raises:
        InterruptedRun: `should_stop` was set.
        EngineError: The first trials all failed.
        PlanError: There is no time for a single trial.
    """
    for number, settings in study.abandoned:
        note = "the process ended while it ran; it is done again"
        write_record(folder, TrialRecord(number, "interrupted", settings, note=note, seed=predictions.seed))
    records = list(read_records(folder))
    while max_trials == 0 or sum(record.state != "interrupted" for record in records) < max_trials:
        factor = _measured_factor(records)
        left = budget.left - reserve_seconds
        if left <= 0:
            break

        def allows(settings: Settings, factor: float = factor, left: float = left) -> bool:
            return factor * predictions.seconds(settings) <= left

        asked = study.ask(allows)
        if asked is None:
            break
        record = _trial(
            study,
            objective,
            asked,
            predictions=predictions,
            budget=budget,
            reserve_seconds=reserve_seconds,
            should_stop=should_stop,
        )
        write_record(folder, record)
        budget.tick(at_once=True)
        records.append(record)
        on_trial(record)
        if record.state == "interrupted":
            raise InterruptedRun(f"the search was stopped in trial {record.number}, which is done again")
        if should_stop.is_set():
            raise InterruptedRun(f"the search was stopped after trial {record.number}")
        failed = [one for one in records if one.state == "failed"]
        if len(failed) >= _HOPELESS and all(one.state in ("failed", "interrupted") for one in records):
            raise EngineError(f"no trial finished; the last said: {record.note}", where=str(folder))
    if not records:
        raise PlanError("the budget has no room for a trial", where="--budget", needed="more time")
    return tuple(records)


def _trial(
    study: Study,
    objective: Objective,
    asked: tuple[int, Settings],
    *,
    predictions: Predictions,
    budget: Budget,
    reserve_seconds: float,
    should_stop: threading.Event,
) -> TrialRecord:
    number, settings = asked
    started = budget.used
    watch = Watch(
        number,
        budget=budget,
        reserve_seconds=reserve_seconds,
        should_stop=should_stop,
        look=lambda place, loss: study.look(number, place, loss),
    )
    loss: float | None = None
    state: TrialState = "finished"
    note = ""
    try:
        loss = objective(settings, watch)
    except InterruptedRun as error:
        state, note = watch.ended_by or "interrupted", "" if watch.ended_by else str(error)
    except EngineError as error:
        state, note = "failed", str(error)
    except KeyboardInterrupt:
        state = "interrupted"
    # A model is full of circles, and the next trial loads its own. Not sooner: while the exception that ended a trial
    # is on its way, its frames still hold the model.
    gc.collect()
    was_shown = bool(watch.points)
    study.end(
        number,
        loss,
        is_pruned=was_shown and state in ("ended early", "out of time"),
        comes_again=state == "interrupted",
    )
    return TrialRecord(
        number,
        state,
        settings,
        loss=loss,
        points=tuple(watch.points),
        max_steps=watch.max_steps,
        seconds=budget.used - started,
        planned_seconds=predictions.seconds(settings),
        seed=predictions.seed,
        note=note,
        config=predictions.config(settings),
    )


def _measured_factor(records: Sequence[TrialRecord]) -> float:
    """Return how much longer than planned the finished trials took, the middle one; 1 before the first."""
    ratios = [one.seconds / one.planned_seconds for one in records if one.state == "finished" and one.planned_seconds]
    return statistics.median(ratios) if ratios else 1.0
