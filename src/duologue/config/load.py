"""Files and overrides to a checked `Config`: all faults at once, each with the nearest known key."""

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from duologue.config.preset import PRESET_KEYS, read_preset
from duologue.config.schema import Config, Home
from duologue.config.section import Section
from duologue.errors import ConfigError
from duologue.files import write_whole

CONFIG_NAME = "duologue.toml"
HOME_NAME = "home.toml"
RECIPES = ("quickstart", "original", "optimized", "best-24gb", "best-16gb", "best-12gb", "best-8gb")


def load_config(path: Path, *, overrides: Iterable[str] = ()) -> Config:
    """Return the checked config of a duologue.toml.

    Args:
        path: The file.
        overrides: Lines of `--set`, such as `training.learning_rate=1e-4`.

    Raises:
        ConfigError: The file is missing, is not TOML, or has faults; all faults are named at once.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"the file cannot be read ({reason})", where=str(path), action="Make one with: duologue new NAME"
        ) from error
    return make_config(_parse(text, where=str(path)), overrides=overrides, where=str(path), folder=path.parent)


def load_recipe(name: str, *, overrides: Iterable[str] = ()) -> Config:
    """Return the checked config of a shipped recipe.

    Raises:
        ConfigError: There is no such recipe.
    """
    where = f"recipe {name}"
    return make_config(_parse(recipe_text(name), where=where), overrides=overrides, where=where)


def recipe_text(name: str) -> str:
    """Return the TOML text of a shipped recipe."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1)
        action = f"Did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"there is no recipe '{name}'", needed=f"one of {', '.join(RECIPES)}", action=action)
    return resources.files("duologue.config").joinpath("recipes", f"{name}.toml").read_text(encoding="utf-8")


def make_config(tree: Mapping[str, Any], *, overrides: Iterable[str] = (), where: str, folder: Path = Path()) -> Config:
    """Return the checked config of a parsed tree with overrides applied, and its preset below both.

    Args:
        tree: Sections with their keys.
        overrides: Lines of `--set`.
        where: What the tree comes from, for errors.
        folder: What the path of a preset's file is relative to.

    Raises:
        ConfigError: With every fault of tree, overrides and preset.
    """
    merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in tree.items()}
    faults = [fault for line in overrides if (fault := _apply(merged, line))]
    preset, preset_faults = _put_preset_below(merged, folder)
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        faults += _fault_texts(error.errors(), preset=preset)
    faults += preset_faults
    if faults:
        raise _faulty(faults, where=where)
    return config


def load_home(folder: Path, *, overrides: Iterable[str] = ()) -> Home:
    """Return what holds for a server of all characters in a folder.

    Args:
        folder: A character's folder, whose duologue.toml says it, or one that holds characters' folders and perhaps a
            home.toml.
        overrides: Lines of `--set`.

    Raises:
        ConfigError: A file has faults; all faults are named at once.
    """
    if (folder / CONFIG_NAME).is_file():
        config = load_config(folder / CONFIG_NAME, overrides=overrides)
        return Home(server=config.server, guard=config.guard, age=config.age)
    path = folder / HOME_NAME
    try:
        tree = _parse(path.read_text(encoding="utf-8"), where=str(path)) if path.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the file cannot be read ({error})", where=str(path)) from error
    faults = [fault for line in overrides if (fault := _apply(tree, line))]
    try:
        home = Home.model_validate(tree)
    except ValidationError as error:
        faults += _fault_texts(error.errors(), preset={}, model=Home)
    if faults:
        raise _faulty(faults, where=str(path))
    return home


def write_config(config: Config, path: Path) -> None:
    """Write a config as JSON, every value spelled out."""
    write_whole(path, json.dumps(config.model_dump(mode="json"), indent=2) + "\n")


def _faulty(faults: Sequence[str], *, where: str) -> ConfigError:
    listed = "\n".join(f"  {fault}" for fault in faults)
    noun = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    action = "docs/reference/config.md lists every key with its unit."
    return ConfigError(f"{noun}:\n{listed}", where=where, action=action)


def _parse(text: str, *, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"this is not TOML: {error}", where=where) from error


def _apply(tree: dict[str, Any], line: str) -> str:
    """Put one override into the tree; return the fault, or an empty string."""
    key, equals, text = line.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) != 2 or not all(parts):
        return f"--set {line}: expected section.key=value"
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a text: --set model.base=bundled:smollm2-135m
    section = tree.setdefault(parts[0], {})
    if not isinstance(section, dict):
        return f"--set {line}: '{parts[0]}' is not a section"
    section[parts[1]] = value
    return ""


def _put_preset_below(tree: dict[str, Any], folder: Path) -> tuple[dict[str, str], list[str]]:
    """Fill `[generation]` up from its preset; return the keys it filled with the preset's name, and its faults."""
    section = tree.get("generation")
    name = section.get("preset") if isinstance(section, dict) else None
    if not isinstance(section, dict) or not isinstance(name, str) or not name:
        return {}, []
    keys, found, faults = read_preset(name, folder=folder)
    filled = {key: value for key, value in keys.items() if key in PRESET_KEYS and key not in section}
    tree["generation"] = {**filled, **section, "preset": found}
    return {f"generation.{key}": found for key in filled}, faults


def _fault_texts(
    details: Iterable[ErrorDetails], *, preset: Mapping[str, str], model: type[Section] = Config
) -> list[str]:
    """Return one line per key; a key of several types (`"auto"` or a number) fails once per type."""
    texts: dict[str, str] = {}
    for detail in details:
        path, fault = _fault(detail, model)
        texts[path] = f"{texts[path]} or {fault.partition('; ')[2]}" if path in texts else fault
    origins = {
        path: next((name for key, name in preset.items() if (path + ".").startswith(key + ".")), "") for path in texts
    }
    return [
        f"{path}: {fault}" + (f" (from the preset {origins[path]})" if origins[path] else "")
        for path, fault in texts.items()
    ]


def _fault(detail: ErrorDetails, model: type[Section]) -> tuple[str, str]:
    """Return the key and what is wrong with it."""
    location = [str(part) for part in detail["loc"] if not str(part).startswith(("literal[", "constrained-", "tuple["))]
    path = ".".join(location)
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], _known_keys(location[:-1], model), n=1)
        hint = f"; did you mean '{'.'.join([*location[:-1], near[0]])}'?" if near else ""
        return path, f"unknown key{hint}"
    if detail["type"] == "missing":
        return path, "missing; this key is required"
    found = json.dumps(detail["input"], default=str)
    shown = found if len(found) <= 80 else found[:77] + "..."
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return path, f"found {shown}; {message}"


def _known_keys(parents: list[str], model: type[Section]) -> list[str]:
    for part in parents:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        candidates = [annotation, *get_args(annotation)]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, Section)]
        if not nested:
            return []
        model = nested[0]
    return list(model.model_fields)
