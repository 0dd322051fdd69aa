"""The shape of a base model without loading it: from the table, or from a local folder's config.json."""

import json
import re
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from duologue.engine import ModelFacts
from duologue.errors import PlanError

_NOT_SHAPE = {"source", "also", "num_params_b"}
_MARKS = {"hf", "instruct", "chat", "base", "it", "pt", "meta", "of"}  # words of a name that say nothing of the shape
_LARGEST = {  # far above any model there is: more than this is a mistake in the file
    "hidden_size": 200_000,
    "num_hidden_layers": 2_000,
    "intermediate_size": 2_000_000,
    "num_attention_heads": 2_000,
    "vocab_size": 10_000_000,
}
_PLAIN_MLP = {"gpt_neox", "falcon", "phi", "gpt2", "gpt_bigcode", "opt", "bloom", "starcoder2", "mpt", "gptj"}
_FOUR_NORMS = {"gemma2", "gemma3", "gemma3_text"}
_QUERY_KEY_NORM = {"qwen3", "qwen3_moe", "gemma3", "gemma3_text", "olmo2"}
_ONE_NORM = {"falcon", "phi", "gptj"}


def known_facts(name: str) -> ModelFacts | None:
    """Return the shape of `model.base`, or None when only the engine can find it out.

    Args:
        name: A bundled name, a Hugging Face id of the table, or a local folder with a config.json.

    Raises:
        PlanError: The folder's config.json cannot be read or does not describe a model this planner knows.
    """
    entry = _by_name().get(name.lower())
    if entry is not None:
        return _facts(entry, name=name)
    path = Path(name) / "config.json"
    return _facts_of_folder(path, name=name) if path.is_file() else None


def facts_called(name: str) -> ModelFacts | None:
    """Return the shape of a model that a publication calls `name`, such as `Llama 2 7B` or `gemma2-9b`, or None.

    Organisation, punctuation and words like `chat`, `instruct` or `hf` are ignored; size and generation are not.
    """
    entry = _by_name().get(name.lower()) or _by_words().get(_words(name))
    return _facts(entry, name=name) if entry is not None else None


def known_models() -> dict[str, float]:
    """Return the names of the table with the published number of parameters in 1e9."""
    return {name: float(entry["num_params_b"]) for name, entry in _table().items()}


@cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads(resources.files("duologue.plan").joinpath("models.toml").read_text(encoding="utf-8"))


@cache
def _by_name() -> dict[str, dict[str, Any]]:
    return {alias.lower(): entry for name, entry in _table().items() for alias in (name, *entry.get("also", ()))}


@cache
def _by_words() -> dict[frozenset[str], dict[str, Any]]:
    found: dict[frozenset[str], dict[str, Any]] = {}
    for name, entry in _table().items():
        for alias in (name, *entry.get("also", ())):
            found.setdefault(_words(alias), entry)
    return found


def _words(name: str) -> frozenset[str]:
    last = name.lower().rsplit("/", 1)[-1]
    apart = re.sub(r"(?<=[a-z])(?=\d)", " ", re.sub(r"\bv\d[\d.]*\b", " ", last))
    return frozenset(word for word in re.split(r"[^a-z0-9.]+", apart) if word and word not in _MARKS)


def _facts(entry: dict[str, Any], *, name: str) -> ModelFacts:
    return ModelFacts(name=name, **{key: value for key, value in entry.items() if key not in _NOT_SHAPE})


def _facts_of_folder(path: Path, *, name: str) -> ModelFacts:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlanError("the file is not readable JSON", where=str(path)) from error
    # Models that also see pictures nest their text part.
    config = found.get("text_config", found) if isinstance(found, dict) else None
    if not isinstance(config, dict):
        raise PlanError("the file holds no JSON object", where=str(path), needed="a model's configuration")
    _check(config, path)
    num_heads = config["num_attention_heads"]
    kind = str(config.get("model_type", found.get("model_type", "")))
    num_experts = config.get("num_local_experts") or config.get("num_experts") or 0
    inner = config["intermediate_size"]
    if num_experts:
        inner = config.get("moe_intermediate_size") or inner
    # Qwen's first generation writes the width of gate and up together.
    inner = inner // 2 if kind == "qwen" else inner
    return ModelFacts(
        name=name,
        hidden_size=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        intermediate_size=inner,
        num_heads=num_heads,
        num_kv_heads=1 if config.get("multi_query") else config.get("num_key_value_heads") or num_heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // num_heads,
        vocab_size=config["vocab_size"],
        has_tied_embeddings=bool(config.get("tie_word_embeddings", found.get("tie_word_embeddings", False))),
        context_tokens=config.get("max_position_embeddings") or 2048,
        weights_bytes=sum(file.stat().st_size for file in path.parent.glob("*.safetensors")),
        mlp_kind="plain" if kind in _PLAIN_MLP else "gated",
        norm_kind="layer" if kind in _PLAIN_MLP or "layer_norm_eps" in config else "rms",
        num_norms=4 if kind in _FOUR_NORMS else 1 if kind in _ONE_NORM else 2,
        has_query_key_norm=kind in _QUERY_KEY_NORM,
        num_experts=num_experts,
        num_experts_per_token=_experts_per_token(config, path) if num_experts else 0,
        rotary_fraction=float(config.get("partial_rotary_factor") or config.get("rotary_pct") or 1.0),
        has_softcap=bool(config.get("attn_logit_softcapping")),
    )


def _check(config: dict[str, Any], path: Path) -> None:
    """Name every field that is missing, no whole number, or out of any model's range, all at once."""
    missing = [key for key in _LARGEST if type(config.get(key)) is not int]
    if missing:
        raise PlanError(
            f"the config has no whole number for {', '.join(missing)}",
            where=str(path),
            needed="a decoder-only model in Llama's layout",
        )
    optional = {key: config.get(key) for key in ("num_key_value_heads", "head_dim", "max_position_embeddings")}
    absurd = [f"{key} = {config[key]}" for key, most in _LARGEST.items() if not 0 < config[key] <= most]
    absurd += [f"{key} = {value!r}" for key, value in optional.items() if value is not None and not _is_size(value)]
    heads, shared = config["num_attention_heads"], config.get("num_key_value_heads")
    if not absurd and isinstance(shared, int) and heads % shared:
        absurd.append(f"num_key_value_heads = {shared} does not divide num_attention_heads = {heads}")
    if absurd:
        raise PlanError(f"the config says {', '.join(absurd)}", where=str(path), needed="the sizes of a real model")


def _is_size(value: object) -> bool:
    return type(value) is int and 0 < value <= 100_000_000


def _experts_per_token(config: dict[str, Any], path: Path) -> int:
    number = config.get("num_experts_per_tok") or config.get("num_experts_per_token")
    num_experts = config.get("num_local_experts") or config.get("num_experts")
    if type(number) is not int or type(num_experts) is not int or not 0 < number <= num_experts:
        raise PlanError(
            f"a mixture of {num_experts} experts sends each token to {number!r} of them",
            where=str(path),
            needed="num_experts_per_tok as a whole number",
        )
    return number
