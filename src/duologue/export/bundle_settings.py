"""`bundle_config`: the settings of a bundle to a duologue.toml that holds known keys only."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from duologue.config import Config, make_config
from duologue.errors import ConfigError
from duologue.export.bundle_form import SETTING_KEYS, shown

_HEAD = "# Unpacked from a bundle. Guard, server, keys and places are yours to set; the bundle cannot.\n"


def bundle_config(
    settings: Mapping[str, Any],
    *,
    base: str,
    card: str,
    lorebooks: Sequence[str],
    companions: Sequence[str],
    where: str,
) -> tuple[str, Config]:
    """Return the text of duologue.toml and its config; what is as it would be anyway is not written.

    Raises:
        ConfigError: The bundle sets a key that it may not, or a value that cannot be.
    """
    faults = []
    for section, keys in settings.items():
        names = keys if isinstance(keys, dict) else {"": None}
        allowed = SETTING_KEYS.get(section, ())
        faults += [f"{shown(section)}.{shown(key)}" for key in names if key not in allowed]
    if faults:
        raise ConfigError(
            f"the bundle sets what it may not: {', '.join(faults[:8])}",
            where=where,
            needed="settings of the character and its training only",
            action="Get it from its maker again, or take the card alone with --card.",
        )
    tree = {section: dict(keys) for section, keys in settings.items()}
    tree.setdefault("model", {})["base"] = base
    tree.setdefault("data", {})["train"] = ["data/*.json"]
    own = tree.setdefault("character", {})
    own |= {"card": card, **({"lorebooks": list(lorebooks)} if lorebooks else {})}
    own |= {"companions": list(companions)} if companions else {}
    config = make_config(tree, where=where)
    plain = make_config({"model": {"base": base}, "data": {"train": ["data/*.json"]}}, where=where)
    kept, defaults = config.model_dump(mode="json"), plain.model_dump(mode="json")
    needed = {("model", "base"), ("data", "train")}
    lines = [_HEAD]
    for section, keys in tree.items():
        written = [
            f"{key} = {_toml(kept[section][key])}"
            for key in keys
            if (section, key) in needed or kept[section][key] != defaults[section][key]
        ]
        if written:
            lines += [f"[{section}]", *written, ""]
    return "\n".join(lines), config


def _toml(value: object) -> str:
    """Return a value as TOML. A JSON text is a TOML text, but for DEL, which JSON leaves as it is."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
