"""What the forward pass keeps for the backward pass, in bytes per token, by stack profile.

One block is norm, attention through scaled_dot_product_attention, norm, feed-forward. Which of its tensors autograd
saves was measured with saved-tensor hooks, to the byte; the sums below, module by module, give exactly the tables in
`profiles.py`, and for a float32 run 24h+16f+8k+28r, 20h+12f+8k+16r and 20h+12f+8k+8r.
"""

from dataclasses import dataclass

from duologue.plan.shapes import ATTENTION, adapted_modules, attention_width, block_linears, key_value_width
from duologue.plan.workload import Workload

_READ_ATTENTION_INPUT = {"q_proj", "k_proj", "v_proj"}
_READ_MLP_INPUT = {"gate_proj", "up_proj"}


@dataclass(frozen=True, slots=True)
class ElementSizes:
    """Bytes per element of the kinds of tensors that a block keeps."""

    stream: int
    attention: int
    mlp: int
    adapter_input: int
    has_own_adapter_inputs: bool


def element_sizes(workload: Workload) -> ElementSizes:
    """Return the element sizes of a run: those of its stack in 16 bit, 4 throughout in float32."""
    profile = workload.profile
    if workload.element_bytes == 4:
        return ElementSizes(4, 4, 4, 4, has_own_adapter_inputs=False)
    return ElementSizes(
        stream=4 if profile.has_float32_stream else 2,
        attention=profile.attention_bytes,
        mlp=profile.mlp_bytes,
        adapter_input=profile.adapter_input_bytes,
        has_own_adapter_inputs=profile.has_own_adapter_inputs,
    )


def saved_bytes_per_token(workload: Workload, *, on_gpu: bool) -> float:
    """Return the bytes one token leaves in one block that an adapter's gradient goes through."""
    facts, size = workload.facts, element_sizes(workload)
    constant = 4 * facts.num_heads + 8  # log-sum-exp of attention and two float32 norm factors
    total = _norm_bytes(workload) + _attention_bytes(workload) + _mlp_bytes(workload) + constant
    total += _adapter_bytes(workload, on_gpu=on_gpu)
    if workload.quantization == "int8":
        # bitsandbytes' int8 product keeps its inputs, frozen layers too
        total += size.mlp * (2 * facts.hidden_size + facts.intermediate_size)
    if workload.quantization != "none":
        normed = 2 * facts.hidden_size if facts.num_norms > 1 else facts.hidden_size
        inputs = normed + attention_width(facts) + facts.intermediate_size
        total += workload.profile.kept_linear_inputs * size.mlp * inputs
    return total


def gradient_bytes_per_token(workload: Workload) -> float:
    """Return the gradients that are alive at once inside one block, beside what the block keeps.

    In 16 bit 6h + 6f, read off published runs of Llama-3-8B.
    """
    facts, profile = workload.facts, workload.profile
    if workload.element_bytes == 4:
        return 12 * (facts.hidden_size + facts.intermediate_size)
    return profile.gradient_hidden_bytes * facts.hidden_size + profile.gradient_inner_bytes * facts.intermediate_size


def backward_bytes_per_token(workload: Workload, *, on_gpu: bool) -> float:
    """Return what the backward pass of one recomputed block needs at once: its saved tensors and its gradients."""
    return saved_bytes_per_token(workload, on_gpu=on_gpu) + gradient_bytes_per_token(workload)


def logit_bytes_per_token(workload: Workload) -> float:
    """Return the bytes of the loss for one token that has logits.

    In 16 bit by stack, 14 per vocabulary entry in stock transformers (bf16 logits 2, float32 copy 4, log-softmax 4,
    gradient 4); a float32 stream needs no copy.
    """
    if not workload.profile.has_logits:
        return 0
    per_entry = workload.profile.logit_bytes if workload.element_bytes == 2 else 12
    per_entry += workload.element_bytes if workload.facts.has_softcap else 0  # the tanh keeps its result
    return per_entry * workload.facts.vocab_size


def _norm_bytes(workload: Workload) -> float:
    facts = workload.facts
    if facts.norm_kind == "layer" and workload.element_bytes == 2 and not workload.profile.has_float32_stream:
        per_norm = 2.0  # LayerNorm keeps its input as it is
    else:
        per_norm = workload.profile.norm_bytes  # RMSNorm squares a float32 copy of its input
    heads = 4.0 * (attention_width(facts) + key_value_width(facts)) if facts.has_query_key_norm else 0.0
    return facts.num_norms * per_norm * facts.hidden_size + heads


def _attention_bytes(workload: Workload) -> float:
    facts, profile, size = workload.facts, workload.profile, element_sizes(workload).attention
    attention, key_value = attention_width(facts), key_value_width(facts)
    # A batch with padding has a mask, and with a mask transformers repeats keys and values for every query head.
    repeated = profile.repeats_keys or profile.has_math_attention or workload.is_padded
    total = size * (2.0 * attention + 2 * (attention if repeated else key_value))
    if profile.are_weights_fused and attention == key_value:
        total += 2 * size * attention  # values are a view of the one tensor that holds all three
    total += profile.rotary_bytes * facts.rotary_fraction * attention
    if facts.has_softcap:  # capped scores, float32 probabilities and their cast
        total += (2 * size + 4) * facts.num_heads * workload.stats.max_tokens
    elif profile.has_math_attention:
        total += 4 * facts.num_heads * workload.stats.max_tokens + 2 * size * (attention - key_value)
    return total


def _mlp_bytes(workload: Workload) -> float:
    facts, size = workload.facts, element_sizes(workload).mlp
    tensors = 3 if facts.mlp_kind == "gated" else 1  # gate, its activation, up; or the input of the activation
    return (facts.num_experts_per_token or 1) * size * tensors * facts.intermediate_size


def _adapter_bytes(workload: Workload, *, on_gpu: bool) -> float:
    """Inputs that only the adapters need, their inner activations, dropout masks."""
    facts, lora, sizes = workload.facts, workload.lora, element_sizes(workload)
    size = sizes.adapter_input
    linears = block_linears(facts)
    modules = [name for name in adapted_modules(lora) if name in linears]
    if facts.num_experts:
        modules = [name for name in modules if name in ATTENTION]
    total: float = len(modules) * size * lora.rank
    total += workload.profile.adapter_output_bytes * sum(linears[name][1] for name in modules)
    separate = modules
    if workload.profile.are_weights_fused:  # one input and one dropout for q, k and v together
        together = [name for name in modules if name in _READ_ATTENTION_INPUT][:1]
        separate = together + [name for name in modules if name not in _READ_ATTENTION_INPUT]
    if sizes.has_own_adapter_inputs or lora.dropout > 0:
        total += sum(size * linears[name][0] for name in separate)
    else:  # q, k and v share one input, gate and up another; the attention output is saved anyway
        total += size * facts.hidden_size * bool(_READ_ATTENTION_INPUT.intersection(modules))
        total += size * facts.hidden_size * bool(_READ_MLP_INPUT.intersection(modules))
        total += size * facts.intermediate_size * ("down_proj" in modules)
    if lora.dropout > 0:  # a CPU's mask has the type of the adapter
        total += (1 if on_gpu else 4) * sum(linears[name][0] for name in separate)
    return total
