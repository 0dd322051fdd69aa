"""Optuna behind four verbs: ask, look, end, importance. The only file that imports it.

The journal is a file, so that a search goes on after whatever ended it. The sampler is seeded anew for each trial from
the search's seed and the number of trials before it: what is drawn depends on these and on what was found, not on how
often the search was interrupted.
"""

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from duologue.errors import EngineError
from duologue.train.search.space import Settings, Space

if TYPE_CHECKING:
    from optuna import Trial

_JOURNAL = "journal.log"
_NAME = "tune"
_NUM_RANDOM = 4  # trials drawn at random before the sampler believes what it saw; Optuna's ten are a whole budget here
_NUM_UNPRUNED = 2  # finished trials before others are ended by comparison with them
_FEWEST_FOR_IMPORTANCE = 8
_GIVEN, _SETTINGS = "is_given", "settings"

Allows = Callable[[Settings], bool]


class Study:
    """A search's journal and what to try next."""

    def __init__(self, folder: Path, space: Space, *, seed: int) -> None:
        """Open the journal of a search, or begin one with the settings as they are.

        A trial that a killed process left running is marked as failed and comes again.

        Raises:
            EngineError: The journal is damaged.
        """
        import optuna
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._seed = seed
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _JOURNAL
        _repair(path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._study = optuna.create_study(
                    storage=optuna.storages.JournalStorage(JournalFileBackend(str(path))),
                    study_name=_NAME,
                    direction="minimize",
                    pruner=optuna.pruners.MedianPruner(n_startup_trials=_NUM_UNPRUNED),
                    load_if_exists=True,
                )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EngineError(
                f"the search's journal cannot be read ({error})",
                where=str(path),
                action="Move its folder away and begin a new search.",
            ) from error
        if not self._study.trials:
            self._give(space.start)
        self._running: dict[int, Trial] = {}
        self.abandoned = tuple(self._abandon())

    def ask(self, allows: Allows) -> tuple[int, Settings] | None:
        """Return the number and the settings of the next trial; None when not even the cheapest is allowed.

        Args:
            allows: Whether there is time for settings. A value of an axis is drawn from those that are allowed with
                the cheapest values of the axes after it.
        """
        import optuna

        number = len(self._study.trials)
        self._study.sampler = optuna.samplers.TPESampler(
            seed=(self._seed * 1_000_003 + number) % 2**32, n_startup_trials=_NUM_RANDOM
        )
        trial = self._study.ask()
        is_given = bool(trial.user_attrs.get(_GIVEN))
        settings = self._space.cheapest
        for axis in self._space.axes:
            if not axis.values:
                settings[axis.key] = float(f"{trial.suggest_float(axis.key, axis.low, axis.high, log=True):.3g}")
                continue
            allowed = [place for place, value in enumerate(axis.values) if allows({**settings, axis.key: value})]
            if not allowed and not is_given:
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
                return None
            highest = len(axis.values) - 1 if is_given else max(allowed)
            settings[axis.key] = axis.values[trial.suggest_int(axis.key, 0, highest)]
        if is_given and settings.keys() == self._space.start.keys() and self._is_start(trial.params):
            settings = dict(self._space.start)  # not rounded
        trial.set_user_attr(_SETTINGS, settings)
        self._running[trial.number + 1] = trial
        return trial.number + 1, settings

    def look(self, number: int, place: int, loss: float) -> bool:
        """Take the held-out loss at one of the places where trials are compared; return whether to end the trial."""
        trial = self._running[number]
        trial.report(loss, place)
        return bool(trial.should_prune())

    def end(self, number: int, loss: float | None, *, is_pruned: bool = False, comes_again: bool = False) -> None:
        """Close a trial.

        Args:
            number: Which.
            loss: What it reached; None when it has no result.
            is_pruned: It was ended early; what it showed until then counts.
            comes_again: It was interrupted and is done again.
        """
        from optuna.trial import TrialState

        trial = self._running.pop(number)
        if loss is not None:
            self._study.tell(trial, loss)
        else:
            self._study.tell(trial, state=TrialState.PRUNED if is_pruned else TrialState.FAIL)
        if comes_again:
            self._study.enqueue_trial(trial.params, user_attrs={_GIVEN: True})

    def importance(self) -> dict[str, float]:
        """Return how much each setting decides, summing to 1 (PED-ANOVA, Watanabe 2023); empty with few trials."""
        from optuna.exceptions import ExperimentalWarning
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
        from optuna.trial import TrialState

        finished = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(finished) < _FEWEST_FOR_IMPORTANCE:
            return {}
        with warnings.catch_warnings(), contextlib.suppress(RuntimeError, ValueError):
            warnings.simplefilter("ignore", ExperimentalWarning)
            found = get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator())
            return {key: float(value) for key, value in found.items()}
        return {}

    def _give(self, settings: Settings) -> None:
        params = {
            axis.key: axis.values.index(settings[axis.key]) if axis.values else settings[axis.key]
            for axis in self._space.axes
        }
        self._study.enqueue_trial(params, user_attrs={_GIVEN: True})

    def _is_start(self, params: dict[str, float | int]) -> bool:
        start = self._space.start
        return all(
            (axis.values[int(params[axis.key])] if axis.values else params[axis.key]) == start[axis.key]
            for axis in self._space.axes
        )

    def _abandon(self) -> list[tuple[int, Settings]]:
        """Mark what a killed process left running as failed, let it come again, and return it."""
        from optuna.trial import TrialState

        left = []
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)
            if len(trial.params) == len(self._space.axes):
                self._study.enqueue_trial(trial.params, user_attrs={_GIVEN: True})
                left.append((trial.number + 1, dict(trial.user_attrs.get(_SETTINGS, {}))))
            elif trial.user_attrs.get(_GIVEN):
                self._give(self._space.start)
        return left


def _repair(path: Path) -> None:
    """Drop a last line that a killed process left half written, and its lock; the caller holds a lock itself."""
    if path.is_file():
        raw = path.read_bytes()
        if raw and not raw.endswith(b"\n"):
            path.write_bytes(raw[: raw.rfind(b"\n") + 1])
    for left in path.parent.glob(f"{path.name}.lock*"):
        left.unlink(missing_ok=True)
