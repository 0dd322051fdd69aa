"""The choice of an engine by name. A model library is imported only when its engine is opened."""

from collections.abc import Sequence
from typing import Literal, get_args

from duologue.engine.base import Generator, Trainer
from duologue.engine.job import Adapter, BaseModel, Example, Place, TrainingJob
from duologue.engine.preference_job import PreferenceTrainer
from duologue.engine.probed import Probe
from duologue.engine.threads import wait_without_spinning
from duologue.errors import ConfigError

EngineName = Literal["hf", "gguf", "remote", "fake"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)


def open_trainer(name: EngineName, *, place: Place | None = None) -> Trainer:
    """Return the engine that trains.

    Args:
        name: Which engine.
        place: Where this process stands among those that a launcher started; None when there is no launcher.

    Raises:
        ConfigError: The engine only generates.
    """
    wait_without_spinning()
    if name == "hf":
        from duologue.engine.hf import HfTrainer

        return HfTrainer(place)
    if name == "fake":
        from duologue.engine.fake import FakeTrainer

        return FakeTrainer()
    raise ConfigError(f"engine '{name}' cannot train", needed="'hf' or 'fake'")


def open_preference_trainer() -> PreferenceTrainer:
    """Return the engine that learns from feedback: `hf` is the only one."""
    wait_without_spinning()
    from duologue.engine.hf import HfTrainer

    return HfTrainer()


def join_training(place: Place) -> None:
    """Do the part of a further process of a run until the run is over.

    Raises:
        DuologueError: As the run in the first process raises it.
    """
    wait_without_spinning()
    from duologue.engine.hf.worker import join

    join(place)


def probe_training(job: TrainingJob, examples: Sequence[Example]) -> Probe:
    """Return what a few real steps of a job need and take on this machine; nothing is saved.

    Raises:
        EngineError: The model cannot be loaded, memory ran out, or no gradient reaches the adapter.
    """
    wait_without_spinning()
    from duologue.engine.hf.probe import probe

    return probe(job, examples)


def open_generator(
    name: EngineName, base: BaseModel, *, adapter: Adapter | None = None, api_key: str = "", num_replies: int = 1
) -> Generator:
    """Load a model for talking.

    Args:
        name: Which engine.
        base: The base model; for `gguf` a `.gguf` file or a bundled name, for `remote` the address of the server
            followed by `#` and the model's name there.
        adapter: The adapter to apply; None talks to the base model.
        api_key: For `remote` only.
        num_replies: For `gguf` only: replies at the same time, each with memory for a whole context.

    Raises:
        ConfigError: The engine cannot open this model.
        EngineError: Loading failed.
    """
    wait_without_spinning()
    if name == "hf":
        from duologue.engine.hf import HfGenerator

        return HfGenerator.open(base, adapter=adapter)
    if name == "gguf":
        from duologue.engine.gguf import GgufGenerator

        return GgufGenerator.open(base, adapter=adapter, num_slots=num_replies)
    if name == "remote":
        from duologue.engine.remote import RemoteGenerator

        return RemoteGenerator.open(base, adapter=adapter, api_key=api_key)
    from duologue.engine.fake import FakeGenerator

    return FakeGenerator()
