"""Presets: named sampler settings that stand below what a person sets in `[generation]`."""

import difflib
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from duologue.config.schema import GenerationSection

_NOT_SAMPLING = ("preset", "context_tokens", "summarise")
PRESET_KEYS = tuple(key for key in GenerationSection.model_fields if key not in _NOT_SAMPLING)


def preset_names() -> tuple[str, ...]:
    """Return the names of the shipped presets."""
    folder = resources.files("duologue.config").joinpath("presets")
    return tuple(sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml")))


def preset_text(name: str) -> str:
    """Return the TOML text of a shipped preset; its first lines say what it is for."""
    return resources.files("duologue.config").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")


def preset_about(name: str) -> str:
    """Return what a shipped preset is for: the first sentence of its file."""
    return preset_text(name).removeprefix("#").partition("\n")[0].strip().partition(". ")[0].rstrip(".") + "."


def read_preset(name: str, *, folder: Path) -> tuple[dict[str, Any], str, list[str]]:
    """Return a preset's keys, the name it is found by from anywhere, and what is wrong with it.

    Args:
        name: A shipped preset, or a TOML file.
        folder: What a relative path of a file is relative to.
    """
    names = preset_names()
    if name in names:
        text = preset_text(name)
    elif name.endswith(".toml") or "/" in name:
        path = folder / Path(name).expanduser()
        name = str(path.absolute())
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            return {}, name, [f"generation.preset: {path} cannot be read ({reason})"]
    else:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean '{near[0]}'? Or " if near else ""
        listed = ", ".join(names)
        return {}, name, [f"generation.preset: there is no preset '{name}'; {hint}one of {listed}, or a .toml file"]
    try:
        keys = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return {}, name, [f"generation.preset: {name} is not TOML: {error}"]
    return keys, name, [f"generation.preset: {name}: {fault}" for key in keys if (fault := _foreign(key))]


def _foreign(key: str) -> str:
    """Return what is wrong with a key that a preset cannot hold, or an empty string."""
    if key in PRESET_KEYS:
        return ""
    if key in _NOT_SAMPLING:
        return f"'{key}' belongs into duologue.toml, not into a preset"
    near = difflib.get_close_matches(key, PRESET_KEYS, n=1)
    return f"unknown key '{key}'" + (f"; did you mean '{near[0]}'?" if near else "; a preset holds bare keys")
