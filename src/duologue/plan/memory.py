"""Peak memory of a run, term by term.

The peak of a micro-batch with T tokens is `fixed + T x saved x layers + the larger of two humps`: the logits at the
start of the backward pass, or the gradients inside one block. With checkpointing only the input of each block is kept,
and one block at a time is recomputed. The fixed part is weights, adapters with their optimizer and cuBLAS workspaces.
What torch allocates is this sum; what it reserves is more, because freed pieces of one hump do not fit the other; and
the device shows the CUDA context on top. docs/explanation/planner-accuracy.md holds every published run against it.
"""

from dataclasses import dataclass
from typing import Literal

from duologue.plan.activations import (
    element_sizes,
    gradient_bytes_per_token,
    logit_bytes_per_token,
    saved_bytes_per_token,
)
from duologue.plan.machine import Machine
from duologue.plan.shapes import (
    block_linears,
    num_adapted_layers,
    num_adapter_params,
    num_attention_params,
    num_linear_params,
    num_other_params,
    num_params,
)
from duologue.plan.workload import Workload

Verdict = Literal["fits", "tight", "no"]

GIB = 2**30
_NF4_BYTES = 0.5 + 4 / 64  # 4 bit, a float32 scale per block of 64 (QLoRA, arXiv 2305.14314)
_NF4_DOUBLE_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # the scales in 8 bit, a float32 per 256 of them
_CUBLAS_WORKSPACES = 2
_CUDA_CONTEXT_GIB = 0.47  # A100, lazily loaded kernels; 0.92 with eager loading
_CUDA_CONTEXT_OLD_GIB = 0.14  # T4
_CUDA_CONTEXT_LOW_GIB, _CUDA_CONTEXT_HIGH_GIB = 0.14, 0.92
_MIXTURE_GAP = 1 / 3
_ALLOCATED_ERROR = 0.05  # half-width of the interval: the worst published run is 4.3 % off
_GAP_ERROR = 0.6
_FULL_CARD = 0.965  # nvidia-smi shows 82.0 to 82.3 of 85.9 GB where a run filled an A100
_CPU_LIBRARIES_GIB = 0.5
# Of the activations, on a CPU, where nothing is handed back between two blocks. Three measured runs of the bundled
# model (5.3, 2.52 and 2.12 GiB resident) are met within 6 %, an int8 run (2.61) within 9 %.
_CPU_KEPT = 0.3  # measured: 1.60, 2.22 and 3.28 GiB for 1, 2 and 4 x 768 tokens of the bundled model (docs/LOG.md)


