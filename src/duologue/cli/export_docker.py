"""`duologue export docker`: a folder that `docker compose up` builds and starts."""

from pathlib import Path
from typing import Annotated

import typer

from duologue import __version__
from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.workflow import open_folder, trained_adapter_or_none


def docker(
    folder: Annotated[Path, typer.Argument(help="A character's folder.")],
    *,
    to: Annotated[
        Path | None, typer.Option(help="Target folder; exports/docker in the character's folder if unset.")
    ] = None,
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Write a folder that docker compose builds and starts: the program, the character, a database."""
    from duologue.export import run_docker

    out = Output(is_json=is_json)
    config = open_folder(folder, overrides)
    adapter = trained_adapter_or_none(folder)
    target = to or folder / "exports" / "docker"
    artifact = run_docker(folder, target, config=config, adapter=adapter, version=__version__)
    num_bytes = sum((artifact.path / name).stat().st_size for name in artifact.sha256)
    out.say(f"wrote {artifact.path}: {len(artifact.sha256)} files, {num_bytes / 2**20:.1f} MiB")
    if adapter is None:
        out.say("nothing is trained yet, so the base model replies")
    out.say("chats, memories and the data it learned from did not go along; next: its README.md")
    out.result({**artifact.as_json(), "num_bytes": num_bytes})
