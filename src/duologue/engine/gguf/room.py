"""How much memory a context takes, and whether it is there: asked before llama.cpp allocates it.

A context that no memory is left for is not always refused by the system. It may be granted and the process killed when
the memory is first written to.
"""

from dataclasses import dataclass

from duologue.engine.gguf.header import Header
from duologue.errors import EngineError

BATCH_TOKENS = 512  # tokens of a prompt that are read at once; a cancelled prompt stops at the next multiple
MOST_SLOTS = 4  # beyond, a CPU only divides its speed
_SLOTS_SHARE = 1 / 8  # of the free memory may go to the slots where nobody said how many there are
_FLOAT_BYTES = 4
_CACHE_BYTES = {"f16": 2.0, "q8_0": 34 / 32}  # per number; q8_0 keeps 32 of them and a scale
_GLOBAL_LAYERS = 6  # of models with a window, at least one layer of so many sees everything (Gemma 3)
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class ContextShape:
    """What decides the size of a context.

    Attributes:
        cache_numbers: Keys and values of one token over all layers.
        num_windowed: Those of them that only the newest tokens keep, at most.
        window_tokens: How many that are; 0 where no layer has a window.
        num_vocab: Logits of one token.
        width: Numbers between two layers.
    """

    cache_numbers: int
    num_windowed: int = 0
    window_tokens: int = 0
    num_vocab: int = 0
    width: int = 0

    def slot_bytes(self, context_tokens: int, *, cache_type: str = "f16") -> int:
        """Return the keys and values of one slot; of a model with windows the least it can be."""
        everywhere = (self.cache_numbers - self.num_windowed) * context_tokens
        windowed = self.num_windowed * min(context_tokens, self.window_tokens)
        return int((everywhere + windowed) * _CACHE_BYTES[cache_type])

    @property
    def batch_bytes(self) -> int:
        """What a batch of a prompt needs beside that: its logits, and a few rows between the layers."""
        return BATCH_TOKENS * (self.num_vocab + 4 * self.width) * _FLOAT_BYTES


def context_shape(header: Header) -> ContextShape:
    """Return what decides the size of a model's context.

    Raises:
        ValueError: A field has another type than the format gives it.
    """
    family = header.architecture
    num_layers = header.of(f"{family}.block_count", int, 0)
    width = header.of(f"{family}.embedding_length", int, 0)
    num_heads = _each(header, f"{family}.attention.head_count", num_layers, default=1)
    num_cached = _each(header, f"{family}.attention.head_count_kv", num_layers, default=max(num_heads, default=1))
    head_size = width // max(1, *num_heads) if num_heads else 0
    key = header.of(f"{family}.attention.key_length", int, head_size)
    value = header.of(f"{family}.attention.value_length", int, head_size)
    latent = header.of(f"{family}.attention.kv_lora_rank", int, 0)  # DeepSeek keeps one short row for all heads
    cache_numbers = latent * num_layers if latent else sum(num_cached) * (key + value)
    window_tokens = header.of(f"{family}.attention.sliding_window", int, 0)
    num_windowed = cache_numbers - cache_numbers // _GLOBAL_LAYERS if window_tokens else 0
    num_vocab = len(header.of("tokenizer.ggml.tokens", list, []))
    return ContextShape(cache_numbers, num_windowed, window_tokens, num_vocab, width)


def fitting_slots(shape: ContextShape, *, context_tokens: int, free_bytes: int, cache_type: str = "f16") -> int:
    """Return how many slots a machine can keep beside everything else: at least one, at most four."""
    slot_bytes = max(1, shape.slot_bytes(context_tokens, cache_type=cache_type))
    return max(1, min(MOST_SLOTS, int(free_bytes * _SLOTS_SHARE / slot_bytes)))


def check_room(
    shape: ContextShape, *, context_tokens: int, num_slots: int, free_bytes: int, cache_type: str = "f16"
) -> None:
    """Refuse a context that does not fit the free memory of the machine and its GPUs together.

    Raises:
        EngineError: It needs more.
    """
    slot_bytes = shape.slot_bytes(context_tokens, cache_type=cache_type)
    needed = slot_bytes * num_slots + shape.batch_bytes
    if needed <= free_bytes:
        return
    fitting = max(0, free_bytes - shape.batch_bytes) * context_tokens // max(1, slot_bytes * num_slots)
    slots = f"{num_slots} replies at the same time with " if num_slots > 1 else ""
    raise EngineError(
        f"{slots}a context of {context_tokens} tokens needs {needed / _GIB:.1f} GiB beside the weights",
        needed=f"at most the {free_bytes / _GIB:.1f} GiB of memory that are free",
        action=f"Lower the context: about {fitting // 256 * 256} tokens fit. Or close other programs.",
    )


def _each(header: Header, key: str, num_layers: int, *, default: int) -> tuple[int, ...]:
    """Return a number per layer; some families write one for all."""
    value = header.fields.get(key, default)
    if isinstance(value, int):
        return (value,) * num_layers
    if isinstance(value, tuple) and all(isinstance(each, int) for each in value):
        return value
    raise ValueError(f"'{key}' is no number")
