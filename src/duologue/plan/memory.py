"""Peak memory of a run, term by term.

The peak of a micro-batch with T tokens is `fixed + T x saved x layers + the larger of two humps`: the logits at the
start of the backward pass, or the gradients inside one block. With checkpointing only the input of each block is kept,
and one block at a time is recomputed. Checked against published A100 runs in tests/plan/test_memory.py.
"""

from dataclasses import dataclass
from typing import Literal

from duologue.plan.activations import (
    backward_bytes_per_token,
    gradient_bytes_per_token,
    logit_bytes_per_token,
    saved_bytes_per_token,
)
from duologue.plan.machine import Machine
from duologue.plan.shapes import (
    block_linears,
    num_adapted_layers,
    num_adapter_params,
    num_linear_params,
    num_other_params,
    num_params,
)
from duologue.plan.workload import Workload

Verdict = Literal["fits", "tight", "no"]

GIB = 2**30
_ADAPTER_BYTES = 16  # float32: weight, gradient, two Adam moments
_NF4_BYTES = 0.5 + 4 / 64  # 4 bit, a float32 scale per block of 64 (QLoRA, arXiv 2305.14314)
_NF4_DOUBLE_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # the scales in 8 bit, a float32 per 256 of them
_CUBLAS_WORKSPACES = 2
_CUDA_CONTEXT_GIB = 0.47  # A100, lazily loaded kernels; 0.14 (T4) to 0.92 (eager loading) were seen
_CUDA_CONTEXT_LOW_GIB, _CUDA_CONTEXT_HIGH_GIB = 0.14, 0.92
_CPU_LIBRARIES_GIB = 0.6  # Python with torch, transformers and peft
_RESERVE_HIGH = (
    1.3  # of the smaller hump (0.7 to 1.3 seen); at the low end a full card makes the allocator give it back
)


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
    facts = workload.facts
    linear = num_linear_params(facts)
    other = num_other_params(facts) * workload.element_bytes
    if workload.quantization == "nf4":
        return linear * (_NF4_DOUBLE_BYTES if workload.use_double_quantization else _NF4_BYTES), other
    if workload.quantization == "int8":
        rows = facts.num_layers * sum(high for _, high in block_linears(facts).values())
        return linear + 4 * rows, other  # one float32 scale per output row
    return linear * workload.element_bytes, other


def adapter_bytes(workload: Workload) -> int:
    """Return the bytes of the adapter with its gradients and optimizer state."""
    return _ADAPTER_BYTES * num_adapter_params(workload.facts, workload.lora)


@dataclass(frozen=True, slots=True)
class _Activations:
    """Bytes that depend on the micro-batch."""

    saved: int
    logits: float
    block: float
    reserve: float

    @property
    def hump(self) -> float:
        return max(self.logits, self.block)


def _activations(workload: Workload, *, on_gpu: bool, trained_fraction: float) -> _Activations:
    facts, size = workload.facts, workload.element_bytes
    tokens = workload.longest_micro_batch_tokens
    layers = num_adapted_layers(facts, workload.lora)  # blocks below the lowest adapter keep nothing
    logits = tokens * trained_fraction * logit_bytes_per_token(workload)
    recomputed = tokens * backward_bytes_per_token(workload, on_gpu=on_gpu) + _dequantised_bytes(workload)
    if workload.use_gradient_checkpointing:
        saved = layers * tokens * facts.hidden_size * size
        logits += tokens * 3 * facts.hidden_size * size  # final norm, its gradient, the last block's output
        block: float = recomputed
    else:
        saved = layers * tokens * saved_bytes_per_token(workload, on_gpu=on_gpu)
        block = tokens * gradient_bytes_per_token(workload) + _dequantised_bytes(workload)
    return _Activations(saved, logits, block, reserve=min(logits, recomputed))


def _dequantised_bytes(workload: Workload) -> int:
    """The backward pass unpacks one quantised weight at a time."""
    if workload.quantization == "none":
        return 0
    largest = max(wide * high for wide, high in block_linears(workload.facts).values())
    return largest * workload.element_bytes


