"""The architectures that can be written: how each names and arranges its tensors for llama.cpp.

A family's tensors follow from its settings, so that a missing, a surplus and a wrongly shaped one are all seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from duologue.engine.hf.gguf_out.tensors import Wanted
from duologue.errors import EngineError

Config = Any  # every architecture's settings have a class of their own
_MERGED_INSTEAD = "Use the merged model (duologue export merged) with vLLM or transformers."
_TOP_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_LAYER_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_FOUR_NORMS = {
    **_LAYER_NAMES,
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


@dataclass(frozen=True, slots=True)
class Family:
    """How an architecture differs from the others.

    Attributes:
        name: What llama.cpp calls it.
        interleaves: Whether llama.cpp holds the two rotary halves of each head interleaved.
        norm_offset: What its norms count from.
        is_fused: Whether queries, keys and values are one tensor, and gate and up another.
        has_head_norms: Whether queries and keys are normalised.
        norms: Its norms in a layer, by their names in Hugging Face form.
        activation: The activation that llama.cpp computes.
        biases: Which layers may have one.
        has_query_bias: Whether queries, keys and values always have one.
        layers_of_27b: Layers of the size that llama.cpp scales the attention of otherwise (Gemma).
        swa_period: Every how many layers one attends to everything (Gemma); 0 without sliding windows.
    """

    name: str
    interleaves: bool = False
    norm_offset: float = 0.0
    is_fused: bool = False
    has_head_norms: bool = False
    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    activation: str = "silu"
    biases: tuple[str, ...] = ()
    has_query_bias: bool = False
    layers_of_27b: int = 0
    swa_period: int = 0


_ALL_NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)
_LLAMA = Family("llama", interleaves=True, biases=("attention", "mlp"))
_GELU = "gelu_pytorch_tanh"
_GEMMA3 = Family(
    "gemma3",
    norm_offset=1.0,
    has_head_norms=True,
    norms=_ALL_NORMS,
    activation=_GELU,
    layers_of_27b=62,
    swa_period=6,
)
FAMILIES: dict[str, Family] = {  # by the `model_type` of config.json
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": Family("qwen2", has_query_bias=True),
    "qwen3": Family("qwen3", has_head_norms=True),
    "gemma": Family("gemma", norm_offset=1.0, activation=_GELU),
    "gemma2": Family("gemma2", norm_offset=1.0, norms=_ALL_NORMS, activation=_GELU, layers_of_27b=46, swa_period=2),
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "phi3": Family("phi3", is_fused=True),
}


def find_family(config: Config, *, where: str) -> Family:
    """Return the family of a model.

    Raises:
        EngineError: As `known_family`, or its weights are quantised.
    """
    family = known_family(config, where=where)
    if getattr(config, "quantization_config", None):
        raise EngineError(
            "the model's weights are quantised already",
            where=where,
            needed="weights of 16 or 32 bits",
            action="Make them with duologue export merged.",
        )
    return family


def known_family(config: Config, *, where: str) -> Family:
    """Return the family of a model by its settings alone, in whatever form its weights are.

    Raises:
        EngineError: It is none of those that can be written, or has a part that llama.cpp's does not.
    """
    family = FAMILIES.get(config.model_type)
    text = config.get_text_config()
    if family is None:
        num_experts = getattr(text, "num_local_experts", None) or getattr(text, "num_experts", None)
        kind = f"a mixture of {num_experts} experts" if num_experts else "a model"
        raise EngineError(
            f"{kind} of the type '{config.model_type}' cannot be written as GGUF",
            where=where,
            needed=f"one of {', '.join(FAMILIES)}",
            action=_MERGED_INSTEAD,
        )
    odd = [found for found in _odd(text, family) if found]
    if odd:
        raise EngineError(
            f"llama.cpp does not compute this model as it was made: {'; '.join(odd)}",
            where=where,
            action=_MERGED_INSTEAD,
        )
    return family


def wanted_tensors(config: Config, family: Family) -> dict[str, Wanted]:
    """Return the tensors of a model by their names in Hugging Face form."""
    text = config.get_text_config()
    found = {
        "model.embed_tokens.weight": Wanted("token_embd.weight", (text.vocab_size, text.hidden_size)),
        "model.norm.weight": Wanted("output_norm.weight", (text.hidden_size,), offset=family.norm_offset),
    }
    if not has_tied_embeddings(config):
        found["lm_head.weight"] = Wanted("output.weight", (text.vocab_size, text.hidden_size))
    names = _FOUR_NORMS if len(family.norms) == 4 else _LAYER_NAMES
    for layer in range(text.num_hidden_layers):
        for part, shape in _layer(text, family):
            stem, _, suffix = part.rpartition(".")
            num_heads = {"self_attn.q_proj": text.num_attention_heads, "self_attn.k_proj": num_kv_heads(text)}
            found[f"model.layers.{layer}.{part}"] = Wanted(
                f"blk.{layer}.{names[stem]}.{suffix}",
                shape,
                num_heads=num_heads.get(stem, 0) if family.interleaves else 0,
                offset=family.norm_offset if stem.endswith("norm") else 0.0,
            )
    return found


def has_tied_embeddings(config: Config) -> bool:
    """Tell whether the embedding is also the output."""
    return bool(config.tie_word_embeddings)


def head_size(text: Config) -> int:
    """Return the width of an attention head."""
    return int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)


def num_kv_heads(text: Config) -> int:
    """Return the number of heads of keys and values."""
    return int(getattr(text, "num_key_value_heads", None) or text.num_attention_heads)


def _layer(text: Config, family: Family) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors of a layer by name, with their shapes."""
    hidden, inner, head = text.hidden_size, text.intermediate_size, head_size(text)
    queries, keys = text.num_attention_heads * head, num_kv_heads(text) * head
    for norm in family.norms:
        yield f"{norm}.weight", (hidden,)
    if family.has_head_norms:
        yield "self_attn.q_norm.weight", (head,)
        yield "self_attn.k_norm.weight", (head,)
    attention = {"q": (queries, hidden), "k": (keys, hidden), "v": (keys, hidden)}
    mlp = {"gate": (inner, hidden), "up": (inner, hidden), "down": (hidden, inner)}
    if family.is_fused:
        attention = {"qkv": (queries + 2 * keys, hidden)}
        mlp = {"gate_up": (2 * inner, hidden), "down": (hidden, inner)}
    has_bias = "attention" in family.biases and getattr(text, "attention_bias", False)
    for name, shape in attention.items():
        yield f"self_attn.{name}_proj.weight", shape
        if family.has_query_bias or has_bias:
            yield f"self_attn.{name}_proj.bias", shape[:1]
    yield "self_attn.o_proj.weight", (hidden, queries)
    if has_bias:
        yield "self_attn.o_proj.bias", (hidden,)
    for name, shape in mlp.items():
        yield f"mlp.{name}_proj.weight", shape
        if "mlp" in family.biases and getattr(text, "mlp_bias", False):
            yield f"mlp.{name}_proj.bias", shape[:1]


