"""duologue.toml to a frozen `Config`; recipes and presets; the JSON schema."""

from duologue.config.load import RECIPES, load_config, load_recipe, make_config, recipe_text, write_config
from duologue.config.preset import PRESET_KEYS, preset_about, preset_names
from duologue.config.reference import json_schema, reference_markdown
from duologue.config.schema import Config

__all__ = [
    "PRESET_KEYS",
    "RECIPES",
    "Config",
    "json_schema",
    "load_config",
    "load_recipe",
    "make_config",
    "preset_about",
    "preset_names",
    "recipe_text",
    "reference_markdown",
    "write_config",
]