@dataclass(frozen=True, slots=True)
class Component:
    """One named part of the peak, in GiB."""

    name: str
    gib: float


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Peak memory in GiB; on a CPU the three totals are the same resident memory.

    Attributes:
        components: Parts that add up to `device_gib`.
        allocated_gib: Tensors (torch's max_memory_allocated).
        reserved_gib: With what the allocator keeps (torch's max_memory_reserved).
        device_gib: With the CUDA context (nvidia-smi).
        available_gib: Free memory of the device.
        low_gib: Lower end of the interval around `device_gib`.
        high_gib: Upper end.
    """

    components: tuple[Component, ...]
    allocated_gib: float
    reserved_gib: float
    device_gib: float
    available_gib: float
    low_gib: float
    high_gib: float

    @property
    def verdict(self) -> Verdict:
        """`fits` when the whole interval does, `tight` when a part of it does, else `no`."""
        if self.high_gib <= self.available_gib:
            return "fits"
        return "tight" if self.low_gib <= self.available_gib else "no"


def plan_memory(workload: Workload, machine: Machine) -> MemoryPlan:
    """Return the peak memory of a run on a machine."""
    return _on_gpu(workload, machine) if machine.gpu else _on_cpu(workload, machine)


def weight_bytes(workload: Workload) -> tuple[float, float]:
    """Return the bytes of the linear layers of the blocks, and of everything that stays unquantised."""
    facts, profile = workload.facts, workload.profile
    head = facts.vocab_size * facts.hidden_size
    other = num_other_params(facts) + (head if profile.are_tables_split and facts.has_tied_embeddings else 0)
    linear = num_linear_params(facts)
    plain = 0
    if facts.num_experts and not profile.are_experts_linear:
        plain = linear - num_attention_params(facts)  # three-dimensional weights stay as they are
    if workload.quantization != "none" and profile.is_head_quantised:
        linear, other = linear + head, other - head
    wide = 4 if profile.has_float32_tables else workload.element_bytes
    packed = (linear - plain) * bytes_per_quantised_param(workload) + plain * workload.element_bytes
    if workload.quantization == "int8":
        packed += 4 * facts.num_layers * sum(high for _, high in block_linears(facts).values())  # a scale per row
    return packed, other * wide


def bytes_per_quantised_param(workload: Workload) -> float:
    """Return the bytes of one parameter of a linear layer in the base's format."""
    if workload.quantization == "nf4":
        return _NF4_DOUBLE_BYTES if workload.use_double_quantization else _NF4_BYTES
    return 1.0 if workload.quantization == "int8" else float(workload.element_bytes)


def adapter_bytes(workload: Workload) -> float:
    """Return the bytes of the adapter with its gradients and optimizer state."""
    return (_adapter_state_bytes(workload) + _gradient_bytes(workload)) * num_adapter_params(
        workload.facts, workload.lora
    )


def _adapter_state_bytes(workload: Workload) -> float:
    """Weights and the two moments of AdamW per adapter parameter, as far as they lie on the device."""
    size = workload.profile.adapter_bytes if workload.element_bytes == 2 else 4
    if workload.optimizer.startswith("paged") or workload.profile.has_paged_optimizer:
        return size
    moments = {"adamw": 2 * size, "adamw_bf16": 4, "adamw_8bit": 2 + 2 * 4 / 256}
    return size + moments[workload.optimizer]


def _gradient_bytes(workload: Workload) -> float:
    """Gradients outlive a micro-batch only when several are accumulated; else the peak comes before them."""
    size = workload.profile.adapter_bytes if workload.element_bytes == 2 else 4
    return size if workload.gradient_accumulation_steps > 1 else 0


@dataclass(frozen=True, slots=True)
class Activations:
    """Bytes that depend on the micro-batch.

    Attributes:
        saved: Kept from the forward pass for the backward pass.
        logits: Logits and loss, alive when the backward pass starts.
        block: Alive while the gradients of one block are computed, beside `saved`.
        gap: Freed pieces that the allocator keeps because they do not fit what comes next.
    """

    saved: float
    logits: float
    block: float
    gap: float

    @property
    def hump(self) -> float:
        """What the peak holds beside `saved`."""
        return max(self.logits, self.block)


def activations(workload: Workload, *, on_gpu: bool, trained_fraction: float) -> Activations:
    """Return the activations of the largest micro-batch when this share of its tokens are targets."""
    facts, profile = workload.facts, workload.profile
    stream = element_sizes(workload).stream
    tokens = workload.longest_micro_batch_tokens
    layers = num_adapted_layers(facts, workload.lora)  # blocks below the lowest adapter keep nothing
    share = 1.0 if profile.are_all_logits_computed else trained_fraction
    with_logits = min(tokens * share, _loss_chunk_tokens(workload, on_gpu=on_gpu) or tokens * share)
    logits = with_logits * logit_bytes_per_token(workload)
    block = tokens * saved_bytes_per_token(workload, on_gpu=on_gpu)
    gradients = max(tokens * gradient_bytes_per_token(workload), _unpacked_bytes(workload))
    gap = profile.gap_block * (block + gradients) + with_logits * gap_bytes_per_token(workload)
    if not workload.use_gradient_checkpointing:
        logits += _unpacked_head_bytes(workload)
        return Activations(layers * block, logits, gradients, gap)
    inputs = (2 if profile.offloads_block_inputs else layers) * tokens * facts.hidden_size * stream
    # Beside the logits: final norm, its gradient, the last block's output.
    per_hidden = profile.logit_hidden_bytes if workload.element_bytes == 2 else 12
    logits += tokens * per_hidden * facts.hidden_size
    return Activations(inputs, logits, block + gradients, gap)


def gap_bytes_per_token(workload: Workload) -> float:
    """Return what the allocator keeps of the loss for one token with logits.

    Read off nvidia-smi beside max_memory_allocated in 30 published A100 runs: 4.1 to 5.4 bytes per vocabulary entry in
    stock transformers, 5 to 10 where a fused loss still holds logits; mixtures, whose pieces are smaller, a third.
    """
    profile, facts = workload.profile, workload.facts
    if not profile.has_logits:
        return 0.0
    return profile.gap_logit_bytes * facts.vocab_size * (_MIXTURE_GAP if facts.num_experts else 1.0)


def _unpacked_bytes(workload: Workload) -> float:
    """The backward pass unpacks one quantised weight at a time."""
    if workload.quantization == "none":
        return 0
    largest = max(wide * high for wide, high in block_linears(workload.facts).values())
    # int8 is unpacked in the type of the gradient
    return largest * (element_sizes(workload).mlp if workload.quantization == "int8" else workload.element_bytes)


def _loss_chunk_tokens(workload: Workload, *, on_gpu: bool) -> int:
    """Tokens whose logits exist at once; 0 for all."""
    profile = workload.profile
    if profile.loss_chunk_bytes:
        size = profile.loss_chunk_bytes if on_gpu else profile.loss_chunk_bytes // 8
        return max(16, size // (4 * workload.facts.vocab_size))
    return profile.loss_chunk_tokens


def _unpacked_head_bytes(workload: Workload) -> float:
    """A packed output projection is unpacked beside the logits."""
    if workload.quantization == "none" or not workload.profile.is_head_quantised:
        return 0
    return workload.facts.vocab_size * workload.facts.hidden_size * workload.element_bytes


def _blocks_at_hand(workload: Workload) -> float:
    """Sharded weights come together for two blocks at a time, the embeddings with them."""
    if not workload.profile.is_sharded:
        return 0.0
    linear, other = weight_bytes(workload)
    return 2 * linear / workload.facts.num_layers + (other if workload.profile.are_weights_offloaded else 0.0)


def _base_components(workload: Workload, parts: Activations) -> list[tuple[str, float]]:
    linear, other = weight_bytes(workload)
    form = "16 bit" if workload.element_bytes == 2 else "32 bit"
    packed = form if workload.quantization == "none" else workload.quantization
    wide = "32 bit" if workload.profile.has_float32_tables else form
    share = 1 / workload.num_gpus if workload.profile.is_sharded else 1.0
    held = 0.0 if workload.profile.are_weights_offloaded else share
    components = [
        (f"linear weights ({packed})", linear * held + _blocks_at_hand(workload)),
        (f"embeddings, norms and head ({wide})", other * held),
        ("adapter, its gradients and optimizer", adapter_bytes(workload) * share),
    ]
    if _step_bytes(workload) > parts.saved + parts.hump:
        return [*components, ("optimizer step", _step_bytes(workload))]
    kept = "block inputs" if workload.use_gradient_checkpointing else "saved activations"
    hump = "logits and loss" if parts.logits >= parts.block else "gradients inside one block"
    return [*components, (kept, parts.saved), (hump, parts.hump)]


def _peak_bytes(workload: Workload, parts: Activations) -> float:
    """Activations at their peak, or the optimizer step where that needs more."""
    return max(parts.saved + parts.hump, _step_bytes(workload))


def _step_bytes(workload: Workload) -> float:
    """What the optimizer step holds when all activations are gone."""
    size = workload.profile.adapter_bytes if workload.element_bytes == 2 else 4
    gradients = 0 if workload.gradient_accumulation_steps > 1 else size
    share = 1 / workload.num_gpus if workload.profile.is_sharded else 1.0
    params = num_adapter_params(workload.facts, workload.lora)
    return share * (gradients + workload.profile.step_bytes_per_param) * params


def _on_gpu(workload: Workload, machine: Machine) -> MemoryPlan:
    assert machine.gpu is not None
    parts = activations(workload, on_gpu=True, trained_fraction=workload.trained_fraction)
    fullest = activations(workload, on_gpu=True, trained_fraction=1.0)
    context = _CUDA_CONTEXT_GIB if machine.gpu.compute_capability >= (8, 0) else _CUDA_CONTEXT_OLD_GIB
    workspace = 32 * 2**20 if machine.gpu.compute_capability >= (9, 0) else 8_519_680
    components = _base_components(workload, parts)
    components.append(("cuBLAS workspaces", _CUBLAS_WORKSPACES * workspace))
    components.append(("buffers of the stack", workload.profile.fixed_bytes))
    training = sum(size for _, size in components)
    loading = sum(weight_bytes(workload)) + _unpacked_on_load_bytes(workload)
    if workload.quantization != "none" and not workload.profile.is_sharded:
        components.append(("loading, above training", max(0.0, loading - training)))
    allocated = sum(size for _, size in components) / GIB
    # A full card makes the allocator give back what it kept.
    room = _FULL_CARD * machine.gpu.total_bytes / GIB - allocated - context
    kept = max(0.0, min(parts.gap / GIB, room))
    components += [("kept by the allocator", kept * GIB), ("CUDA context", context * GIB)]
    # With every token a target; published runs lie within 5 % of the allocated sum, and what the allocator keeps
    # differs by half from run to run.
    more = (_peak_bytes(workload, fullest) - _peak_bytes(workload, parts)) / GIB
    high = (1 + _ALLOCATED_ERROR) * (allocated + more) + (1 + _GAP_ERROR) * fullest.gap / GIB
    return MemoryPlan(
        components=_components(components),
        allocated_gib=allocated,
        reserved_gib=allocated + kept,
        device_gib=allocated + kept + context,
        available_gib=machine.available_bytes / GIB,
        low_gib=(1 - _ALLOCATED_ERROR) * allocated + _CUDA_CONTEXT_LOW_GIB,
        high_gib=high + _CUDA_CONTEXT_HIGH_GIB,
    )


def _on_cpu(workload: Workload, machine: Machine) -> MemoryPlan:
    parts = activations(workload, on_gpu=False, trained_fraction=workload.trained_fraction)
    fullest = activations(workload, on_gpu=False, trained_fraction=1.0)
    components = _base_components(workload, parts)
    components.append(("kept by the memory allocator", _CPU_KEPT * _peak_bytes(workload, parts)))
    components.append(("Python and its libraries", _CPU_LIBRARIES_GIB * GIB))
    training = sum(size for _, size in components)
    components.append(("loading, above training", max(0.0, _loading_bytes(workload) - training)))
    total = sum(size for _, size in components) / GIB
    extra = (1 + _CPU_KEPT) * (_peak_bytes(workload, fullest) - _peak_bytes(workload, parts))
    extra += _attention_bytes(workload)
    return MemoryPlan(
        components=_components(components),
        allocated_gib=total,
        reserved_gib=total,
        device_gib=total,
        available_gib=machine.available_bytes / GIB,
        low_gib=0.85 * total,
        high_gib=1.15 * total + extra / GIB,
    )


def _loading_bytes(workload: Workload) -> float:
    """A .gguf file is unpacked to float32 before anything else; the largest tensor exists three times for a moment."""
    facts = workload.facts
    if not facts.name.startswith("bundled:") and not facts.name.endswith(".gguf"):
        return 0.0
    largest = max(facts.vocab_size * facts.hidden_size, facts.intermediate_size * facts.hidden_size)
    return 4 * num_params(facts) + facts.weights_bytes + 2 * 4 * largest + _CPU_LIBRARIES_GIB * GIB


def _unpacked_on_load_bytes(workload: Workload) -> float:
    """Packed weights are made on the device from 16-bit tensors, one at a time; some stacks keep more of them."""
    facts = workload.facts
    largest = facts.hidden_size * max(facts.vocab_size, facts.intermediate_size)
    return 2 * largest + workload.profile.load_bytes_per_param * num_linear_params(facts)


def _attention_bytes(workload: Workload) -> int:
    """Attention probabilities, which only exist when torch cannot use its fused attention."""
    facts, stats = workload.facts, workload.stats
    layers = 1 if workload.use_gradient_checkpointing else num_adapted_layers(facts, workload.lora)
    per_token = facts.num_heads * stats.max_tokens * workload.element_bytes
    return layers * workload.longest_micro_batch_tokens * per_token


def _components(parts: list[tuple[str, float]]) -> tuple[Component, ...]:
    return tuple(Component(name, size / GIB) for name, size in parts if size)
