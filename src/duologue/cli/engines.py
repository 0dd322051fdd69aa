"""Which model replies: the exported one of the newest run where there is one, else the adapter on its base."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from duologue.chat import Bot, People, open_bot
from duologue.cli.output import Output
from duologue.cli.places import database_url, judge_key, remote_key, supermemory_key
from duologue.config import Config, ServerSection
from duologue.engine import Adapter, BaseModel, EngineName, Shelf
from duologue.errors import ConfigError
from duologue.export import find_gguf
from duologue.train import find_adapter

_REMOTE_REPLIES = 16  # as many as vLLM batches on one card without slowing each much
EngineChoice = Literal["auto", "hf", "gguf", "remote", "fake"]
MeasuringEngine = Literal["auto", "hf", "gguf"]
EngineOption = Annotated[
    EngineChoice,
    typer.Option(help="Engine that replies; auto takes an exported GGUF of the newest run if there is one, else hf."),
]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is opened.

    Attributes:
        engine: Which engine.
        adapter: The adapter it applies; None for none.
        merged: The model that has the adapter in it; None where there is none.
        base: The base as the newest run held it, where it replies without an adapter; None where nothing was trained.
        words: What is opened, for people.
        note: What the person might have expected instead; empty when there is nothing to say.
    """

    engine: EngineName
    adapter: Adapter | None
    merged: BaseModel | None
    words: str
    note: str = ""
    base: BaseModel | None = None


def choose_model(folder: Path, config: Config, adapter: Adapter | None, *, engine: EngineChoice) -> Chosen:
    """Return what replies for a character.

    Args:
        folder: The character's folder.
        config: Its configuration.
        adapter: The adapter of the run one wants to talk to; None for the base model.
        engine: What was asked for.

    Raises:
        ConfigError: The engine `gguf` was asked for, and there is no export of this adapter.
    """
    if engine in ("remote", "fake"):
        return Chosen(engine, None, None, f"{config.model.base} ({engine})")
    if adapter is None:
        named: EngineName = "gguf" if engine == "gguf" else "hf"
        newest = find_adapter(folder) if named == "hf" else None
        base = newest[1].base if newest and newest[1].base.name == config.model.base else None
        return Chosen(named, None, None, f"{config.model.base} ({named})", base=base)
    run = adapter.folder.parent.name
    found = None if engine == "hf" else find_gguf(folder, adapter)
    if found is not None and not found.fault:
        base, lora = found.model()
        with_lora = f" with {found.lora}" if found.lora else ""
        words = f"{found.file}{with_lora} (gguf), exported from run {run}"
        return Chosen("gguf", lora, None if lora else base, words)
    missing = f"the export in {found.folder} is not used: {found.fault}" if found else ""
    if engine == "gguf":
        raise ConfigError(
            missing or f"run {run} is not exported as GGUF",
            where=str(folder),
            action=f"Run: duologue export gguf {folder}, or chat with --engine hf.",
        )
    note = f"{missing}; a new one: duologue export gguf {folder}" if missing else ""
    return Chosen("hf", adapter, None, f"{config.model.base} (hf)", note)


def open_chosen(
    folder: Path,
    config: Config,
    adapter: Adapter | None,
    out: Output,
    *,
    engine: EngineChoice,
    shelf: Shelf | None = None,
    people: People | None = None,
    num_replies: int = 1,
) -> Bot:
    """Open the bot of a folder with what replies for it, and say what that is.

    Raises:
        DuologueError: As `choose_model` and `open_bot`.
    """
    chosen = choose_model(folder, config, adapter, engine=engine)
    if chosen.note:
        out.say(chosen.note)
    out.say(f"opening {chosen.words}")
    return open_bot(
        folder,
        config,
        engine=chosen.engine,
        adapter=chosen.adapter,
        merged=chosen.merged,
        base=chosen.base,
        api_key=remote_key(),
        database_url=database_url(),
        supermemory_key=supermemory_key(),
        judge_key=judge_key(),
        shelf=shelf,
        people=people,
        num_replies=num_replies,
    )


def replies_at_once(settings: ServerSection, engine: EngineChoice) -> int:
    """Return how many replies one model makes at the same time."""
    if settings.max_replies != "auto":
        return settings.max_replies
    return _REMOTE_REPLIES if engine == "remote" else 1
