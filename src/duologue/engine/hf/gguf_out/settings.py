"""A model's settings as the fields of a GGUF header (keys: llama.cpp's gguf-py, `constants.py`)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from duologue.engine.hf.gguf_out.families import Config, Family, head_size, num_kv_heads
from duologue.engine.hf.gguf_out.file import Field
from duologue.errors import EngineError

_ROPES = ("default", "linear", "yarn", "llama3", "longrope")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the header says of a model, besides its vocabulary.

    Attributes:
        fields: The header's fields, without the architecture's name in front.
        factors: Tensors that the settings bring: what rotary frequencies are divided by.
        warnings: What llama.cpp does otherwise than the settings say.
    """

    fields: dict[str, Field]
    factors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_settings(config: Config, family: Family, *, where: str) -> Settings:
    """Return the fields of a model.

    Raises:
        EngineError: Its rotary positions are of a kind that llama.cpp does not compute for this family.
    """
    text = config.get_text_config()
    head = head_size(text)
    rope = text.rope_parameters.get("full_attention", text.rope_parameters)
    num_rotary = int(head * rope.get("partial_rotary_factor", 1.0))
    fields: dict[str, Field] = {
        "vocab_size": int(text.vocab_size),
        "context_length": int(text.max_position_embeddings),
        "embedding_length": int(text.hidden_size),
        "block_count": int(text.num_hidden_layers),
        "feed_forward_length": int(text.intermediate_size),
        "attention.head_count": int(text.num_attention_heads),
        "attention.head_count_kv": num_kv_heads(text),
        "attention.key_length": head,
        "attention.value_length": head,
        "attention.layer_norm_rms_epsilon": float(text.rms_norm_eps),
        "rope.dimension_count": num_rotary,
        "rope.freq_base": float(rope["rope_theta"]),
    }
    if family.name in ("gemma2", "gemma3"):
        for cap, key in (("attn_logit_softcapping", "attn"), ("final_logit_softcapping", "final")):
            if getattr(text, cap, None):
                fields[f"{key}_logit_softcapping"] = float(getattr(text, cap))
    fields.update(_window(text, family))
    warnings = list(_window_warnings(text, family))
    kind = rope.get("rope_type", "default")
    if not _computes(text, family, kind, rope):
        raise EngineError(
            f"llama.cpp does not compute rotary positions of the type '{kind}' for '{family.name}' with {rope}",
            where=where,
            needed="the settings of the published models",
            action="Use the merged model with vLLM or transformers.",
        )
    scaling, factors = _scaling(text, kind, rope, num_rotary)
    if kind == "longrope":
        original = scaling["rope.scaling.original_context_length"]
        warnings.append(
            f"llama.cpp takes the factors for long texts as soon as it is opened with a context above {original} "
            "tokens; transformers only for prompts that are that long. Open it with a context of at most "
            f"{original} tokens for the same replies to short prompts."
        )
    return Settings(fields | scaling, factors, tuple(warnings))


def _scaling(
    text: Config, kind: str, rope: dict[str, Any], num_rotary: int
) -> tuple[dict[str, Field], dict[str, NDArray[np.float32]]]:
    """Return how rotary positions are stretched: fields, and factors by their tensors' names."""
    key = "rope.scaling"
    if kind == "linear":
        return {f"{key}.type": "linear", f"{key}.factor": float(rope["factor"])}, {}
    if kind == "llama3":
        return {}, {"rope_freqs.weight": _llama3_factors(rope, num_rotary)}
    if kind == "default":
        original = getattr(text, "original_max_position_embeddings", None)  # Phi-3 has one without any stretching, too
        return ({f"{key}.original_context_length": int(original)} if original else {}), {}
    original = int(rope.get("original_max_position_embeddings") or text.original_max_position_embeddings)
    if kind == "yarn":
        factor = float(rope["factor"])
        return {f"{key}.type": "yarn", f"{key}.factor": factor, f"{key}.original_context_length": original}, {}
    names = {name: f"rope_factors_{name}.weight" for name in ("long", "short")}
    fields: dict[str, Field] = {
        f"{key}.type": "longrope",
        f"{key}.original_context_length": original,
        f"{key}.attn_factor": _longrope_scale(text.max_position_embeddings / original, original, rope),
    }
    return fields, {tensor: np.asarray(rope[f"{name}_factor"], dtype=np.float32) for name, tensor in names.items()}


def _window(text: Config, family: Family) -> dict[str, Field]:
    if family.name == "phi3":
        return {"attention.sliding_window": int(text.sliding_window or 0)}  # 0 marks Phi-4
    if not family.swa_period:
        return {}
    fields: dict[str, Field] = {"attention.sliding_window": int(text.sliding_window)}
    slides = [kind == "sliding_attention" for kind in text.layer_types]
    if slides != [layer % family.swa_period < family.swa_period - 1 for layer in range(len(slides))]:
        fields["attention.sliding_window_pattern"] = slides
    if family.name == "gemma3":
        fields["rope.freq_base_swa"] = float(text.rope_parameters["sliding_attention"]["rope_theta"])
    return fields


def _window_warnings(text: Config, family: Family) -> Iterator[str]:
    window = getattr(text, "sliding_window", None)
    if family.swa_period or not window or window >= text.max_position_embeddings:
        return
    if getattr(text, "use_sliding_window", True):
        yield (
            f"the model looks back at most {window} tokens; llama.cpp looks back at all of them. Replies are the same "
            f"in a context of up to {window} tokens."
        )


def _computes(text: Config, family: Family, kind: str, rope: dict[str, Any]) -> bool:
    """Tell whether llama.cpp's positions are the model's own."""
    if kind not in _ROPES or (kind == "longrope") > (family.name == "phi3"):
        return False
    if family.name == "phi3":
        return kind in ("default", "longrope")
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        return False
    if family.name.startswith("gemma"):
        near = text.rope_parameters.get("sliding_attention", {"rope_type": "default"})
        return kind in ("default", "linear") and near.get("rope_type", "default") == "default"
    if kind == "yarn":
        factor = float(rope["factor"])
        is_usual = rope.get("attention_factor") in (None, 0.1 * math.log(factor) + 1.0)
        has_usual_ends = rope.get("beta_fast") in (None, 32) and rope.get("beta_slow") in (None, 1)
        return is_usual and has_usual_ends and bool(rope.get("truncate", True)) and not rope.get("mscale")
    return kind != "llama3" or family.name == "llama"


def _llama3_factors(rope: dict[str, Any], num_rotary: int) -> NDArray[np.float32]:
    """Return what Llama 3.1 divides each rotary frequency by (transformers, `_compute_llama3_parameters`)."""
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    exponents = np.arange(0, num_rotary, 2, dtype=np.float64) / num_rotary
    turns = rope["original_max_position_embeddings"] / (2 * math.pi * float(rope["rope_theta"]) ** exponents)
    blend = np.clip((turns - low) / (high - low), 0.0, 1.0)  # 0: a wave longer than the context it was trained with
    return (1.0 / ((1.0 - blend) / factor + blend)).astype(np.float32)


def _longrope_scale(growth: float, original: int, rope: dict[str, Any]) -> float:
    """Return what LongRoPE multiplies queries and keys with (transformers, `_compute_longrope_parameters`)."""
    if rope.get("attention_factor") is not None:
        return float(rope["attention_factor"])
    return math.sqrt(1 + math.log(growth) / math.log(original)) if growth > 1 else 1.0
