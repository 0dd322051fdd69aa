"""`duologue export bundle`: a character whole in one file."""

import json
from pathlib import Path
from typing import Annotated

import typer

from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.places import memory_place
from duologue.cli.workflow import open_folder, trained_adapter
from duologue.config import Config
from duologue.errors import ConfigError


def bundle(
    folder: Annotated[Path, typer.Argument(help="A character's folder.")],
    *,
    to: Annotated[
        Path | None, typer.Option(help="Target file; exports/NAME.charx in the character's folder if unset.")
    ] = None,
    with_memories: Annotated[
        bool, typer.Option("--with-memories", help="Put in what the character remembers of you, but what is private.")
    ] = False,
    is_agreed: Annotated[bool, typer.Option("--yes", help="Do not ask before memories are put in.")] = False,
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Write card, adapter, lorebooks and settings as one file, which elsewhere opens as a character card."""
    from duologue.chat import load_folder_character
    from duologue.engine import open_trainer
    from duologue.export import write_bundle

    out = Output(is_json=is_json)
    config = open_folder(folder, overrides)
    adapter = trained_adapter(folder)
    character = load_folder_character(folder, config)
    memories = _memories(folder, config) if with_memories else ()
    if memories:
        _ask(out, len(memories), is_agreed=is_agreed)
    artifact = write_bundle(
        folder,
        to or folder / "exports" / f"{folder.resolve().name}.charx",
        config=config,
        character=character,
        adapter=adapter,
        tokenizer=open_trainer("hf").tokenizer(adapter.base),
        memories=memories,
    )
    for note in artifact.more["notes"]:
        out.say(note)
    told = f", {len(memories)} memories" if with_memories else "; no memories"
    out.say(f"wrote {artifact.path}: {artifact.more['files']} files, {artifact.more['bytes'] / 2**20:.1f} MiB{told}")
    out.say(f"elsewhere: duologue new NAME --bundle {artifact.path.name}")
    out.result(artifact.as_json())


def _memories(folder: Path, config: Config) -> tuple[str, ...]:
    """Return the operator's own memories as JSON lines; what is marked private, and other users', stays."""
    from duologue.chat import memory_scope
    from duologue.memory import MemoryStore

    store = MemoryStore.open(memory_place(folder))
    try:
        lines = tuple(store.export_lines(scope=memory_scope(folder, config)))
    finally:
        store.close()
    return tuple(line for line in lines if not json.loads(line)["is_private"])


def _ask(out: Output, count: int, *, is_agreed: bool) -> None:
    """Go on only with a person's yes.

    Raises:
        ConfigError: They said no, or nobody can be asked.
    """
    if is_agreed:
        return
    out.say(f"{count} memories hold what you told the character. Whoever gets the file can read them.")
    if out.is_json or not out.console.is_terminal or not typer.confirm("Put them in?", err=True):
        raise ConfigError(
            "nobody agreed to share the memories", action="Answer yes, add --yes, or leave out --with-memories."
        )
