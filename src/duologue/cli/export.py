"""`duologue export`: what leaves the workshop."""

from pathlib import Path
from typing import Annotated

import typer

from duologue.chat import load_folder_character
from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.workflow import open_folder, trained_adapter
from duologue.engine import open_trainer

app = typer.Typer(help="Ship a trained character.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Ship a trained character."""


@app.command()
def merged(
    folder: Annotated[Path, typer.Argument(help="A character's folder.")],
    to: Annotated[
        Path | None, typer.Option(help="Target folder; exports/merged in the character's folder if unset.")
    ] = None,
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Fold the adapter into the base and write one model, checked by its logits."""
    from duologue.export import run_merged

    out = Output(is_json=is_json)
    config = open_folder(folder, overrides)
    adapter = trained_adapter(folder)
    target = to or folder / "exports" / "merged"
    artifact = run_merged(
        adapter,
        target,
        trainer=open_trainer("hf"),
        dtype=config.export.dtype,
        character=load_folder_character(folder, config),
    )
    out.say(
        f"wrote {artifact.path}; largest logit difference after reading it back: {artifact.max_logit_difference:.2e}"
    )
    out.result(artifact.as_json())
