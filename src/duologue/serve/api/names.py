"""The names under which an API client may ask for a model.

`lila-quill` is the character: its model with its newest adapter, its card, its lore and what it remembers of whoever
asks. `smollm2-135m` is the base model alone, and `lila-quill:2026-11-22-1` that model with one adapter of the
character's, both without card, lore and memory.
"""

from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Literal

from duologue.serve.core import Core
from duologue.serve.library import BASE_RUN, Entry
from duologue.serve.refusal import ApiError

_MAX_SHOWN = 20  # names in an error; a home may hold hundreds


@dataclass(frozen=True, slots=True)
class Model:
    """A name and what it stands for.

    Attributes:
        id: The name.
        kind: A character, its base model alone, or that with an adapter.
        entry: The character whose model it is, with the rating under which it may be talked to.
        run: The run whose adapter is used; empty for the newest, `BASE_RUN` for none.
        name: As shown to people.
    """

    id: str
    kind: Literal["character", "base", "adapter"]
    entry: Entry
    run: str
    name: str

    @property
    def parent(self) -> str | None:
        """The model it is made of; None for a base model."""
        return None if self.kind == "base" or self.entry.config is None else base_name(self.entry.config.model.base)

    @property
    def root(self) -> str:
        """What is loaded: a base model by its name, an adapter by its run."""
        run = self.entry.runs[-1] if self.kind == "character" and self.entry.runs else self.run
        return f"{self.entry.id}/runs/{run}" if run and run != BASE_RUN else self.parent or self.id


def list_models(core: Core) -> tuple[Model, ...]:
    """Return every model: the characters that can be talked to, then base models, then adapters."""
    entries = [entry for entry in core.library.entries() if entry.config is not None and not entry.fault]
    models = {entry.id: Model(entry.id, "character", entry, "", entry.name) for entry in entries}
    for entry in entries:
        assert entry.config is not None
        name = base_name(entry.config.model.base)
        # Nobody's character: what holds for all of the home holds for it.
        own = replace(entry, rating=core.home.guard.rating)
        models.setdefault(name, Model(name, "base", own, BASE_RUN, name))
    for entry in entries:
        for run in entry.runs:
            name = f"{entry.id}:{run}"
            models.setdefault(name, Model(name, "adapter", entry, run, f"{entry.name}, adapter {run}"))
    return tuple(models.values())


def find_model(core: Core, name: str) -> Model:
    """Return a model.

    Raises:
        ApiError: 404 with the names there are; 409 when the character's folder has faults.
    """
    models = list_models(core)
    found = next((model for model in models if model.id == name), None)
    if found is not None:
        return found
    broken = next((entry for entry in core.library.entries() if entry.id == name and entry.fault), None)
    if broken is not None:
        raise ApiError(409, broken.broken().sentence(), code="broken", param="model")
    offered = ", ".join(f"'{model.id}'" for model in models[:_MAX_SHOWN])
    more = f" and {len(models) - _MAX_SHOWN} more" if len(models) > _MAX_SHOWN else ""
    raise ApiError(
        404,
        f"the model '{shown(name)}' does not exist; this server offers {offered or 'none yet'}{more}",
        code="model_not_found",
        param="model",
    )


def first_model(core: Core, name: str | None) -> Model:
    """Return the model of that name; the first one there is for clients that name none, as those of llama.cpp do.

    Raises:
        ApiError: 404 with the names there are; 409 when the character's folder has faults.
    """
    models = () if name else list_models(core)
    return models[0] if models else find_model(core, name or "")


def base_name(base: str) -> str:
    """Return how a base model is called outside: never with the folders or the address it lies at."""
    if "://" in base:
        address, _, name = base.partition("#")
        return name or PurePath(address.rstrip("/")).name
    base = base.removeprefix("bundled:")
    is_place = base.startswith(("/", "./", "../", "~")) or "\\" in base or base.endswith(".gguf")
    return PurePath(base.replace("\\", "/")).name if is_place else base


def shown(text: str) -> str:
    """Return the beginning of a client's text as an error may repeat it."""
    return text[:80].encode("utf-8", "replace").decode()
