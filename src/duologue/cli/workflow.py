"""The steps that several commands share: open a folder, prepare a run, train it, measure it, serve it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from duologue.characters import Character
from duologue.chat import load_folder_character
from duologue.cli.calibration import calibration_target, measured_here
from duologue.cli.output import Output
from duologue.cli.progress import show_progress
from duologue.cli.show import show_account
from duologue.cli.show_plan import show_plan
from duologue.config import CONFIG_NAME, Config, load_config
from duologue.data import Account, DataStats, ExampleSets, prepare_examples, resolve_files
from duologue.engine import (
    Adapter,
    BaseModel,
    EngineName,
    Hardware,
    Place,
    Probe,
    Trainer,
    detect_hardware,
    open_trainer,
)
from duologue.errors import ConfigError
from duologue.plan import Plan, known_facts, make_plan
from duologue.train import (
    ALONE,
    Sharing,
    TrainingResult,
    find_adapter,
    load_resumable,
    new_run,
    run,
    training_lock,
)

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Prepared:
    """A character's folder, read and tokenized."""

    folder: Path
    config: Config
    config_text: str
    character: Character
    account: Account
    examples: ExampleSets
    stats: DataStats
    hardware: Hardware
    trainer: Trainer


def open_folder(folder: Path, overrides: list[str] | None = None) -> Config:
    """Return the config of a character's folder.

    Raises:
        ConfigError: The folder is missing, or duologue.toml has faults.
    """
    if not folder.is_dir():
        raise ConfigError("there is no such folder", where=str(folder), action="Make one with: duologue new NAME")
    return load_config(folder / CONFIG_NAME, overrides=overrides or ())


def prepare(
    folder: Path, overrides: list[str] | None, *, engine: EngineName = "hf", place: Place | None = None
) -> Prepared:
    """Return everything a run needs before it is planned.

    Raises:
        DuologueError: Config, card, data or base model have faults.
    """
    config = open_folder(folder, overrides)
    character = load_folder_character(folder, config)
    resolve_files(config.data.train, folder)  # a missing file is said before a model library is loaded
    trainer = open_trainer(engine, place=place)
    tokenizer = trainer.tokenizer(BaseModel(config.model.base, trusted_code=config.model.trusted_code))
    with show_progress(Output(is_json=True)) as on_event:
        examples = prepare_examples(config, folder, tokenizer=tokenizer, character=character, on_event=on_event)
    return Prepared(
        folder=folder,
        config=config,
        config_text=(folder / CONFIG_NAME).read_text(encoding="utf-8"),
        character=character,
        account=examples.account,
        examples=examples,
        stats=examples.stats,
        hardware=detect_hardware(folder, measure_cpu=True),
        trainer=trainer,
    )


def trained_adapter_or_none(folder: Path) -> Adapter | None:
    """Return the adapter of the newest finished run, or None when nothing was trained yet."""
    found = find_adapter(folder)
    return found[1] if found else None


def trained_adapter(folder: Path) -> Adapter:
    """Return the adapter of the newest finished run.

    Raises:
        ConfigError: Nothing was trained yet.
    """
    adapter = trained_adapter_or_none(folder)
    if adapter is None:
        raise ConfigError("nothing is trained yet", where=str(folder), action=f"Run: duologue train {folder}")
    return adapter


def plan_of(prepared: Prepared, *, probe: Probe | None = None) -> Plan:
    """Return the plan for the machine at hand, from what was measured on it before and, if there is one, a probe."""
    model = prepared.config.model
    base = BaseModel(model.base, trusted_code=model.trusted_code)
    facts = known_facts(base.name) or prepared.trainer.facts(base)
    measured = measured_here(probe)
    return make_plan(prepared.config, prepared.stats, facts, prepared.hardware, measured=measured)


def train_run(
    prepared: Prepared, out: Output, *, is_resumed: bool, sharing: Sharing = ALONE
) -> tuple[Plan, TrainingResult]:
    """Plan, show and train; or continue the interrupted run with the plan it was started with.

    Raises:
        InterruptedRun: Ctrl-C or SIGTERM; everything up to the last step is saved.
    """
    with training_lock(prepared.folder / "runs"):
        if is_resumed:
            into, plan = load_resumable(prepared.folder, prepared.config, prepared.account, prepared.character)
        else:
            into, plan = None, plan_of(prepared)
        out.title("The data")
        show_account(out, prepared.account, prepared.stats)
        out.title("The plan")
        show_plan(out, plan)
        into = into or new_run(prepared.folder, today=date.today())
        out.title(f"Training, run {into.name}")
        if sharing.num_processes > 1:
            out.say(f"shared by {sharing.num_processes} processes; the plan above is for one")
        out.say(f"live curves: tensorboard --logdir {into.folder / 'tensorboard'}")
        with stop_on_signals() as should_stop, show_progress(out) as on_event:
            result = run(
                into,
                prepared.config,
                config_text=prepared.config_text,
                plan=plan,
                examples=prepared.examples,
                stats=prepared.stats,
                account=prepared.account,
                trainer=prepared.trainer,
                on_event=on_event,
                should_stop=should_stop,
                calibrates=calibration_target(),
                character=prepared.character,
                sharing=sharing,
            )
    return plan, result


@contextlib.contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C or SIGTERM sets; a second Ctrl-C interrupts at once."""
    should_stop = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        if should_stop.is_set():
            raise KeyboardInterrupt
        should_stop.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield should_stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
