"""What the forward pass keeps for the backward pass, in bytes per token.

One block is RMSNorm, attention through scaled_dot_product_attention, RMSNorm, SwiGLU. Which of its tensors autograd
saves was measured with saved-tensor hooks, to the byte, for three sets of adapted layers; the sums below, module by
module, give exactly those numbers (h hidden, f feed-forward, k key/value width, r rank, without the constant):

| stream | all seven linear layers | q,k,v,o | q,v |
|---|---|---|---|
| 16 bit: autocast over float32 adapters | 24h+8f+4k+14r | 20h+6f+4k+8r | 16h+6f+4k+4r |
| float32 | 24h+16f+8k+28r | 20h+12f+8k+16r | 20h+12f+8k+8r |
"""

from duologue.plan.shapes import adapted_modules, attention_width, block_linears, key_value_width
from duologue.plan.workload import Workload

_READ_ATTENTION_INPUT = {"q_proj", "k_proj", "v_proj"}
_READ_MLP_INPUT = {"gate_proj", "up_proj"}


def saved_bytes_per_token(workload: Workload, *, on_gpu: bool) -> int:
    """Return the bytes one token leaves in one block that an adapter's gradient goes through."""
    facts = workload.facts
    size = workload.element_bytes
    hidden, inner, attention = facts.hidden_size, facts.intermediate_size, attention_width(facts)
    # A batch with padding has a mask, and with a mask transformers repeats keys and values for every query head.
    key_value = attention if workload.largest_micro_batch > 1 else key_value_width(facts)
    norms = 2 * 4 * hidden  # RMSNorm squares a float32 copy of its input
    attention_part = size * (2 * attention + 2 * key_value)  # queries, output, keys, values
    gating = size * 3 * inner  # gate, its activation, up
    constant = 4 * facts.num_heads + 8  # log-sum-exp of attention and two float32 norm factors
    total = norms + attention_part + gating + constant + _adapter_bytes(workload, on_gpu=on_gpu)
    if workload.quantization == "int8":
        total += size * (2 * hidden + inner)  # bitsandbytes' int8 product keeps its inputs, frozen layers too
    return total


def backward_bytes_per_token(workload: Workload, *, on_gpu: bool) -> int:
    """Return what the backward pass of one recomputed block needs at once: its saved tensors and its gradients.

    The part besides the saved tensors, 6h + 6f in 16 bit, was read off published runs of Llama-3-8B.
    """
    return saved_bytes_per_token(workload, on_gpu=on_gpu) + gradient_bytes_per_token(workload)


def gradient_bytes_per_token(workload: Workload) -> int:
    """Return the gradients that are alive at once inside one block."""
    facts = workload.facts
    return 3 * workload.element_bytes * (facts.hidden_size + facts.intermediate_size)


def logit_bytes_per_token(workload: Workload) -> int:
    """Return the bytes of the loss for one trained token: logits, float32 copy, log-softmax and gradient.

    In 16 bit 2 + 4 + 4 + 4 bytes per vocabulary entry; a float32 stream needs no copy.
    """
    return (14 if workload.element_bytes == 2 else 12) * workload.facts.vocab_size


def _adapter_bytes(workload: Workload, *, on_gpu: bool) -> int:
    """Inputs that only the adapters need, their inner activations, dropout masks."""
    facts, lora = workload.facts, workload.lora
    size = workload.element_bytes
    modules = adapted_modules(lora)
    linears = block_linears(facts)
    total = len(modules) * size * lora.rank
    if size == 2 or lora.dropout > 0:  # every adapter has its own copy of its input: cast, or with dropout
        total += sum(size * linears[name][0] for name in modules)
    else:  # q, k and v share one input, gate and up another; the attention output is saved anyway
        total += size * facts.hidden_size * bool(_READ_ATTENTION_INPUT.intersection(modules))
        total += size * facts.hidden_size * bool(_READ_MLP_INPUT.intersection(modules))
        total += size * facts.intermediate_size * ("down_proj" in modules)
    if lora.dropout > 0:
        total += _mask_bytes(on_gpu=on_gpu) * sum(linears[name][0] for name in modules)
    return total


def _mask_bytes(*, on_gpu: bool) -> int:
    return 1 if on_gpu else 4  # on a CPU the mask has the type of the float32 adapter
