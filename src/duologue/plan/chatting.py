"""Talking to the trained model: memory by context length, and the speed of reading and writing.

Writing one token reads every weight and the whole cache once and starts every block once, so
`seconds = bytes / (share of the bandwidth) + blocks x seconds per block`. The two constants of each engine come from
published runs:

- GGUF Q4_K_M (llama.cpp; XiongjieDai/GPU-Benchmarks, Llama 3 8B): RTX 3090 111.7 tokens/s, and 46.5 in 16 bit; RTX
  4090 127.7 and 54.3. Both pairs give 0.95 of the bandwidth and 0.1 ms per block; the RTX 5090's 165 tokens/s
  (quantized.fyi, 2026-05, Qwen3 8B) are met within 6 %.
- transformers with bitsandbytes 0.45 (its own benchmark, RTX 4090): NF4 17.5 ms per token for Llama 3.1 8B and 25.6 ms
  for Qwen2.5 14B, int8 44.9 and 64.8. With 0.9 of the bandwidth that leaves 0.36 ms and 1.07 ms per block.

Reading a prompt is arithmetic: 2 FLOPs per parameter and token, at the share of the tensor rate seen for 4,096 tokens
of Llama 3 8B with llama.cpp (RTX 3090 0.71, RTX 4090 0.51) and for 3,200 tokens of a 13B with NF4 (RTX 3090 0.39).
"""

from dataclasses import dataclass
from typing import Literal

from duologue.engine import ModelFacts, Quantization
from duologue.plan.machine import Machine
from duologue.plan.memory import GIB
from duologue.plan.shapes import key_value_width, num_linear_params, num_other_params, num_params

ChatFormat = Literal["none", "nf4", "int8", "Q4_K_M"]

PROMPT_TOKENS = 1000  # what a card, some memories and the last turns make together
_BYTES_PER_PARAM: dict[ChatFormat, float] = {"none": 2.0, "nf4": 0.5 + 1 / 64 + 4 / (64 * 256), "int8": 1.0}
_Q4_K_M_BYTES = 4.8944 / 8  # of all parameters (llama.cpp tools/quantize/README.md)
_BANDWIDTH: dict[ChatFormat, float] = {"none": 0.9, "nf4": 0.9, "int8": 0.9, "Q4_K_M": 0.95}
_BLOCK_SECONDS: dict[ChatFormat, float] = {"none": 0.00036, "nf4": 0.00036, "int8": 0.00107, "Q4_K_M": 0.0001}
_PREFILL: dict[ChatFormat, float] = {"none": 0.5, "nf4": 0.39, "int8": 0.39, "Q4_K_M": 0.55}
# Slower and faster than the point: older transformers took 2 to 3 times as long for NF4, llama.cpp a fifth longer.
_SPREAD: dict[ChatFormat, tuple[float, float]] = {
    "none": (0.5, 1.2),
    "nf4": (0.4, 1.15),
    "int8": (0.4, 1.15),
    "Q4_K_M": (0.8, 1.15),
}
_OVERHEAD_GIB = 0.8  # CUDA context and scratch buffers
_CPU_OVERHEAD_GIB = {"Q4_K_M": 0.2}  # a small process of its own; transformers brings its libraries
_CPU_LIBRARIES_GIB = 0.6
_CPU_BYTES_PER_SECOND = (20e9, 30e9, 45e9)  # 2 virtual cores to a desktop with two DDR4 channels
_CPU_PREFILL = 0.5


@dataclass(frozen=True, slots=True)
class ChatPlan:
    """One way of serving the trained model.

    Attributes:
        engine: `hf` (as it was trained) or `gguf` (after `duologue export gguf`).
        format: Of the weights.
        context_tokens: Prompt and reply together.
        weights_gib: The weights.
        cache_gib: Keys and values of the whole context in 16 bit.
        total_gib: With CUDA context and buffers.
        fits: Whether that much is free.
        longest_context_tokens: What the free memory has room for, at most the model's own limit; 0 when nothing fits.
        tokens_per_second: Speed of a reply in a half-full context.
        low_tokens_per_second: Lower end of its interval.
        high_tokens_per_second: Upper end.
        first_token_seconds: Reading a prompt of 1,000 tokens that is not in the cache.
    """

    engine: Literal["hf", "gguf"]
    format: ChatFormat
    context_tokens: int
    weights_gib: float
    cache_gib: float
    total_gib: float
    fits: bool
    longest_context_tokens: int
    tokens_per_second: float
    low_tokens_per_second: float
    high_tokens_per_second: float
    first_token_seconds: float


