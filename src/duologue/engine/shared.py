"""One loaded base for several adapters: what the shelf asks of an engine that can do that."""

from typing import Protocol

from duologue.engine.base import Generator
from duologue.engine.job import Adapter, BaseModel
from duologue.engine.open import EngineName
from duologue.engine.threads import wait_without_spinning


class SharedBase(Protocol):
    """A loaded base model that several generators use, each with an adapter of its own or with none."""

    def generator(self, adapter: Adapter | None) -> Generator:
        """Return a generator over the base; closing it frees its adapter and keeps the base.

        Raises:
            EngineError: The adapter does not fit the base.
        """
        ...

    def close(self) -> None:
        """Free the base; its generators are closed before."""
        ...


def can_share(engine: EngineName, adapter: Adapter | None) -> bool:
    """Return whether an engine can put this adapter on a base that others use at the same time."""
    if engine != "hf" or adapter is None:
        return engine == "hf"
    from duologue.engine.hf.several import is_only_lora

    return is_only_lora(adapter)


def open_shared(engine: EngineName, base: BaseModel) -> SharedBase:
    """Load a base for several adapters.

    Raises:
        EngineError: Loading failed.
    """
    assert engine == "hf", "ask `can_share` first"
    wait_without_spinning()
    from duologue.engine.hf.several import Several

    return Several.open(base)
