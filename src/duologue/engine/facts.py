"""What a model and a machine are, as far as planning and training need it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The shape of a decoder-only transformer.

    Attributes:
        name: `model.base` as the person wrote it.
        hidden_size: Width of the residual stream.
        num_layers: Number of transformer blocks.
        intermediate_size: Width of the feed-forward block.
        num_heads: Query heads.
        num_kv_heads: Key/value heads.
        head_dim: Width of one head.
        vocab_size: Rows of the embedding.
        has_tied_embeddings: Whether the output projection is the embedding.
        context_tokens: Longest context the model was made for.
        weights_bytes: Size of the file to load; 0 when unknown.
        mlp_kind: `gated` has three matrices (SwiGLU, GeGLU), `plain` two (GELU).
        norm_kind: `rms` (RMSNorm, computed on a float32 copy) or `layer` (LayerNorm).
        num_norms: Norms of the residual stream in one block.
        has_query_key_norm: Whether queries and keys are normed before attention.
        num_experts: Feed-forward experts of one block; 0 for a dense model.
        num_experts_per_token: Experts that one token goes through.
        rotary_fraction: Share of a head that carries rotary positions.
        has_softcap: Attention scores and logits go through a tanh (Gemma 2), which rules out fused attention.
    """

    name: str
    hidden_size: int
    num_layers: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    has_tied_embeddings: bool
    context_tokens: int
    weights_bytes: int = 0
    mlp_kind: Literal["gated", "plain"] = "gated"
    norm_kind: Literal["rms", "layer"] = "rms"
    num_norms: int = 2
    has_query_key_norm: bool = False
    num_experts: int = 0
    num_experts_per_token: int = 0
    rotary_fraction: float = 1.0
    has_softcap: bool = False


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as NVML reports it. Memory in bytes."""

    name: str
    total_bytes: int
    free_bytes: int
    compute_capability: tuple[int, int]
    driver_version: str


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine a run is planned for.

    Attributes:
        gpus: GPUs, the first is used; empty on a CPU machine.
        num_cores: Usable CPU cores.
        ram_bytes: All system memory.
        ram_free_bytes: Memory available now.
        disk_free_bytes: Free space where the runs are kept.
        cpu_gflops: Measured single-precision matrix speed in 1e9 FLOP/s; 0 when not measured.
    """

    gpus: tuple[Gpu, ...]
    num_cores: int
    ram_bytes: int
    ram_free_bytes: int
    disk_free_bytes: int
    cpu_gflops: float = 0.0
