"""`duologue export gguf`: files for llama.cpp, Ollama and LM Studio."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

from duologue.cli.exporting import OntoOption, held_out
from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.progress import show_progress
from duologue.cli.workflow import open_folder, prepare, trained_adapter
from duologue.engine import GGUF_FORMS, GgufForm
from duologue.errors import ConfigError


def gguf(
    folder: Annotated[Path, typer.Argument(help="A character's folder.")],
    *,
    to: Annotated[
        Path | None, typer.Option(help="Target folder; exports/gguf in the character's folder if unset.")
    ] = None,
    form: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(GGUF_FORMS),
            help="How the weights are held; more than once for more files, export.gguf_forms if unset.",
        ),
    ] = None,
    lora: Annotated[bool, typer.Option("--lora", help="The base once, and the adapter as a file beside it.")] = False,
    onto: OntoOption = "closer",
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Write GGUF files, each compared in llama.cpp with what was trained, and what Ollama and LM Studio need."""
    from duologue.export import GGUF_FOLDER, MERGED_FOLDER, run_gguf

    out = Output(is_json=is_json)
    forms = _known(form or ())
    open_folder(folder, overrides)
    adapter = trained_adapter(folder)
    prepared = prepare(folder, overrides)
    with show_progress(out) as on_event:
        artifact = run_gguf(
            adapter,
            to or folder / GGUF_FOLDER,
            trainer=prepared.trainer,
            config=prepared.config,
            character=prepared.character,
            held_out=held_out(prepared),
            forms=forms,
            onto=onto,
            is_lora=lora,
            merged=folder / MERGED_FOLDER,
            on_event=on_event,
        )
    out.say(f"wrote {artifact.path}; in llama.cpp, beside the adapter on its base:")
    for row in artifact.more["files"]:
        out.say(f"  {row['file']}  {row['bytes'] / 2**20:,.1f} MiB{_words(row['parity'])}")
    out.result(artifact.as_json())


def _known(names: Sequence[str]) -> tuple[GgufForm, ...]:
    unknown = [name for name in names if name not in GGUF_FORMS]
    if unknown:
        raise ConfigError(f"there is no form '{unknown[0]}'", where="--form", needed=f"one of {', '.join(GGUF_FORMS)}")
    return tuple(cast("GgufForm", name) for name in names)


def _words(parity: dict[str, float] | None) -> str:
    if parity is None:
        return ""
    return (
        f"  {parity['greedy_agreement']:.1%} of {parity['num_positions']} tokens the same, KL divergence "
        f"{parity['mean_kl_nats']:.2g} nats"
    )
