"""What a run held out, and whether the settings at hand would hold out something that it was trained on."""

from typing import Any

from duologue.config import Config
from duologue.train.folder import Run

_FRACTION = "data.validation_fraction"
_DECIDING = (
    "run.seed",
    _FRACTION,
    "data.near_duplicates",
    "data.personal_data",
    "data.strip_asides",
    "data.user_names",
    "data.character_names",
)  # a conversation is held out by its text, the seed and the fraction; the others change its text or its group


def held_out_before(run: Run, config: Config) -> dict[str, Any]:
    """Return the settings of a run under which it was trained on what is held out now, by key with its values.

    A smaller fraction than the run's is none: it holds out a part of what the run held out. A run whose ledger does not
    tell its settings has none.

    Args:
        run: A finished run.
        config: The settings at hand.
    """
    if not (run.folder / "resolved.json").is_file():
        return {}
    before, now = run.read("resolved.json"), config.model_dump(mode="json")
    found = {}
    for key in _DECIDING:
        section, _, name = key.partition(".")
        was = before.get(section, {}).get(name, now[section][name])
        if was < now[section][name] if key == _FRACTION else was != now[section][name]:
            found[key] = was
    return found
