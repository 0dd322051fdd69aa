"""What `duologue plan` is about: a folder or a recipe, its data, and the machine."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from duologue.cli.calibration import with_cpu_speed
from duologue.config import RECIPES, Config, load_config, load_recipe
from duologue.data import DataStats
from duologue.engine import Hardware, ModelFacts, detect_hardware
from duologue.errors import ConfigError, PlanError
from duologue.plan import example_stats, hardware_for, known_facts, known_models

_ESTIMATED = "token counts are estimated from the text length; `duologue train` plans with exact ones"
_ASSUMED = "no data is given: 1,000 conversations are assumed, spread evenly up to data.max_length_tokens"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is planned.

    Attributes:
        name: Of the folder or the recipe.
        config: Its config.
        stats: Token counts of its data, uncut.
        notes: Where the counts come from.
        folder: The folder, when it is one.
    """

    name: str
    config: Config
    stats: DataStats
    notes: tuple[str, ...]
    folder: Path | None

    def facts(self) -> ModelFacts:
        """Return the shape of the base model.

        Raises:
            PlanError: It is not known without loading it.
        """
        return facts_of_base(self.config.model.base)


def subject_of(targets: list[str] | None, recipe: str, overrides: list[str] | None) -> Subject:
    """Return the folder or the recipe that is to be planned.

    Raises:
        ConfigError: There is none, or more than one, or it has faults.
    """
    if len(targets or ()) > 1:
        raise ConfigError(f"there are {len(targets or ())} folders", needed="one folder, or --compare before recipes")
    if targets and recipe:
        raise ConfigError(
            f"a folder ('{targets[0]}') and a recipe ('{recipe}') are given",
            needed="one of them",
            action=f"Both beside each other: duologue plan --compare {targets[0]} {recipe}",
        )
    if not targets and not recipe:
        raise ConfigError("nothing to plan", needed="a folder or --recipe NAME")
    return load_subject(targets[0] if targets else recipe, overrides, is_recipe=not targets)


def load_subject(name: str, overrides: list[str] | None, *, is_recipe: bool) -> Subject:
    """Return a recipe, or a folder with its data counted.

    Raises:
        ConfigError: There is no such recipe or folder, or its config has faults.
        DataError: The folder's data has faults.
    """
    if is_recipe:
        config = load_recipe(name, overrides=overrides or ())
        return Subject(name, config, example_stats(config), (_ASSUMED,), None)
    folder = Path(name)
    if not folder.is_dir():
        hint = (
            f"For the recipe: duologue plan --recipe {name}" if name in RECIPES else "Make one with: duologue new NAME"
        )
        raise ConfigError("there is no such folder", where=name, action=hint)
    from duologue.chat import load_folder_character
    from duologue.data import counted_stats

    config = load_config(folder / "duologue.toml", overrides=overrides or ())
    stats, is_exact = counted_stats(config, folder, load_folder_character(folder, config))
    return Subject(folder.name or name, config, stats, () if is_exact else (_ESTIMATED,), folder)


def facts_of_base(base: str) -> ModelFacts:
    """Return the shape of a base model by its name.

    Raises:
        PlanError: It is not known without loading it.
    """
    facts = known_facts(base)
    if facts is None:
        near = _near(base)
        raise PlanError(
            f"the shape of '{base}' is not known here",
            where="model.base",
            needed="a known model or a local folder with config.json"
            + (f"; known are {', '.join(near)}" if near else ""),
            action="Download the model's config.json and set model.base to its folder.",
        )
    return facts


def hardware_of(gpu: str, folder: Path | None) -> Hardware:
    """Return this machine, or this machine with another card. The CPU is measured only when it has to train."""
    here = folder or Path.cwd()
    hardware = detect_hardware(here, measure_cpu=False)
    if gpu:
        return hardware_for(gpu, base=hardware)
    if hardware.gpus:
        return hardware
    return with_cpu_speed(hardware, here)


def _near(base: str) -> list[str]:
    """Known models with a similar name; the publisher's part of the name counts little."""
    known = known_models()
    short = {name.rpartition("/")[2].lower(): name for name in known}
    asked = base.rpartition("/")[2].lower()
    return [short[match] for match in difflib.get_close_matches(asked, short, n=3, cutoff=0.5)]