def _base_components(workload: Workload, activations: _Activations) -> list[tuple[str, float]]:
    linear, other = weight_bytes(workload)
    form = "16 bit" if workload.element_bytes == 2 else "32 bit"
    packed = form if workload.quantization == "none" else workload.quantization
    kept = "block inputs" if workload.use_gradient_checkpointing else "saved activations"
    hump = "logits and loss" if activations.logits >= activations.block else "gradients inside one block"
    return [
        (f"linear weights ({packed})", linear),
        (f"embeddings and norms ({form})", other),
        ("adapter, its gradients and optimizer", adapter_bytes(workload)),
        (kept, activations.saved),
        (hump, activations.hump),
    ]


def _on_gpu(workload: Workload, machine: Machine) -> MemoryPlan:
    assert machine.gpu is not None
    activations = _activations(workload, on_gpu=True, trained_fraction=workload.trained_fraction)
    fullest = _activations(workload, on_gpu=True, trained_fraction=1.0)
    workspace = 32 * 2**20 if machine.gpu.compute_capability >= (9, 0) else 8_519_680
    parts = _base_components(workload, activations)
    parts.append(("cuBLAS workspaces", _CUBLAS_WORKSPACES * workspace))
    allocated = sum(size for _, size in parts) / GIB
    reserve = activations.reserve / GIB
    parts += [("kept by the allocator", activations.reserve), ("CUDA context", _CUDA_CONTEXT_GIB * GIB)]
    # Published runs lie within 2 % with checkpointing; the one without was 8 to 18 % above the formula.
    above = 1.03 if workload.use_gradient_checkpointing else 1.15
    static = allocated - (activations.saved + activations.hump) / GIB
    high = static * 1.02 + (fullest.saved + fullest.hump) / GIB * above
    return MemoryPlan(
        components=_components(parts),
        allocated_gib=allocated,
        reserved_gib=allocated + reserve,
        device_gib=allocated + reserve + _CUDA_CONTEXT_GIB,
        available_gib=machine.available_bytes / GIB,
        low_gib=0.98 * allocated + _CUDA_CONTEXT_LOW_GIB,
        high_gib=high + _RESERVE_HIGH * fullest.reserve / GIB + _CUDA_CONTEXT_HIGH_GIB,
    )


def _on_cpu(workload: Workload, machine: Machine) -> MemoryPlan:
    activations = _activations(workload, on_gpu=False, trained_fraction=workload.trained_fraction)
    fullest = _activations(workload, on_gpu=False, trained_fraction=1.0)
    parts = _base_components(workload, activations)
    parts.append(("Python and its libraries", _CPU_LIBRARIES_GIB * GIB))
    training = sum(size for _, size in parts)
    parts.append(("loading, above training", max(0.0, _loading_bytes(workload) - training)))
    total = sum(size for _, size in parts) / GIB
    extra = (fullest.saved + fullest.hump - activations.saved - activations.hump + _attention_bytes(workload)) / GIB
    return MemoryPlan(
        components=_components(parts),
        allocated_gib=total,
        reserved_gib=total,
        device_gib=total,
        available_gib=machine.available_bytes / GIB,
        low_gib=0.85 * total,
        high_gib=1.15 * total + extra,
    )


def _loading_bytes(workload: Workload) -> float:
    """A .gguf file is unpacked to float32 before anything else; the largest tensor exists three times for a moment."""
    facts = workload.facts
    if not facts.name.startswith("bundled:") and not facts.name.endswith(".gguf"):
        return 0.0
    largest = max(facts.vocab_size * facts.hidden_size, facts.intermediate_size * facts.hidden_size)
    return 4 * num_params(facts) + facts.weights_bytes + 2 * 4 * largest + _CPU_LIBRARIES_GIB * GIB


def _attention_bytes(workload: Workload) -> int:
    """Attention probabilities, which only exist when torch cannot use its fused attention."""
    facts, stats = workload.facts, workload.stats
    layers = 1 if workload.use_gradient_checkpointing else num_adapted_layers(facts, workload.lora)
    per_token = facts.num_heads * stats.max_tokens * workload.element_bytes
    return layers * workload.longest_micro_batch_tokens * per_token


def _components(parts: list[tuple[str, float]]) -> tuple[Component, ...]:
    return tuple(Component(name, size / GIB) for name, size in parts if size)
