"""The stages of `duologue tune`: check, plan, search, compare on conversations that chose nothing, show, write."""

import json
import threading
import time
from pathlib import Path
from typing import Any

from duologue.cli.calibration import measured_here
from duologue.cli.output import Output
from duologue.cli.progress import show_progress
from duologue.cli.show_plan import duration
from duologue.cli.show_tuning import show_comparison, show_trials, trial_sentence
from duologue.cli.workflow import Prepared, prepare, stop_on_signals
from duologue.config import CONFIG_NAME, Config, set_key
from duologue.data import DataStats, measure
from duologue.engine import Adapter, BaseModel, Example, open_generator
from duologue.errors import ConfigError, InterruptedRun, PlanError
from duologue.plan import Plan, known_facts, make_plan
from duologue.train import training_lock
from duologue.train.search import (
    Budget,
    Predictions,
    Settings,
    Space,
    Study,
    TrialMaker,
    TrialRecord,
    best_of,
    changed_keys,
    halves,
    make_space,
    read_records,
    run_search,
    set_lines,
    start_of,
    with_settings,
    write_json,
)

_DECIDING = ("run", "model", "data", "lora", "training")


class Search:
    """One search of a folder."""

    def __init__(
        self,
        folder: Path,
        overrides: list[str] | None,
        out: Output,
        *,
        seconds: float,
        started: float,
        is_resumed: bool,
    ) -> None:
        """Read the folder and split what is held out.

        Args:
            folder: A character's.
            overrides: Lines of `--set`.
            out: Where text goes.
            seconds: Budget in all.
            started: When the command began, on the monotonic clock.
            is_resumed: Whether a search that was begun goes on.

        Raises:
            DuologueError: Config, data or model have faults, or are not what the search was begun with.
        """
        self.out = out
        self.folder = folder
        self.place = folder / "tune"
        self.overrides = overrides or []
        self.prepared: Prepared = prepare(folder, overrides)
        config = self.prepared.config
        self.choosing, self.reporting = halves(self.prepared.examples.validation, seed=config.run.seed)
        self.seconds = seconds
        self.started = started
        self.is_resumed = is_resumed
        self.stats = measure(self.prepared.examples.train, self.choosing)
        self._facts = known_facts(config.model.base) or self.prepared.trainer.facts(BaseModel(config.model.base))
        self._plans: dict[str, Plan] = {}

    def run(self, *, max_trials: int, is_writing: bool) -> dict[str, Any]:
        """Search, compare, show and write; return the result as JSON.

        Raises:
            InterruptedRun: Ctrl-C or SIGTERM; the search goes on with `--resume`.
        """
        with training_lock(self.folder / "runs"):
            document = self._document()
            budget = Budget(self.place, seconds=self.seconds, used_seconds=_since(self.started))
            with stop_on_signals() as should_stop, show_progress(self.out) as on_event:
                maker = self._maker(on_event)
                space = self._space(maker)
                predictions = self._predictions(maker)
                reserve = maker.comparison_seconds(measure(self.prepared.examples.train, self.reporting))
                self._show_budget(space, predictions, budget, reserve)
                write_json(self.place / "search.json", document)
                study = Study(self.place, space, seed=self.prepared.config.run.seed)
                records = self._trials(
                    maker,
                    study,
                    predictions,
                    budget,
                    reserve,
                    start=space.start,
                    max_trials=max_trials,
                    should_stop=should_stop,
                )
                result = self._compare(maker, records, space.start)
            result["importance"] = study.importance()
            budget.tick(at_once=True)
            result |= {"budget_seconds": self.seconds, "used_seconds": budget.used, "space": _space_json(space)}
            return self._finish(records, result, is_writing=is_writing)

    def _document(self) -> dict[str, Any]:
        """Return what the search rests on.

        Raises:
            ConfigError: The search that goes on was begun with something else.
        """
        config = self.prepared.config.model_dump(mode="json")
        now = {
            "config": {name: config[name] for name in _DECIDING},
            "data": {file.path: file.sha256 for file in self.prepared.account.files},
        }
        if self.is_resumed:
            before = json.loads((self.place / "search.json").read_text(encoding="utf-8"))
            changed = [
                f"{name}.{key}"
                for name in _DECIDING
                for key in sorted({*before["config"][name], *now["config"][name]})
                if before["config"][name].get(key) != now["config"][name].get(key)
            ]
            changed += [
                name for name in {**before["data"], **now["data"]} if before["data"].get(name) != now["data"].get(name)
            ]
            if changed:
                raise ConfigError(
                    f"the search was begun with other values of {', '.join(changed)}",
                    where=str(self.place),
                    action="Restore them (and the --set lines) to go on, or move that folder away to begin anew.",
                )
        return {"budget_seconds": self.seconds, **now}

    def _maker(self, on_event: Any) -> TrialMaker:  # noqa: ANN401 (the sink of the progress bar)
        return TrialMaker(
            folder=self.place,
            config=self.prepared.config,
            train=self.prepared.examples.train,
            validation=self.choosing,
            stats=self.stats,
            trainer=self.prepared.trainer,
            make_plan=self._plan,
            on_event=on_event,
        )

    def _plan(self, config: Config, stats: DataStats) -> Plan:
        """Return a plan; the same one is asked for many times, and the learning rate changes nothing in it."""
        training = config.training.model_copy(update={"learning_rate": 1e-4})
        parts = (config.lora, training, config.evaluation, stats.num_validation_tokens)
        key = repr(parts)
        if key not in self._plans:
            self._plans[key] = make_plan(config, stats, self._facts, self.prepared.hardware, measured=measured_here())
        return self._plans[key]

    def _space(self, maker: TrialMaker) -> Space:
        """Return what is searched.

        Raises:
            PlanError: Not even the smallest rank fits.
        """
        space = make_space(self.prepared.config, fits=lambda settings: maker.plan(settings).verdict != "no")
        smallest = maker.plan(space.cheapest)
        if smallest.verdict == "no":
            raise PlanError(
                f"not even rank {int(space.cheapest['lora.rank'])} fits {smallest.machine}: it needs "
                f"{smallest.memory.low_gib:.1f} GiB and {smallest.memory.available_gib:.1f} are there",
                where=str(self.folder),
                action=f"duologue plan {self.folder} says what makes it fit.",
            )
        return space

    def _predictions(self, maker: TrialMaker) -> Predictions:
        config = self.prepared.config
        return Predictions(
            seconds=maker.seconds,
            config=lambda settings: with_settings(config, settings).model_dump(mode="json"),
            seed=config.run.seed,
        )

    def _show_budget(self, space: Space, predictions: Predictions, budget: Budget, reserve: float) -> None:
        """Say what is searched and how many trials there is time for.

        Raises:
            ConfigError: There is no time for a single one, at the quickest that the plan takes for possible.
        """
        out, each = self.out, predictions.seconds(space.start)
        time_plan = self._plan(with_settings(self.prepared.config, space.start), self.stats).time
        quickest = each * time_plan.low_minutes / time_plan.total_minutes
        left = budget.left - reserve
        out.title("The search")
        for axis in space.axes:
            values = ", ".join(f"{value:g}" for value in axis.values) or f"{axis.low:.2g} to {axis.high:.2g}"
            out.say(f"  {axis.key}: {values} (now {space.start[axis.key]:g})")
        out.say(
            f"  lora.alpha follows the rank; {len(self.choosing)} held-out examples choose, "
            f"{len(self.reporting)} others say at the end how good the choice is"
        )
        if not self.is_resumed and left < quickest:
            raise ConfigError(
                f"{duration(self.seconds / 60)} has no room for a trial: one takes {duration(each / 60)} by the plan, "
                f"the comparison at the end {duration(reserve / 60)}",
                where="--budget",
                needed=f"at least {duration((2 * each + reserve + _since(self.started)) / 60)}, for two trials",
            )
        count = max(1, int(left / each))
        used = f", {duration(budget.used / 60)} of it used" if budget.used > 1 else ""
        out.say(
            f"budget {duration(self.seconds / 60)}{used}: about {count} whole trial{'s' if count > 1 else ''} of "
            f"{duration(each / 60)}, and {duration(reserve / 60)} to compare; losers are ended early and make room"
        )

    def _trials(
        self,
        maker: TrialMaker,
        study: Study,
        predictions: Predictions,
        budget: Budget,
        reserve: float,
        *,
        start: Settings,
        max_trials: int,
        should_stop: threading.Event,
    ) -> tuple[TrialRecord, ...]:
        def on_trial(record: TrialRecord) -> None:
            self.out.say(f"  {trial_sentence(record)}")
            so_far = read_records(self.place)
            needed = best_of(so_far), start_of(so_far, start)  # what is compared at the end
            maker.keep_only([one.number for one in needed if one is not None])

        try:
            return run_search(
                self.place,
                study,
                maker,
                predictions=predictions,
                budget=budget,
                reserve_seconds=reserve,
                max_trials=max_trials,
                should_stop=should_stop,
                on_trial=on_trial,
            )
        except InterruptedRun as error:
            budget.tick(at_once=True)
            left = max(0.0, budget.left) / 60
            raise InterruptedRun(
                error.found,
                where=str(self.place),
                action=f"{duration(left)} of the budget are left. Go on with: duologue tune {self.folder} --resume",
            ) from error

    def _compare(self, maker: TrialMaker, records: tuple[TrialRecord, ...], settings: Settings) -> dict[str, Any]:
        """Return the best settings and how they compare with the given ones, on conversations that chose nothing."""
        from duologue.evaluate import paired_ratio, verdict_of  # brings what no other stage needs

        best, start = best_of(records), start_of(records, settings)
        result: dict[str, Any] = {
            "best": best.as_json() if best else None,
            "set": [],
            "comparison": None,
            "verdict": "",
        }
        if best is None or start is None:
            result["verdict"] = (
                "no trial came to its end" if best is None else "the settings as they are did not finish"
            )
        elif best.number == start.number:
            result["verdict"] = "the settings as they are were the best that was tried"
        if best is not None:
            result["set"] = list(set_lines(self.prepared.config, with_settings(self.prepared.config, best.settings)))
        if best is None or start is None or best.number == start.number:
            return result
        sides = []
        for record in (start, best):
            adapter = maker.adapter(record.number, record.settings)
            sides.append(_scores(adapter, self.reporting))
        interval = paired_ratio(*sides, seed=self.prepared.config.run.seed)
        verdict = verdict_of(interval, better="lower")
        result["comparison"] = {
            "unit": "nats per token",
            "start": interval.base,
            "best": interval.tuned,
            "low": interval.low if interval.num > 1 else None,
            "high": interval.high if interval.num > 1 else None,
            "num_conversations": interval.num,
            "verdict": verdict,
        }
        result["verdict"] = {
            "better": "the winner is better than the settings as they are",
            "worse": "the winner is worse than the settings as they are, on conversations that did not choose it",
        }.get(verdict, "the winner is not better than the settings as they are beyond noise")
        return result

    def _finish(self, records: tuple[TrialRecord, ...], result: dict[str, Any], *, is_writing: bool) -> dict[str, Any]:
        """Show, draw, write the result down and, when asked, the settings into duologue.toml."""
        from duologue.evaluate import draw_search

        best = result["best"]
        plot = self.place / "search.svg"
        draw_search(plot, records, best=best["number"] if best else 0, importance=result["importance"])
        result["plot"] = str(plot)
        result["trials"] = [{**record.as_json(), "config": None} for record in records]
        show_trials(self.out, records, best=best["number"] if best else 0)
        show_comparison(self.out, result)
        is_better = result["comparison"] is not None and result["comparison"]["verdict"] == "better"
        result["written"] = self._write(best["settings"]) if is_writing and best and is_better else []
        if is_writing and not result["written"]:
            self.out.say("duologue.toml is left as it is: only settings that are surely better are written")
        if result["set"]:
            words = [f"--set {line}" for line in [*self.overrides, *result["set"]]]
            self.out.say("train with the best settings:")
            self.out.say_to_paste(f"  duologue train {self.folder} {' '.join(words)}")
        self.out.say(f"plot: {plot}; every trial: {self.place / 'trials'}")
        write_json(self.place / "result.json", result)
        return result

    def _write(self, settings: Settings) -> list[str]:
        before = self.prepared.config
        changed = changed_keys(before, with_settings(before, settings))
        for key, value in changed.items():
            set_key(self.folder / CONFIG_NAME, key, value)
        lines = [f"{key} = {value:g}" for key, value in changed.items()]
        self.out.say(f"written to {self.folder / CONFIG_NAME}: {', '.join(lines)}")
        return lines


def _scores(adapter: Adapter, examples: tuple[Example, ...]) -> list[tuple[float, float]]:
    """Return nats and tokens per conversation, in the order of the conversations."""
    generator = open_generator("hf", adapter.base, adapter=adapter)
    sums: dict[str, tuple[float, float]] = {}
    try:
        for example, (nats, num_tokens) in zip(examples, generator.score(examples), strict=True):
            before = sums.get(example.source, (0.0, 0.0))
            sums[example.source] = (before[0] + nats, before[1] + num_tokens)
    finally:
        generator.close()
    return [sums[source] for source in sorted(sums)]


def _space_json(space: Space) -> list[dict[str, Any]]:
    return [
        {"key": axis.key, "values": list(axis.values)}
        if axis.values
        else {"key": axis.key, "low": axis.low, "high": axis.high}
        for axis in space.axes
    ]


def _since(started: float) -> float:
    return time.monotonic() - started