def plan_chat(
    facts: ModelFacts, machine: Machine, *, quantization: Quantization, context_tokens: int
) -> tuple[ChatPlan, ...]:
    """Return the trained model served as it was trained, and as a GGUF file in Q4_K_M."""
    return (
        _chat(facts, machine, engine="hf", form=quantization, context_tokens=context_tokens),
        _chat(facts, machine, engine="gguf", form="Q4_K_M", context_tokens=context_tokens),
    )


def cache_bytes_per_token(facts: ModelFacts) -> int:
    """Return keys and values of all blocks for one token, in 16 bit."""
    return 2 * 2 * facts.num_layers * key_value_width(facts)


def served_bytes(facts: ModelFacts, form: ChatFormat, *, on_gpu: bool) -> float:
    """Return the bytes of the weights as they are served; in transformers only linear layers are packed."""
    if form == "Q4_K_M":
        return num_params(facts) * _Q4_K_M_BYTES
    element = 2 if on_gpu else 4
    packed = element if form == "none" else _BYTES_PER_PARAM[form]
    return num_linear_params(facts) * packed + num_other_params(facts) * element


def _chat(
    facts: ModelFacts, machine: Machine, *, engine: Literal["hf", "gguf"], form: ChatFormat, context_tokens: int
) -> ChatPlan:
    on_gpu = machine.gpu is not None
    weights = served_bytes(facts, form, on_gpu=on_gpu)
    per_token = cache_bytes_per_token(facts)
    overhead = _OVERHEAD_GIB if on_gpu else _CPU_OVERHEAD_GIB.get(form, _CPU_LIBRARIES_GIB)
    total = weights + context_tokens * per_token + overhead * GIB
    room = machine.available_bytes - weights - overhead * GIB
    # A token reads one row of an embedding table of its own. (The constants for GGUF were fitted to the whole file.)
    has_table = form != "Q4_K_M" and not facts.has_tied_embeddings
    table = facts.vocab_size * facts.hidden_size * (2 if on_gpu else 4) if has_table else 0
    low, point, high = _writing(facts, machine, form, read_bytes=weights - table + context_tokens / 2 * per_token)
    return ChatPlan(
        engine=engine,
        format=form,
        context_tokens=context_tokens,
        weights_gib=weights / GIB,
        cache_gib=context_tokens * per_token / GIB,
        total_gib=total / GIB,
        fits=total <= machine.available_bytes,
        longest_context_tokens=max(0, min(facts.context_tokens, int(room / per_token))),
        tokens_per_second=point,
        low_tokens_per_second=low,
        high_tokens_per_second=high,
        first_token_seconds=PROMPT_TOKENS * 2 * num_params(facts) / _reading_flops(machine, form),
    )


def _writing(facts: ModelFacts, machine: Machine, form: ChatFormat, *, read_bytes: float) -> tuple[float, float, float]:
    """Tokens per second: slow, likely, fast."""
    row = machine.gpu_facts
    if row is None:
        slow, likely, fast = (speed / read_bytes for speed in _CPU_BYTES_PER_SECOND)
        return slow, likely, fast
    seconds = read_bytes / (_BANDWIDTH[form] * row.bandwidth_bytes_per_second)
    speed = 1 / (seconds + _BLOCK_SECONDS[form] * facts.num_layers)
    below, above = _SPREAD[form]
    return below * speed, speed, above * speed


def _reading_flops(machine: Machine, form: ChatFormat) -> float:
    if machine.gpu_facts is None:
        return _CPU_PREFILL * machine.cpu_gflops * 1e9
    return _PREFILL[form] * machine.gpu_facts.tensor_flops
