"""`duologue export space`: the folder of a Hugging Face Space."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from duologue.chat import load_folder_character
from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.workflow import open_folder
from duologue.engine import Adapter, detect_hardware
from duologue.errors import ConfigError
from duologue.plan import hardware_for, known_facts, machine_of, plan_chat
from duologue.train import find_adapter

if TYPE_CHECKING:
    from duologue.export import SpaceModel

_ZERO_GPU_CARD = "RTX PRO 6000 Blackwell 96GB"  # what ZeroGPU lends (2026-08)
_UNKNOWN_TOKENS_PER_SECOND = 10.0  # a base nothing is known of: rather ask for too long than break a reply off


def space(
    folder: Annotated[Path, typer.Argument(help="A character's folder.")],
    *,
    to: Annotated[
        Path | None, typer.Option(help="Target folder; exports/space in the character's folder if unset.")
    ] = None,
    zero_gpu: Annotated[
        bool | None, typer.Option("--zero-gpu/--no-zero-gpu", help="On ZeroGPU (the default), or on cpu-basic.")
    ] = None,
    hardware: Annotated[str, typer.Option(help="Another hardware of the Hub, such as l4x1.")] = "",
    gguf: Annotated[
        Path | None, typer.Option(help="The GGUF file that replies; on a CPU the exported one if unset.")
    ] = None,
    base: Annotated[str, typer.Option(help="The base's name on the Hub, where it is a folder here.")] = "",
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Write the folder of a Hugging Face Space that serves the character."""
    from duologue.export import ZERO_GPU, run_space

    out = Output(is_json=is_json)
    if hardware and zero_gpu is not None:
        raise ConfigError("--hardware and --zero-gpu exclude each other", action="Give one of them.")
    hardware = hardware or ("cpu-basic" if zero_gpu is False else ZERO_GPU)
    config = open_folder(folder, overrides)
    model = _model(folder, base or "", config.model.base, hardware=hardware, gguf=gguf)
    artifact = run_space(
        folder,
        to or folder / "exports" / "space",
        config=config,
        character=load_folder_character(folder, config),
        model=model,
        hardware=hardware,
    )
    num_bytes = sum((artifact.path / name).stat().st_size for name in artifact.sha256)
    replies = f"{model.gguf.name}" if model.gguf else f"{model.base}{' with its adapter' if model.adapter else ''}"
    out.say(
        f"wrote {artifact.path}: {len(artifact.sha256)} files, {num_bytes / 2**20:.1f} MiB, for {hardware}; "
        f"{replies} replies"
    )
    if not model.gguf and model.adapter is None:
        out.say("nothing is trained yet, so the base model replies")
    if not model.gguf and hardware.startswith("cpu"):
        out.say("on a CPU a GGUF file replies several times faster: duologue export gguf, then this again")
    if config.guard.rating != "general":
        out.say(f"rating {config.guard.rating}: tagged not-for-all-audiences; it starts only with a proof of age")
    out.say(f"next: duologue push {artifact.path} --to OWNER/NAME --what space --dry-run")
    out.result({**artifact.as_json(), "num_bytes": num_bytes, "model": replies})


def _model(folder: Path, named: str, configured: str, *, hardware: str, gguf: Path | None) -> "SpaceModel":
    from duologue.export import SpaceModel

    if gguf is not None and not gguf.is_file():
        raise ConfigError("there is no such file", where=str(gguf))
    found = find_adapter(folder)
    if gguf is None and found and hardware.startswith("cpu"):
        gguf = _exported_gguf(folder, found[1])
    if gguf is not None:
        return SpaceModel(named or configured, gguf=gguf)
    base = named or (found[1].base.name if found else configured)
    facts = known_facts(configured)
    speed = _UNKNOWN_TOKENS_PER_SECOND
    if facts is not None:
        machine = machine_of(hardware_for(_ZERO_GPU_CARD, base=detect_hardware(folder, measure_cpu=False)))
        quantization = found[1].base.quantization if found else "none"
        ways = plan_chat(facts, machine, quantization=quantization, context_tokens=min(facts.context_tokens, 8192))
        speed = next(way.low_tokens_per_second for way in ways if way.engine == "hf")
    if found is None:
        return SpaceModel(base, tokens_per_second=speed)
    return SpaceModel(base, adapter=found[1], run=found[0].name, tokens_per_second=speed)


def _exported_gguf(folder: Path, adapter: Adapter) -> Path | None:
    """Return the GGUF export of the adapter, where there is one in one file.

    Raises:
        ConfigError: There is one, of another adapter or changed.
    """
    from duologue.export import find_gguf

    found = find_gguf(folder, adapter)
    if found is None or found.lora is not None:
        return None
    if found.fault:
        raise ConfigError(
            f"the GGUF export cannot be used: {found.fault}",
            where=str(found.folder),
            action=f"Export it again: duologue export gguf {folder}; or name a file with --gguf.",
        )
    return found.file
