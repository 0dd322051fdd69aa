"""`run_feedback`: from a finished run and a person's feedback to a run like any other, that can be continued."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from duologue.characters import Character
from duologue.config import Config
from duologue.data import Account, DataStats, ExampleSets
from duologue.engine import Adapter, BaseModel, OnEvent, PreferenceJob, PreferenceTrainer, SampleRequest
from duologue.errors import ConfigError, EngineError
from duologue.plan import Plan
from duologue.train.feedback_choice import Chosen, Pieces
from duologue.train.folder import Run, newest_unfinished
from duologue.train.history import read_history
from duologue.train.resumable import load_resumable
from duologue.train.run import TrainingResult, close_ledger, make_job, write_ledger
from duologue.train.samples import sample_request
from duologue.train.sinks import RunSinks

_KEY = "feedback"  # of data.json: a run that has it learned from feedback


@dataclass(frozen=True, slots=True)
class FeedbackRun:
    """What a run on feedback is made of.

    Attributes:
        start: The run whose adapter is gone on from.
        adapter: That adapter.
        pieces: The feedback as it was collected.
        chosen: What is learned of it.
        config: As `feedback_config` returns it.
        plan: The plan whose settings are used.
        num_sft_steps: Steps on corrected replies.
        collected: The account of the collection: chats by consent, pieces by kind, what was dropped.
    """

    start: Run
    adapter: Adapter
    pieces: Pieces
    chosen: Chosen
    config: Config
    plan: Plan
    num_sft_steps: int
    collected: Mapping[str, Any] = field(default_factory=dict)

    def account(self) -> dict[str, Any]:
        """Return what data.json says of the feedback."""
        return {
            "started_from": self.start.name,
            "num_sft_steps": self.num_sft_steps,
            **self.chosen.as_json(),
            "collected": dict(self.collected),
            "pieces": self.pieces.digests(),
        }


def run_feedback(
    into: Run,
    feedback: FeedbackRun,
    *,
    config: Config,
    config_text: str,
    examples: ExampleSets,
    stats: DataStats,
    account: Account,
    trainer: PreferenceTrainer,
    on_event: OnEvent,
    should_stop: threading.Event,
    character: Character,
) -> TrainingResult:
    """Learn from feedback into a run folder; continues from the newest checkpoint when the folder holds one.

    Args:
        into: The run folder, new or interrupted.
        feedback: What is learned, from where on.
        config: The checked configuration as the person wrote it.
        config_text: duologue.toml as the person wrote it.
        examples: Tokenized splits of the character's data, whose held-out part is measured.
        stats: Their token counts.
        account: The account of the data files.
        trainer: The engine.
        on_event: Receives every event after it was written to the run folder.
        should_stop: When set, the run saves and ends with `InterruptedRun`.
        character: Who answers the prompts of the evaluation while the run goes.

    Raises:
        InterruptedRun: `should_stop` was set.
        EngineError: As `PreferenceTrainer.fit_preferences` raises it; a full disk while writing the ledger.
    """
    write_ledger(
        into,
        config,
        config_text=config_text,
        plan=feedback.plan,
        stats=stats,
        account=account,
        character=character,
        feedback=feedback.account(),
    )
    samples = SampleRequest()
    if config.training.num_sample_replies:
        base = BaseModel(config.model.base, trusted_code=config.model.trusted_code)
        samples = sample_request(config, character, trainer.tokenizer(base))
    training = make_job(feedback.config, feedback.plan, into.folder, samples=samples)
    settings = config.feedback
    job = PreferenceJob(
        training=training,
        start=feedback.adapter,
        method=feedback.chosen.method,
        beta=settings.beta,
        sft_weight=settings.sft_weight if feedback.chosen.method == "dpo" else 0.0,
        num_sft_steps=feedback.num_sft_steps,
        num_replayed_per_step=round(settings.replay_fraction * training.examples_per_step),
        replay_weight=settings.replay_weight,
        max_loss_rise=settings.max_loss_rise_fraction,
    )
    try:
        with RunSinks(into.folder, pass_on=on_event) as sinks:
            fit = trainer.fit_preferences(
                job,
                feedback.chosen.examples,
                examples.validation,
                replayed=feedback.chosen.replayed,
                on_event=sinks,
                should_stop=should_stop,
            )
    except OSError as error:
        raise EngineError(
            f"the run folder cannot be written ({error.strerror})",
            where=str(into.folder),
            action="Free some disk space, then go on with: duologue train FOLDER --resume",
        ) from error
    lineage = {
        "started_from": feedback.start.name,
        "feedback": {
            "beta": job.beta,
            "sft_weight": job.sft_weight,
            "kept_share": fit.kept_share,
            **feedback.chosen.as_json(),
        },
    }
    # Its speed is that of other work than a plain run's, so the next plan of one learns nothing of it.
    return close_ledger(into, training, feedback.plan, fit, lineage=lineage)


def is_from_feedback(run: Run | None) -> bool:
    """Tell whether a run, finished or not, learned from feedback."""
    return run is not None and (run.folder / "data.json").is_file() and _KEY in run.read("data.json")


def load_resumable_feedback(
    folder: Path, config: Config, account: Account, character: Character
) -> tuple[Run, Plan, Mapping[str, Any]]:
    """Return the interrupted run on feedback of a character, its plan, and what its data.json says of the feedback.

    Raises:
        ConfigError: There is nothing of that kind to resume, or configuration or data are not what it began with.
    """
    found = newest_unfinished(folder)
    if found is not None and not is_from_feedback(found):
        raise ConfigError(
            f"the interrupted run {found.name} did not learn from feedback",
            where="--from-feedback",
            action=f"Go on with it: duologue train {folder} --resume",
        )
    run, plan = load_resumable(folder, config, account, character)
    before, now = run.read("resolved.json").get(_KEY, {}), config.feedback.model_dump(mode="json")
    changed = [
        f"feedback.{key}: {before.get(key)!r} -> {value!r}" for key, value in now.items() if before.get(key) != value
    ]
    if changed:
        listed = "\n".join(f"  {line}" for line in changed)
        raise ConfigError(
            f"run {run.name} was started with another configuration:\n{listed}",
            where=str(folder),
            action="Restore it to resume, or start a new run with: duologue train FOLDER --from-feedback",
        )
    return run, plan, run.read("data.json")[_KEY]


def held_out_change(run: Run) -> tuple[float, float] | None:
    """Return the loss on held-out conversations before the first step and after the last, in nats per token."""
    points = read_history(run).validation
    if len(points) < 2 or points[0][0] != 0:
        return None
    return points[0][1], points[-1][1]
