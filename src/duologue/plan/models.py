"""The shape of a base model without loading it: from the table, or from a local folder's config.json."""

import json
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from duologue.engine import ModelFacts
from duologue.errors import PlanError


def known_facts(name: str) -> ModelFacts | None:
    """Return the shape of `model.base`, or None when only the engine can find it out.

    Args:
        name: A bundled name, a Hugging Face id of the table, or a local folder with a config.json.

    Raises:
        PlanError: The folder's config.json cannot be read or does not describe a model this planner knows.
    """
    entry = {key.lower(): value for key, value in _table().items()}.get(name.lower())
    if entry is not None:
        shape = {key: value for key, value in entry.items() if key != "source"}
        return ModelFacts(name=name, **shape)
    path = Path(name) / "config.json"
    return _facts_of_folder(path, name=name) if path.is_file() else None


@cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads(resources.files("duologue.plan").joinpath("models.toml").read_text(encoding="utf-8"))


def _facts_of_folder(path: Path, *, name: str) -> ModelFacts:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlanError("the file is not readable JSON", where=str(path)) from error
    # Models that also see pictures nest their text part.
    config = found.get("text_config", found) if isinstance(found, dict) else None
    if not isinstance(config, dict):
        raise PlanError("the file holds no JSON object", where=str(path), needed="a model's configuration")
    needed = ("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads", "vocab_size")
    missing = [key for key in needed if not isinstance(config.get(key), int)]
    if missing:
        raise PlanError(
            f"the config has no whole number for {', '.join(missing)}",
            where=str(path),
            needed="a decoder-only model in Llama's layout",
        )
    if config.get("num_local_experts") or config.get("num_experts"):
        raise PlanError("this is a mixture of experts, which the planner does not know", where=str(path))
    num_heads = config["num_attention_heads"]
    return ModelFacts(
        name=name,
        hidden_size=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        intermediate_size=config["intermediate_size"],
        num_heads=num_heads,
        num_kv_heads=config.get("num_key_value_heads") or num_heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // max(1, num_heads),
        vocab_size=config["vocab_size"],
        has_tied_embeddings=bool(config.get("tie_word_embeddings", found.get("tie_word_embeddings", False))),
        context_tokens=config.get("max_position_embeddings") or 2048,
        weights_bytes=sum(file.stat().st_size for file in path.parent.glob("*.safetensors")),
    )
