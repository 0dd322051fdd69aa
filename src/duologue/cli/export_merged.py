"""`duologue export merged`: base and adapter as one model."""

from pathlib import Path
from typing import Annotated

import typer

from duologue.cli.exporting import OntoOption, held_out
from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.progress import show_progress
from duologue.cli.workflow import open_folder, prepare, trained_adapter


def merged(
    folder: Annotated[Path, typer.Argument(help="A character's folder.")],
    to: Annotated[
        Path | None, typer.Option(help="Target folder; exports/merged in the character's folder if unset.")
    ] = None,
    onto: OntoOption = "closer",
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Fold the adapter into the base and write one model, compared with what was trained."""
    from duologue.export import MERGED_FOLDER, run_merged

    out = Output(is_json=is_json)
    open_folder(folder, overrides)
    adapter = trained_adapter(folder)
    prepared = prepare(folder, overrides)
    config = prepared.config
    with show_progress(out) as on_event:
        artifact = run_merged(
            adapter,
            to or folder / MERGED_FOLDER,
            trainer=prepared.trainer,
            dtype=config.export.dtype,
            character=prepared.character,
            held_out=held_out(prepared),
            onto=onto,
            rating=config.guard.rating,
            on_event=on_event,
        )
    parity = artifact.parity
    assert parity is not None, "a merged model is always compared"
    out.say(
        f"wrote {artifact.path}, folded onto the {artifact.onto} weights; beside the adapter on its base over "
        f"{parity.num_positions} tokens: {parity.greedy_agreement:.1%} the same, KL divergence "
        f"{parity.mean_kl_nats:.2g} nats"
    )
    out.result(artifact.as_json())
