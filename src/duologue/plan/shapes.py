"""Parameter counts of a decoder-only model and of a LoRA adapter on it."""

from duologue.engine import LoraSettings, ModelFacts
from duologue.errors import PlanError

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def check_shape(facts: ModelFacts, lora: LoraSettings) -> None:
    """Refuse a model or an adapter that cannot exist.

    Raises:
        PlanError: A size is zero or negative, or the adapter asks for layers or modules the model does not have.
    """
    sizes = {
        "hidden_size": facts.hidden_size,
        "num_layers": facts.num_layers,
        "intermediate_size": facts.intermediate_size,
        "num_heads": facts.num_heads,
        "num_kv_heads": facts.num_kv_heads,
        "head_dim": facts.head_dim,
        "vocab_size": facts.vocab_size,
        "context_tokens": facts.context_tokens,
        "num_norms": facts.num_norms,
    }
    wrong = [f"{name} = {size}" for name, size in sizes.items() if size <= 0]
    if not 0 <= facts.num_experts_per_token <= facts.num_experts:
        wrong.append(f"num_experts_per_token = {facts.num_experts_per_token} of {facts.num_experts}")
    if wrong:
        raise PlanError(f"the facts of the model say {', '.join(wrong)}", where=facts.name, needed="positive sizes")
    if lora.num_layers > facts.num_layers:
        raise PlanError(
            f"lora.num_layers asks for {lora.num_layers} layers, but the model has {facts.num_layers}",
            where=facts.name,
            action=f'Use at most {facts.num_layers}, or "all".',
        )
    unknown = [name for name in adapted_modules(lora) if name not in ALL_LINEAR]
    if unknown or not adapted_modules(lora):
        raise PlanError(
            f"lora.target_modules names {', '.join(unknown) or 'nothing'}",
            where=facts.name,
            needed=f"'all-linear' or some of {', '.join(ALL_LINEAR)}",
        )


def adapted_modules(lora: LoraSettings) -> tuple[str, ...]:
    """Return the names of the adapted linear layers of one block."""
    return ALL_LINEAR if lora.target_modules == "all-linear" else tuple(dict.fromkeys(lora.target_modules))


def num_adapted_layers(facts: ModelFacts, lora: LoraSettings) -> int:
    """Return how many blocks carry an adapter; the backward pass goes through exactly these."""
    return lora.num_layers or facts.num_layers


def attention_width(facts: ModelFacts) -> int:
    """Return the width of all query heads together."""
    return facts.num_heads * facts.head_dim


def key_value_width(facts: ModelFacts) -> int:
    """Return the width of all key heads together."""
    return facts.num_kv_heads * facts.head_dim


def block_linears(facts: ModelFacts) -> dict[str, tuple[int, int]]:
    """Return input and output width of every linear layer of one block; in a mixture, of one expert."""
    hidden, inner = facts.hidden_size, facts.intermediate_size
    attention, key_value = attention_width(facts), key_value_width(facts)
    gate = {"gate_proj": (hidden, inner)} if facts.mlp_kind == "gated" else {}
    return {
        "q_proj": (hidden, attention),
        "k_proj": (hidden, key_value),
        "v_proj": (hidden, key_value),
        "o_proj": (attention, hidden),
        **gate,
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }


def num_attention_params(facts: ModelFacts) -> int:
    """Return the parameters of the attention's linear layers in all blocks."""
    linears = block_linears(facts)
    return facts.num_layers * sum(linears[name][0] * linears[name][1] for name in ATTENTION)


def num_expert_params(facts: ModelFacts) -> int:
    """Return the parameters of one expert in all blocks; of the whole feed-forward part in a dense model."""
    linears = block_linears(facts)
    return facts.num_layers * sum(wide * high for name, (wide, high) in linears.items() if name not in ATTENTION)


def num_linear_params(facts: ModelFacts) -> int:
    """Return the parameters of the linear layers of all blocks: those that quantisation packs."""
    return num_attention_params(facts) + max(1, facts.num_experts) * num_expert_params(facts)


def num_active_params(facts: ModelFacts) -> int:
    """Return the linear parameters that one token is multiplied with."""
    return num_attention_params(facts) + (facts.num_experts_per_token or 1) * num_expert_params(facts)


def num_other_params(facts: ModelFacts) -> int:
    """Return the parameters that stay unquantised: embedding, output projection, norms, routers."""
    tables = 1 if facts.has_tied_embeddings else 2
    norms = (facts.num_norms * facts.num_layers + 1) * facts.hidden_size
    routers = facts.num_layers * facts.num_experts * facts.hidden_size
    return tables * facts.vocab_size * facts.hidden_size + norms + routers


def num_params(facts: ModelFacts) -> int:
    """Return all parameters."""
    return num_linear_params(facts) + num_other_params(facts)


def num_adapter_params(facts: ModelFacts, lora: LoraSettings) -> int:
    """Return the trained parameters: rank x (inputs + outputs) for each adapted layer.

    The experts of a mixture are held as one three-dimensional weight, which LoRA does not reach.
    """
    linears = block_linears(facts)
    names = [name for name in adapted_modules(lora) if name in linears]
    if facts.num_experts:
        names = [name for name in names if name in ATTENTION]
    return num_adapted_layers(facts, lora) * sum(lora.rank * sum(linears[name]) for name in names)