def _odd(text: Config, family: Family) -> Iterator[str]:
    """Yield what the model has and llama.cpp's form of the family does not."""
    act = getattr(text, "hidden_activation", None) or getattr(text, "hidden_act", None)
    if act != family.activation and not (family.name == "gemma" and act == "gelu"):
        yield f"its activation is '{act}', not '{family.activation}'"
    for kind in ("attention", "mlp"):
        if getattr(text, f"{kind}_bias", False) and kind not in family.biases:
            yield f"its {kind} layers have a bias"
    head = head_size(text)
    if head % 2:
        yield f"its heads are {head} wide, an odd number"
    if family.is_fused and head * text.num_attention_heads != text.hidden_size:
        yield f"its {text.num_attention_heads} heads of {head} do not fill the width of {text.hidden_size}"
    if family.layers_of_27b:
        is_27b = text.num_hidden_layers == family.layers_of_27b
        scale = text.hidden_size // text.num_attention_heads if is_27b else head
        if text.query_pre_attn_scalar != scale:
            yield f"its attention is scaled by {text.query_pre_attn_scalar}, not {scale}"
    if getattr(text, "use_bidirectional_attention", None):
        yield "it attends in both directions"
    if family.name == "gemma3" and getattr(text, "attn_logit_softcapping", None):
        yield "it caps attention logits"
