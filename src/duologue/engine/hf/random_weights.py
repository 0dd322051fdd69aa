"""A model of a true shape with random weights, built layer by layer in its final weight format.

Memory and speed of a 13B or 34B model depend on its shape, not on what it learned; no hub and no disk are needed.
"""

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from duologue.engine.facts import ModelFacts
from duologue.engine.hf.load import DTYPES, HfModel, device, quantised
from duologue.engine.job import BaseModel


def random_model(facts: ModelFacts, base: BaseModel, *, seed: int = 0) -> HfModel:
    """Return a frozen Llama of the given shape on the run's device.

    At no time is more than one layer held unquantised.

    Args:
        facts: The shape.
        base: Weight format and compute type; the name is not used.
        seed: Of the weights.
    """
    config = LlamaConfig(
        hidden_size=facts.hidden_size,
        intermediate_size=facts.intermediate_size,
        num_hidden_layers=facts.num_layers,
        num_attention_heads=facts.num_heads,
        num_key_value_heads=facts.num_kv_heads,
        head_dim=facts.head_dim,
        vocab_size=facts.vocab_size,
        max_position_embeddings=facts.context_tokens,
        tie_word_embeddings=facts.has_tied_embeddings,
    )
    with torch.device("meta"):
        model: HfModel = LlamaForCausalLM(config)
    model.model.rotary_emb = type(model.model.rotary_emb)(config).to(device())
    generator = torch.Generator(device=device()).manual_seed(seed)
    dtype = DTYPES[base.compute_dtype]
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and child is not model.lm_head:
                layer = nn.Linear(child.in_features, child.out_features, bias=False, device=device(), dtype=dtype)
                layer.weight.data.normal_(0.0, config.initializer_range, generator=generator)
                setattr(parent, name, layer if base.quantization == "none" else quantised(layer, base))
    for name, parameter in list(model.named_parameters()):
        if parameter.is_meta:
            _materialise(model, name, dtype, generator=generator)
    model.tie_weights()
    model.is_loaded_in_4bit = base.quantization == "nf4"
    model.is_loaded_in_8bit = base.quantization == "int8"
    model.config.use_cache = False
    return model.requires_grad_(False)


def _materialise(model: HfModel, name: str, dtype: torch.dtype, *, generator: torch.Generator) -> None:
    owner_name, _, leaf = name.rpartition(".")
    owner = model.get_submodule(owner_name)
    values = torch.empty(getattr(owner, leaf).shape, dtype=dtype, device=device())
    if values.ndim == 1:
        values.fill_(1.0)  # norms
    else:
        values.normal_(0.0, 0.02, generator=generator)
    setattr(owner, leaf, nn.Parameter(values, requires_grad=False))
