"""`run`: a plan and its examples to an adapter in a run folder that can be continued after any interruption."""

import platform
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from duologue.characters import Character
from duologue.config import Config
from duologue.data import Account, DataStats, ExampleSets
from duologue.engine import BaseModel, FitResult, OnEvent, SampleRequest, Trainer, TrainingJob
from duologue.errors import EngineError
from duologue.plan import CalibrationTarget, Plan, keep_run, lora_settings
from duologue.train.folder import Run, file_sha256
from duologue.train.history import History, read_history
from duologue.train.resumable import PROMPT_FILE, prompt_of
from duologue.train.samples import sample_request
from duologue.train.sharing import Sharing, keep_sharing, shared_job
from duologue.train.sinks import RunSinks

NO_SAMPLES = SampleRequest()
ALONE = Sharing()
_PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "duologue")


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A finished run.

    Attributes:
        run: Its folder.
        fit: What the engine measured.
        plan_versus_actual: Predicted and measured value by name, units in the names; where the plan gave an interval,
            its `low` and `high`.
        learned: What the next plan on this machine takes from this run; empty when nothing is kept.
    """

    run: Run
    fit: FitResult
    plan_versus_actual: dict[str, dict[str, float]]
    learned: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {
            "run": str(self.run.folder),
            "num_steps": self.fit.num_steps,
            "final_loss": self.fit.final_loss,
            "num_trained_tokens": self.fit.num_trained_tokens,
            "num_tokens": self.fit.num_tokens,
            "tokens_per_second": self.fit.num_tokens / self.fit.seconds if self.fit.seconds else 0.0,
            "minutes": self.fit.seconds / 60,
            "peak_memory_gib": self.fit.peak_memory_bytes / 2**30,
            "reload_max_difference": self.fit.reload_max_difference,
            "changes": list(self.fit.changes),
            "fast_path": list(self.fit.fast_path),
            "was_stopped_early": self.fit.was_stopped_early,
            "plan_versus_actual": self.plan_versus_actual,
            "learned": self.learned,
        }


def run(
    into: Run,
    config: Config,
    *,
    config_text: str,
    plan: Plan,
    examples: ExampleSets,
    stats: DataStats,
    account: Account,
    trainer: Trainer,
    on_event: OnEvent,
    should_stop: threading.Event,
    calibrates: CalibrationTarget | None = None,
    character: Character | None = None,
    sharing: Sharing = ALONE,
) -> TrainingResult:
    """Train into a run folder; continues from the newest checkpoint when the folder holds one.

    Args:
        into: The run folder, new or interrupted.
        config: The checked configuration.
        config_text: duologue.toml as the person wrote it.
        plan: The plan whose settings are used.
        examples: Tokenized splits.
        stats: Their token counts.
        account: The account of the data files.
        trainer: The engine.
        on_event: Receives every event after it was written to the run folder.
        should_stop: When set, the run saves and ends with `InterruptedRun`.
        calibrates: Where planned against measured is kept for the next plan; None keeps it in the run folder only.
        character: Who answers the prompts of the evaluation while the run goes; None draws no replies.
        sharing: How the run is spread over devices.

    Raises:
        ConfigError: It cannot be spread so, or was started in another way.
        InterruptedRun: `should_stop` was set, or a process was lost.
        EngineError: As `Trainer.fit` raises it; a full disk while writing the ledger.
    """
    write_ledger(into, config, config_text=config_text, plan=plan, stats=stats, account=account, character=character)
    samples = SampleRequest()
    if character is not None and config.training.num_sample_replies:
        base = BaseModel(config.model.base, trusted_code=config.model.trusted_code)
        samples = sample_request(config, character, trainer.tokenizer(base))
    job = shared_job(make_job(config, plan, into.folder, samples=samples), sharing)
    keep_sharing(into, sharing)
    try:
        with RunSinks(into.folder, pass_on=on_event) as sinks:
            fit = trainer.fit(job, examples.train, examples.validation, on_event=sinks, should_stop=should_stop)
    except OSError as error:
        raise EngineError(
            f"the run folder cannot be written ({error.strerror})",
            where=str(into.folder),
            action="Free some disk space, then go on with: duologue train FOLDER --resume",
        ) from error
    return close_ledger(into, job, plan, fit, calibrates=calibrates if sharing == ALONE else None)


def close_ledger(
    into: Run,
    job: TrainingJob,
    plan: Plan,
    fit: FitResult,
    *,
    calibrates: CalibrationTarget | None = None,
    lineage: Mapping[str, Any] | None = None,
) -> TrainingResult:
    """Hold the plan against what was measured and write the manifest, which makes a run a finished one.

    Args:
        into: The run folder.
        job: What the engine was asked to do.
        plan: What was planned.
        fit: What the engine measured.
        calibrates: Where planned against measured is kept for the next plan, which is about one device.
        lineage: What the manifest says of where the run comes from.

    Raises:
        EngineError: The disk is full.
    """
    history = read_history(into)
    versus = _plan_versus_actual(plan, fit, history)
    learned = ""
    if calibrates is not None:
        learned = keep_run(calibrates, plan, versus, model=job.base.name, num_steps=fit.num_steps)
    manifest = {**_manifest(job, fit, history, versus), "learned": learned, **(lineage or {})}
    into.write("manifest.json", manifest)
    return TrainingResult(into, fit, versus, learned)


def write_ledger(
    into: Run,
    config: Config,
    *,
    config_text: str,
    plan: Plan,
    stats: DataStats,
    account: Account,
    character: Character | None,
    feedback: Mapping[str, Any] | None = None,
) -> None:
    """Write down how a run is started, `plan.json` last; a resumed run's ledger is left as it is.

    Args:
        into: The run folder.
        config: The checked configuration.
        config_text: duologue.toml as the person wrote it.
        plan: The plan whose settings are used.
        stats: Token counts.
        account: The account of the data files.
        character: Whose card is in front.
        feedback: The account of the feedback, where that is what is learned.

    Raises:
        EngineError: The disk is full.
    """
    if (into.folder / "plan.json").is_file():
        return  # resumed: the ledger says how the run was started
    (into.folder / "duologue.toml").write_text(config_text, encoding="utf-8")
    into.write("resolved.json", config.model_dump(mode="json"))
    learned_from = {"feedback": feedback} if feedback is not None else {}
    into.write("data.json", {**account.as_json(), "stats": asdict(stats), **learned_from})
    if character is not None:
        into.write(PROMPT_FILE, prompt_of(config, character))
    into.write("plan.json", plan.as_json())


def make_job(config: Config, plan: Plan, run_folder: Path, *, samples: SampleRequest = NO_SAMPLES) -> TrainingJob:
    """Return what the engine is asked to do; a probe asks for the same.

    Args:
        config: The configuration.
        plan: Its settings take the place of every `auto`.
        run_folder: Where the run lies.
        samples: Replies to draw at each evaluation.
    """
    settings, training = plan.settings, config.training
    return TrainingJob(
        base=BaseModel(
            name=config.model.base,
            quantization=settings.quantization,
            use_double_quantization=config.model.use_double_quantization,
            int8_threshold=config.model.int8_threshold,
            compute_dtype=settings.compute_dtype,
            trusted_code=config.model.trusted_code,
        ),
        lora=lora_settings(config),
        max_steps=settings.max_steps,
        micro_batch_size=settings.micro_batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        learning_rate=training.learning_rate,
        lr_schedule=training.lr_schedule,
        warmup_steps=settings.warmup_steps,
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        use_gradient_checkpointing=settings.use_gradient_checkpointing,
        seed=config.run.seed,
        save_every_steps=settings.save_every_steps,
        eval_every_steps=settings.eval_every_steps,
        num_checkpoints=training.num_checkpoints,
        run_folder=run_folder,
        pack_length_tokens=config.data.max_length_tokens if training.packing else 0,
        optimizer="adamw" if training.optimizer == "auto" else training.optimizer,
        neftune_alpha=training.neftune_alpha,
        adapter_dtype="float32" if training.adapter_dtype == "auto" else training.adapter_dtype,
        use_compile=training.compile,
        early_stopping_patience=training.early_stopping_patience,
        early_stopping_on=training.early_stopping_on,
        samples=samples,
    )


def _plan_versus_actual(plan: Plan, fit: FitResult, history: History) -> dict[str, dict[str, float]]:
    """Planned and measured, with the plan's intervals; that of the minutes is the relative one of the whole run."""
    seconds = sum(record.seconds for record in history.steps)  # a resumed run took longer than its last process
    num_tokens = sum(record.num_tokens for record in history.steps)
    time, memory = plan.time, plan.memory
    low, high = (
        end / time.total_minutes if time.total_minutes else 1.0 for end in (time.low_minutes, time.high_minutes)
    )
    offset = memory.device_gib - memory.allocated_gib  # the interval is the device's, the engine measures tensors
    return {
        "tokens_per_second": {
            "plan": time.tokens_per_second,
            "actual": num_tokens / seconds if seconds else 0.0,
            "low": time.tokens_per_second / high if high else time.tokens_per_second,
            "high": time.tokens_per_second / low if low else time.tokens_per_second,
        },
        "train_minutes": {
            "plan": time.train_minutes,
            "actual": seconds / 60,
            "low": low * time.train_minutes,
            "high": high * time.train_minutes,
        },
        "memory_gib": {
            "plan": memory.allocated_gib,
            "actual": fit.peak_memory_bytes / 2**30,
            "low": max(0.0, memory.low_gib - offset),
            "high": max(memory.allocated_gib, memory.high_gib - offset),
        },
    }


def _manifest(
    job: TrainingJob, fit: FitResult, history: History, versus: dict[str, dict[str, float]]
) -> dict[str, Any]:
    files = sorted(path for path in fit.adapter.folder.iterdir() if path.is_file())
    return {
        "base": asdict(job.base),
        "lora": asdict(job.lora),
        "adapter_sha256": {path.name: file_sha256(path) for path in files},
        "num_steps": fit.num_steps,
        "final_loss": fit.final_loss,
        "num_tokens": fit.num_tokens,
        "num_trained_tokens": fit.num_trained_tokens,
        "seconds": fit.seconds,
        "peak_memory_bytes": fit.peak_memory_bytes,
        "reload_max_difference": fit.reload_max_difference,
        "changes": list(fit.changes),
        "fast_path": list(fit.fast_path),
        "was_stopped_early": fit.was_stopped_early,
        "kept_step": history.kept_step or fit.num_steps,
        "num_loss_spikes": sum(record.is_spike for record in history.steps),
        "plan_versus_actual": versus,
        "versions": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "machine": platform.platform(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
