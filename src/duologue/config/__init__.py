"""duologue.toml to a frozen `Config`; recipes and presets; the JSON schema."""

from duologue.config.edit import set_key, with_key
from duologue.config.folder import make_folder
from duologue.config.load import (
    CONFIG_NAME,
    HOME_NAME,
    RECIPES,
    load_config,
    load_home,
    load_recipe,
    make_config,
    recipe_text,
    write_config,
)
from duologue.config.measuring import EvaluationSection
from duologue.config.preset import PRESET_KEYS, preset_about, preset_names
from duologue.config.reference import json_schema, reference_markdown
from duologue.config.schema import Config, Home
from duologue.config.serving import AgeSection, GuardSection, ServerSection

__all__ = [
    "CONFIG_NAME",
    "HOME_NAME",
    "PRESET_KEYS",
    "RECIPES",
    "AgeSection",
    "Config",
    "EvaluationSection",
    "GuardSection",
    "Home",
    "ServerSection",
    "json_schema",
    "load_config",
    "load_home",
    "load_recipe",
    "make_config",
    "make_folder",
    "preset_about",
    "preset_names",
    "recipe_text",
    "reference_markdown",
    "set_key",
    "with_key",
    "write_config",
]
