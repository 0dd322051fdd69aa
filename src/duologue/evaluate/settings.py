"""Which settings differ between runs."""

from collections.abc import Mapping, Sequence
from typing import Any

ABSENT = "not recorded"
_EMPTY = ("evaluation.model", "generation")  # where an evaluation does not tell of them


def differing_settings(documents: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the settings that are not the same in all runs, each with every run's value as a text.

    Args:
        documents: Evaluations as they stand in `evaluation.json`. `settings` holds the sections of the configuration
            that a run was trained with; `generation`, `suite`, `seed`, `seeds`, `models` and `compared_with` tell how
            it was measured.
    """
    found = [_settings(document) for document in documents]
    keys = list(dict.fromkeys(key for each in found for key in each))
    rows = ((key, tuple(each.get(key, ABSENT) for each in found)) for key in keys)
    return tuple(row for row in rows if len(set(row[1])) > 1)


def flattened(tree: Mapping[str, Any], *, above: str = "") -> dict[str, str]:
    """Return a tree of settings as texts by dotted key; lists are one value."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, above=f"{name}.")
        else:
            flat[name] = _text(value)
    return flat


def _settings(document: Mapping[str, Any]) -> dict[str, str]:
    flat = flattened(document.get("settings") or {})
    measured = {name: document[name] for name in ("suite", "seed", "seeds", "compared_with") if name in document}
    tuned = (document.get("models") or {}).get("tuned") or {}
    measured["model"] = {name: value for name, value in tuned.items() if name != "adapter_sha256"}
    known = {"evaluation": measured, "generation": document.get("generation")}
    return flat | {key: value for key, value in flattened(known).items() if key not in _EMPTY}


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value is None or value in ("", {}) else str(value)
