"""`duologue plan`: fit, time and money before anything is spent. Imports no model library."""

from pathlib import Path
from typing import Annotated

import typer

from duologue.chat import load_folder_character
from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.show import show_plan
from duologue.cli.workflow import open_folder
from duologue.config import load_recipe
from duologue.data import estimate_stats, load_splits
from duologue.engine import detect_hardware
from duologue.errors import ConfigError, PlanError
from duologue.plan import example_stats, hardware_for, known_facts, make_plan


def plan(
    folder: Annotated[Path | None, typer.Argument(help="A character's folder.")] = None,
    recipe: Annotated[str, typer.Option(help="Plan a recipe instead of a folder.")] = "",
    gpu: Annotated[str, typer.Option(help='Plan for this card, such as "RTX 4090 24GB", not the one at hand.')] = "",
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Say whether a run fits, how long it takes and what it costs."""
    out = Output(is_json=is_json)
    if (folder is None) == (not recipe):
        raise ConfigError("nothing to plan", needed="a folder or --recipe NAME, not both")
    notes: tuple[str, ...] = ()
    if folder is not None:
        config = open_folder(folder, overrides)
        splits = load_splits(config, folder)
        stats = estimate_stats(splits, config, load_folder_character(folder, config))
        notes = ("token counts are estimated from the text length; `duologue train` plans with exact ones",)
    else:
        config = load_recipe(recipe, overrides=overrides or ())
        stats = example_stats(config)
    facts = known_facts(config.model.base)
    if facts is None:
        raise PlanError(
            f"the shape of '{config.model.base}' is not known here",
            where="model.base",
            needed="a known model or a local folder with config.json",
            action="Download the model's config.json and set model.base to its folder.",
        )
    hardware = detect_hardware(folder or Path.cwd(), measure_cpu=not gpu)
    made = make_plan(config, stats, facts, hardware_for(gpu, base=hardware) if gpu else hardware)
    show_plan(out, made)
    for note in notes:
        out.say(f"  {note}", style="dim")
    out.result({**made.as_json(), "notes": list(notes)})
