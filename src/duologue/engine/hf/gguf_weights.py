"""A Llama-shaped `.gguf` file as a float32 transformers model, read in one pass.

transformers can do this itself (`gguf_file=`), but parses the file three times and rebuilds a table per tensor: 26 s
for the bundled model against 4 s here. A test holds the two equal weight by weight. Other architectures go to
transformers.
"""

from pathlib import Path

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel
from transformers.initialization import no_init_weights
from transformers.integrations.gguf.reader import GgufHeader, TensorInfo, read_gguf_metadata

_BLOCK_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_TOP_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def read_llama_config(path: Path) -> LlamaConfig | None:
    """Return the shape that a `.gguf` file describes, or None when it is not a plain Llama."""
    metadata, names = read_gguf_metadata(str(path), ("tokenizer.ggml.tokens",))
    if metadata["general.architecture"] != "llama" or any("rope_freqs" in n or "_exps" in n for n in names):
        return None
    num_heads = metadata["llama.attention.head_count"]
    hidden_size = metadata["llama.embedding_length"]
    return LlamaConfig(
        hidden_size=hidden_size,
        num_hidden_layers=metadata["llama.block_count"],
        intermediate_size=metadata["llama.feed_forward_length"],
        num_attention_heads=num_heads,
        num_key_value_heads=metadata.get("llama.attention.head_count_kv", num_heads),
        head_dim=metadata.get("llama.attention.key_length", hidden_size // num_heads),
        rms_norm_eps=metadata["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": metadata.get("llama.rope.freq_base", 10000.0)},
        max_position_embeddings=metadata["llama.context_length"],
        vocab_size=len(metadata["tokenizer.ggml.tokens"]),
        tie_word_embeddings="output.weight" not in names,
        bos_token_id=metadata.get("tokenizer.ggml.bos_token_id"),
        eos_token_id=metadata.get("tokenizer.ggml.eos_token_id"),
        pad_token_id=metadata.get("tokenizer.ggml.padding_token_id"),
    )


def load_llama(path: Path, config: LlamaConfig) -> PreTrainedModel:
    """Return the model with its weights dequantised to float32."""
    header = GgufHeader.from_file(str(path))
    blob = np.memmap(path, mode="r", dtype=np.uint8)
    state = {_name(info.name): _tensor(info, blob, header.data_start, config) for info in header.tensors}
    with no_init_weights():
        model = LlamaForCausalLM(config)
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True, assign=True)
    model.tie_weights()
    return model


def _name(name: str) -> str:
    stem, kind = name.rsplit(".", 1)
    if stem in _TOP_NAMES:
        return f"{_TOP_NAMES[stem]}.{kind}"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{_BLOCK_NAMES[part]}.{kind}"


def _tensor(info: TensorInfo, blob: NDArray[np.uint8], start: int, config: LlamaConfig) -> torch.Tensor:
    begin = start + info.offset
    raw = np.asarray(blob[begin : begin + info.nbytes])
    kind = gguf.GGMLQuantizationType(info.ggml_type)
    if kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16):
        values = raw.view(np.float32 if kind == gguf.GGMLQuantizationType.F32 else np.float16).astype(np.float32)
    else:
        rows = info.shape[0] if len(info.shape) > 1 else 1
        values = gguf.dequantize(raw.reshape(rows, -1), kind)
    values = values.reshape(info.shape)
    if ".attn_q." in info.name:
        values = _unpermute(values, config.num_attention_heads)
    elif ".attn_k." in info.name:
        values = _unpermute(values, config.num_key_value_heads or config.num_attention_heads)
    return torch.from_numpy(np.ascontiguousarray(values))


def _unpermute(weight: NDArray[np.float32], num_heads: int) -> NDArray[np.float32]:
    """Undo llama.cpp's interleaving of the rotary halves (convert_hf_to_gguf.py, `permute`)."""
    half = weight.shape[0] // num_heads // 2
    return weight.reshape(num_heads, half, 2, -1).swapaxes(2, 1).reshape(weight.shape)
