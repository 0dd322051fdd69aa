"""Which sampler settings do something."""

from duologue.engine.base import Sampling

PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty", "dry_multiplier")
CONSTRAINTS = ("grammar", "json_schema")
_NEUTRAL: dict[str, object] = {
    "top_p": 1,
    "top_k": 0,
    "min_p": 0,
    "typical_p": 1,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "dry_multiplier": 0,
    "xtc_probability": 0,
    "mirostat": 0,
    "logit_bias": (),
    "grammar": "",
    "json_schema": "",
    "seed": -1,
}
_REPLACED_BY_MIROSTAT = ("top_p", "top_k", "min_p", "typical_p", "xtc_probability")


def active_settings(sampling: Sampling) -> tuple[str, ...]:
    """Return the names of the settings that have a say in which token is drawn.

    Of a sampler with several settings it is the one that turns it on: `dry_multiplier`, `xtc_probability`, `mirostat`.
    """
    names = [name for name, neutral in _NEUTRAL.items() if getattr(sampling, name) != neutral]
    return tuple(name for name in names if not (sampling.mirostat and name in _REPLACED_BY_MIROSTAT))


def active_constraints(sampling: Sampling) -> tuple[str, ...]:
    """Return which of the settings are on that hold a reply to a form: not every engine can."""
    return tuple(name for name in active_settings(sampling) if name in CONSTRAINTS)
