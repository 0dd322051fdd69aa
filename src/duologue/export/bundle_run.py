"""The numbers of a run as a bundle brings them: known names and finite numbers, nothing else."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from duologue.engine import BaseModel, Precision, Quantization
from duologue.errors import ConfigError, DuologueError
from duologue.export.bundle_form import RUN
from duologue.plan import plan_from_json

_NUMBERS = (
    *("num_steps", "final_loss", "num_tokens", "num_trained_tokens", "seconds", "peak_memory_bytes"),
    *("reload_max_difference", "kept_step", "num_loss_spikes", "was_stopped_early"),
)
_SCORES = (
    *("base_perplexity", "tuned_perplexity", "base_loss", "tuned_loss", "improvement_fraction"),
    "num_scored_tokens",
)
_REPLY = ("prompt", "base", "tuned")
_MAX_REPLY_CHARS = 20_000
_MAX_REPLIES = 200


@dataclass(frozen=True, slots=True)
class BundledRun:
    """The ledger of a run as it travels.

    Attributes:
        numbers: For manifest.json.
        evaluation: For evaluation.json; empty where nothing was measured.
        data: Counts, for data.json.
        plan: For plan.json; empty where there is none.
    """

    numbers: dict[str, Any]
    evaluation: dict[str, Any]
    data: dict[str, Any]
    plan: dict[str, Any]


def read_run(document: Mapping[str, Any], *, where: str) -> BundledRun:
    """Return a run whose every value was looked at.

    Raises:
        ConfigError: A key is unknown, or a value is of another kind.
    """
    try:
        manifest, evaluation = dict(document["manifest"]), dict(document["evaluation"])
        data, plan = dict(document["data"]), dict(document["plan"])
        versus = _versus(manifest.pop("plan_versus_actual", {}))
        replies = [_reply(reply) for reply in evaluation.pop("replies", [])][:_MAX_REPLIES]
        stats = _numbers(data.pop("stats", {}), allowed=None)
        numbers = _numbers(manifest, allowed=_NUMBERS)
        scores = _numbers(evaluation, allowed=_SCORES)
        counts = _numbers(data, allowed=None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _refused(where) from error
    if plan:
        try:
            plan_from_json(plan)
        except (DuologueError, TypeError, ValueError, KeyError) as error:
            raise _refused(where) from error
    return BundledRun(
        {"changes": [], "fast_path": [], **numbers, "plan_versus_actual": versus},
        {**scores, "replies": replies} if scores else {},
        {"files": [], "reasons": {}, **counts, "stats": stats} if counts else {},
        plan,
    )


def base_settings(document: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Return how the base was loaded in training: known keys of known kinds, without trust in its code.

    Raises:
        ConfigError: A key is unknown, or a value is of another kind.
    """
    defaults = {key: value for key, value in asdict(BaseModel("")).items() if key not in ("name", "trusted_code")}
    found = document.get("base")
    if not isinstance(found, dict) or set(found) - set(defaults):
        raise _refused(where)
    merged = {**defaults, **found}
    is_whole = (
        merged["quantization"] in get_args(Quantization)
        and merged["compute_dtype"] in get_args(Precision)
        and isinstance(merged["use_double_quantization"], bool)
        and _is_number(merged["int8_threshold"])
    )
    if not is_whole:
        raise _refused(where)
    return merged


def replies_of(evaluation: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """Return prompt, the base's reply and the character's, for each prompt of an evaluation."""
    return tuple((reply["prompt"], reply["base"], reply["tuned"]) for reply in evaluation.get("replies", ()))


def _reply(reply: Mapping[str, object]) -> dict[str, str]:
    texts = {key: reply[key] for key in _REPLY}
    if not all(isinstance(text, str) and len(text) <= _MAX_REPLY_CHARS for text in texts.values()):
        raise ValueError("a reply is no text")
    return {key: str(text) for key, text in texts.items()}


def _versus(found: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, Any]]:
    known = {key: _numbers(found[key], allowed=("plan", "actual", "low", "high")) for key in found}
    if set(known) - {"tokens_per_second", "train_minutes", "memory_gib"}:
        raise ValueError("an unknown figure")
    return known


def _numbers(found: Mapping[str, object], *, allowed: tuple[str, ...] | None) -> dict[str, Any]:
    names = set(found) if allowed is None else set(found) & set(allowed)
    if names != set(found) or not all(name.isidentifier() and len(name) <= 60 for name in names):
        raise ValueError("an unknown name")
    if not all(value is None or _is_number(value) for value in found.values()):
        raise ValueError("a value is no number")
    return dict(found)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _refused(where: str) -> ConfigError:
    return ConfigError(
        f"'{RUN}' of the bundle is not as duologue writes it", where=where, action="Get it from its maker again."
    )
