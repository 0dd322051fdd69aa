"""One trial: a training run with other settings, looked at a few times on its way, without replies or TensorBoard."""

import math
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from duologue.config import Config
from duologue.data import DataStats
from duologue.engine import Adapter, BaseModel, Event, Example, OnEvent, Trainer, TrainingJob
from duologue.errors import DataError, EngineError
from duologue.plan import Plan
from duologue.train.run import make_job
from duologue.train.search.loop import Watch
from duologue.train.search.records import TRIALS
from duologue.train.search.space import Settings, with_settings

NUM_LOOKS = 4  # at a quarter, half, three quarters and the end, where trials of different lengths are comparable
_FEWEST_SOURCES = 4  # held-out conversations: two to choose by, two to report on


@dataclass(frozen=True, slots=True)
class TrialMaker:
    """Does trials.

    Attributes:
        folder: Of the search.
        config: The settings as they are.
        train: Examples to learn from.
        validation: Held-out examples by which trials are chosen.
        stats: Token counts of both.
        trainer: The engine; it loads the base anew for every trial.
        make_plan: The plan of a config on this machine, with these examples.
        on_event: Told about steps and warnings.
    """

    folder: Path
    config: Config
    train: Sequence[Example]
    validation: Sequence[Example]
    stats: DataStats
    trainer: Trainer
    make_plan: Callable[[Config, DataStats], Plan]
    on_event: OnEvent

    def __call__(self, settings: Settings, watch: Watch) -> float:
        """Train with settings and return the held-out loss of the adapter, in nats per trained token.

        Raises:
            InterruptedRun: The watch was set.
            EngineError: Memory ran out, or the loss is not a number.
        """
        into = self.run_folder(watch.number)
        shutil.rmtree(into, ignore_errors=True)  # of a trial that was killed: it begins anew
        into.mkdir(parents=True)
        job = self.job(settings, into)
        watch.max_steps = job.max_steps
        kept: list[float] = []

        def on_event(event: Event) -> None:
            if event.name == "evaluated" and "validation_loss" in event.values:
                loss = float(event.values["validation_loss"])
                if not math.isfinite(loss):
                    raise EngineError(f"the held-out loss is {loss} after step {event.step}")
                place = NUM_LOOKS * event.step // job.max_steps  # the part that is surely behind it
                watch.look(event.step, loss, place=place, is_last=event.step == job.max_steps)
            elif event.name == "best" and "validation_loss" in event.values:
                kept.append(float(event.values["validation_loss"]))
            elif event.name in ("step", "warning"):
                self.on_event(event)

        try:
            self.trainer.fit(job, self.train, self.validation, on_event=on_event, should_stop=watch)
        finally:
            shutil.rmtree(into / "checkpoints", ignore_errors=True)
        if not watch.points:
            raise EngineError("nothing was measured on held-out conversations", needed="data.validation_fraction")
        return kept[-1] if kept else watch.points[-1][1]

    def plan(self, settings: Settings) -> Plan:
        """Return the plan of a trial."""
        return self.make_plan(with_settings(self.config, settings), self.stats)

    def seconds(self, settings: Settings) -> float:
        """Return how long a trial takes by its plan: loading, steps and looks."""
        config = with_settings(self.config, settings)
        time = self.make_plan(_looked_at(config, self.plan(settings).settings.max_steps), self.stats).time
        return 60 * (time.setup_minutes + time.train_minutes + time.eval_minutes) - self._measuring_seconds(config)

    def comparison_seconds(self, stats: DataStats) -> float:
        """Return how long loading two models and reading the held-out examples of `stats` takes by the plan."""
        return 60 * self.make_plan(_only_measured(self.config), stats).time.eval_minutes

    def job(self, settings: Settings, into: Path) -> TrainingJob:
        """Return what the engine is asked to do."""
        config, plan = with_settings(self.config, settings), self.plan(settings)
        job = make_job(config, plan, into)
        return replace(
            job,
            eval_every_steps=_look_every(job.max_steps),
            save_every_steps=job.max_steps,
            num_checkpoints=1,
            early_stopping_on="loss",
        )

    def run_folder(self, number: int) -> Path:
        """Return where a trial's adapter is."""
        return self.folder / TRIALS / f"{number:04}"

    def base(self, settings: Settings) -> BaseModel:
        """Return the base as a trial held it."""
        return self.job(settings, self.folder).base

    def adapter(self, number: int, settings: Settings) -> Adapter:
        """Return the adapter that a trial left.

        Raises:
            EngineError: It is not there.
        """
        folder = self.run_folder(number) / "adapter"
        if not folder.is_dir():
            raise EngineError(f"the adapter of trial {number} is gone", where=str(folder))
        return Adapter(folder, self.base(settings))

    def keep_only(self, numbers: Sequence[int]) -> None:
        """Delete the adapters of all trials but some."""
        kept = {self.run_folder(number) for number in numbers}
        for path in (self.folder / TRIALS).glob("[0-9]*"):
            if path.is_dir() and path not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def _measuring_seconds(self, config: Config) -> float:
        """What a plan adds for the measurement after a run, which a trial does not have."""
        return 60 * self.make_plan(_only_measured(config), self.stats).time.eval_minutes


def halves(validation: Sequence[Example], *, seed: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Return the held-out examples in two parts: one to choose by, one to report on. No conversation is in both.

    Raises:
        DataError: There are too few held-out conversations.
    """
    sources = sorted({example.source for example in validation})
    if len(sources) < _FEWEST_SOURCES:
        raise DataError(
            f"{len(sources)} conversations are held out",
            where="data.validation_fraction",
            needed=f"at least {_FEWEST_SOURCES}: half of them choose the settings, the others say how good they are",
            action="Raise data.validation_fraction, or add conversations.",
        )
    random.Random(seed).shuffle(sources)
    first = set(sources[: -(-len(sources) // 2)])
    return (
        tuple(example for example in validation if example.source in first),
        tuple(example for example in validation if example.source not in first),
    )


def _look_every(max_steps: int) -> int:
    return -(-max_steps // NUM_LOOKS)


def _looked_at(config: Config, max_steps: int) -> Config:
    """A config for the plan's arithmetic: with the looks, and without replies."""
    config = _only_measured(config)
    training = config.training.model_copy(update={"eval_every_steps": _look_every(max_steps)})
    return config.model_copy(update={"training": training})


def _only_measured(config: Config) -> Config:
    """A config whose plan counts loading two models and reading the held-out examples twice, and one word of reply."""
    training = config.training.model_copy(update={"eval_every_steps": 0})
    evaluation = config.evaluation.model_copy(update={"prompts": config.evaluation.prompts[:1], "max_new_tokens": 1})
    return config.model_copy(update={"training": training, "evaluation": evaluation})
