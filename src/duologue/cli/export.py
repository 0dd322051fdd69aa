"""`duologue export`: what leaves the workshop."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from duologue import prompt
from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.progress import show_progress
from duologue.cli.workflow import open_folder, prepare, trained_adapter
from duologue.messages import Message

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
    onto: Annotated[
        Literal["closer", "original", "trained"],
        typer.Option(help="Fold onto the base's own weights or those it had in training; closer measures both."),
    ] = "closer",
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Fold the adapter into the base and write one model, compared with what was trained."""
    from duologue.export import HeldOut, run_merged

    out = Output(is_json=is_json)
    open_folder(folder, overrides)
    adapter = trained_adapter(folder)
    prepared = prepare(folder, overrides)
    config, character = prepared.config, prepared.character
    said = [
        prompt.build(character, (Message("user", text),), user_name=config.character.user_name)
        for text in config.evaluation.prompts
    ]
    with show_progress(out) as on_event:
        artifact = run_merged(
            adapter,
            to or folder / "exports" / "merged",
            trainer=prepared.trainer,
            dtype=config.export.dtype,
            character=character,
            held_out=HeldOut(prepared.examples.validation or prepared.examples.train, said),
            onto=onto,
            on_event=on_event,
        )
    parity = artifact.parity
    out.say(
        f"wrote {artifact.path}, folded onto the {artifact.onto} weights; beside the adapter on its base over "
        f"{parity.num_positions} tokens: {parity.greedy_agreement:.1%} the same, KL divergence "
        f"{parity.mean_kl_nats:.2g} nats"
    )
    out.result(artifact.as_json())
