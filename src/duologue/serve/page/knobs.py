"""What a person sets before a training, in plain words, and the keys of duologue.toml it means."""

import json
import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from duologue.config import CONFIG_NAME, RECIPES, Config, recipe_text, with_key
from duologue.files import write_whole
from duologue.serve.page.body import Body
from duologue.serve.refusal import ApiError

Value = str | int | float | bool | tuple[str, ...]
_OF_RECIPES = ("model", "lora", "training", "budget")  # a recipe decides these sections whole
_NOT_OF_RECIPES = ("data.train",)
_ADVISED = re.compile(
    r"model\.(quantization|use_double_quantization)|data\.max_length_tokens|lora\.(rank|alpha|target_modules|num_layers)"
    r"|training\.(micro_batch_size|gradient_accumulation_steps|packing|gradient_checkpointing|optimizer|adapter_dtype)"
)


class Knobs(Body):
    """What is to be different from duologue.toml; what is None stays."""

    recipe: Literal["", "quickstart", "original", "optimized", "best-24gb", "best-16gb", "best-12gb", "best-8gb"] = ""
    num_epochs: Annotated[float, Field(gt=0, le=50)] | None = None
    max_minutes: Annotated[float, Field(ge=0, le=100_000)] | None = None
    """0 is as long as it takes."""
    quantization: Literal["auto", "none", "int8", "nf4"] | None = None
    max_length_tokens: Annotated[int, Field(ge=64, le=131_072)] | None = None
    rank: Annotated[int, Field(ge=1, le=512)] | None = None
    saves_memory: bool | None = None
    advice: Annotated[str, Field(max_length=600)] = ""
    """What the plan advises, in its own words: `--set training.micro_batch_size=1`."""


def changes_of(knobs: Knobs, folder: Path) -> dict[str, Value]:
    """Return every key that the knobs set, with its value."""
    changes: dict[str, Value] = {}
    if knobs.recipe:
        changes |= _recipe_changes(knobs.recipe, folder)
    if knobs.num_epochs is not None:
        changes |= {"training.num_epochs": float(knobs.num_epochs), "training.max_steps": "auto"}
    if knobs.max_minutes is not None:
        changes["budget.max_minutes"] = float(knobs.max_minutes) or "unlimited"
    if knobs.quantization is not None:
        changes["model.quantization"] = knobs.quantization
    if knobs.max_length_tokens is not None:
        changes["data.max_length_tokens"] = knobs.max_length_tokens
    if knobs.rank is not None:
        changes |= {"lora.rank": knobs.rank, "lora.alpha": 2 * knobs.rank}
    if knobs.saves_memory is not None:
        changes["training.gradient_checkpointing"] = "on" if knobs.saves_memory else "auto"
    return {**changes, **_advised(knobs.advice)}


def as_options(changes: Mapping[str, Value]) -> list[str]:
    """Return changes as options of the command line."""
    return [word for key, value in changes.items() for word in ("--set", f"{key}={json.dumps(value)}")]


def write_changes(folder: Path, changes: Mapping[str, Value]) -> None:
    """Set keys in a character's duologue.toml, all or none; comments and every other line stay.

    Raises:
        ConfigError: The file writes one of them in a way that cannot be changed safely.
        OSError: It cannot be written.
    """
    path = folder / CONFIG_NAME
    before = text = path.read_text(encoding="utf-8")
    for key, value in changes.items():
        text = with_key(text, key, value, where=str(path))
    if text == before:
        return
    write_whole(path, text)


def settings_json(config: Config) -> dict[str, Any]:
    """Return where the knobs stand, and the recipes there are."""
    minutes = config.budget.max_minutes
    return {
        "base": config.model.base,
        "num_epochs": config.training.num_epochs,
        "max_steps": None if config.training.max_steps == "auto" else config.training.max_steps,
        "max_minutes": 0 if minutes == "unlimited" else minutes,
        "quantization": config.model.quantization,
        "max_length_tokens": config.data.max_length_tokens,
        "rank": config.lora.rank,
        "saves_memory": config.training.gradient_checkpointing == "on",
        "recipes": [_recipe_json(name, config) for name in RECIPES],
    }


def _advised(advice: str) -> dict[str, Value]:
    """Return the keys of a plan's advice.

    Raises:
        ApiError: 400 when it sets anything a plan would not advise.
    """
    try:
        words = shlex.split(advice)
    except ValueError as error:
        raise ApiError(400, f"advice: {error}", code="invalid_body", param="advice") from error
    changes: dict[str, Value] = {}
    for option, word in zip(words[::2], [*words[1::2], ""], strict=False):
        key, _, text = word.partition("=")
        if option != "--set" or not _ADVISED.fullmatch(key):
            raise ApiError(400, f"advice: '{option} {word}' is nothing a plan advises", param="advice")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        changes[key] = tuple(value) if isinstance(value, list) else value
    return changes


def _recipe_json(name: str, config: Config) -> dict[str, Any]:
    tree = config.model_dump(mode="json")
    values = _recipe_values(name)
    is_current = all(tree[key.partition(".")[0]][key.partition(".")[2]] == value for key, value in values.items())
    return {"name": name, "base": values["model.base"], "is_current": is_current}


def _recipe_values(name: str) -> dict[str, Value]:
    tree = tomllib.loads(recipe_text(name))
    values = {f"{section}.{key}": value for section, keys in tree.items() for key, value in keys.items()}
    return {key: value for key, value in values.items() if key not in _NOT_OF_RECIPES}


def _recipe_changes(name: str, folder: Path) -> dict[str, Value]:
    """Return the keys of a recipe, and those it does not name back at their defaults."""
    values = _recipe_values(name)
    tree = tomllib.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    for section in _OF_RECIPES:
        known = Config.model_fields[section].annotation
        assert known is not None
        for key in tree.get(section, {}):
            field = known.model_fields.get(key)
            if field is not None and f"{section}.{key}" not in values and not field.is_required():
                values[f"{section}.{key}"] = field.get_default(call_default_factory=True)
    return values
