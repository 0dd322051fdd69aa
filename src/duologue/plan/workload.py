"""The work of one run in numbers: what memory and time are computed from."""

from dataclasses import dataclass
from typing import Literal

from duologue.data import DataStats
from duologue.engine import LoraSettings, ModelFacts, Precision, Quantization
from duologue.plan.profiles import DUOLOGUE, StackProfile

Optimizer = Literal["adamw", "adamw_bf16", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"]

GROUP_BATCHES = 8  # the engine sorts this many global batches by length together


@dataclass(frozen=True, slots=True)
class Workload:
    """A model, an adapter, its data, and how they are trained.

    Attributes:
        facts: Shape of the base model.
        lora: Shape of the adapter.
        stats: Token counts of the data.
        quantization: Format of the frozen linear weights.
        use_double_quantization: NF4 only: scales quantised too.
        compute_dtype: Type of activations and of unquantised weights.
        micro_batch_size: Sequences per forward.
        gradient_accumulation_steps: Forwards per optimizer step.
        use_gradient_checkpointing: Recompute activations in the backward pass.
        profile: The stack that runs it.
        optimizer: AdamW with states in the adapter's type, in bf16, or in 8 bit; `paged` states leave the GPU.
        pack_length_tokens: Examples stand behind each other in rows of up to this many tokens, one row per forward; 0
            pads micro-batches instead.
        num_gpus: Cards that share the weights.
    """

    facts: ModelFacts
    lora: LoraSettings
    stats: DataStats
    quantization: Quantization
    use_double_quantization: bool
    compute_dtype: Precision
    micro_batch_size: int
    gradient_accumulation_steps: int
    use_gradient_checkpointing: bool
    profile: StackProfile = DUOLOGUE
    optimizer: Optimizer = "adamw"
    pack_length_tokens: int = 0
    num_gpus: int = 1

    @property
    def element_bytes(self) -> int:
        """Bytes of one activation in the residual stream."""
        return 4 if self.compute_dtype == "float32" else 2

    @property
    def examples_per_step(self) -> int:
        """The global batch."""
        return self.micro_batch_size * self.gradient_accumulation_steps

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps that see every example once; the last one may be smaller."""
        return -(-self.stats.num_train_examples // self.examples_per_step)

    @property
    def tokens_per_step(self) -> float:
        """Mean tokens of an optimizer step, padding left out."""
        return self.stats.num_tokens / self.steps_per_epoch

    @property
    def micro_batches_per_step(self) -> float:
        """Mean forward passes of an optimizer step; fewer than the accumulation when an epoch ends on a small batch."""
        if self.pack_length_tokens:
            return max(1.0, self.tokens_per_step / max(self.pack_length_tokens, self.stats.max_tokens))
        full, rest = divmod(self.stats.num_train_examples, self.examples_per_step)
        forwards = full * self.gradient_accumulation_steps + -(-rest // self.micro_batch_size)
        return forwards / self.steps_per_epoch

    @property
    def trained_fraction(self) -> float:
        """Share of the tokens that are targets."""
        return self.stats.num_trained_tokens / self.stats.num_tokens

    @property
    def mean_tokens(self) -> float:
        """Mean length of an example."""
        return self.stats.num_tokens / self.stats.num_train_examples

    @property
    def largest_micro_batch(self) -> int:
        """Sequences of the fullest forward pass."""
        return min(self.micro_batch_size, self.stats.num_train_examples)

    @property
    def longest_micro_batch_tokens(self) -> int:
        """Tokens of the forward pass that decides the memory: the longest examples together, padded; or a full row."""
        if self.pack_length_tokens:
            longest = sum(self.stats.lengths[-self.examples_per_step :])
            return max(self.stats.max_tokens, min(self.pack_length_tokens, longest))
        if not self.profile.pads:
            return sum(self.stats.lengths[-self.largest_micro_batch :])
        return self.largest_micro_batch * self.stats.max_tokens

    @property
    def is_padded(self) -> bool:
        """Whether a micro-batch can hold sequences of different lengths."""
        lengths = self.stats.lengths
        pads = self.profile.pads and not self.pack_length_tokens
        return pads and self.largest_micro_batch > 1 and lengths[:1] != lengths[-1:]

    @property
    def padding_factor(self) -> float:
        """Tokens computed per token of the data.

        The engine sorts groups of eight global batches by length and cuts them into micro-batches, longest first.
        A group is represented by as many evenly spaced quantiles of the lengths.
        """
        if self.pack_length_tokens or not self.profile.pads:
            return 1.0
        lengths = self.stats.lengths
        size = min(len(lengths), GROUP_BATCHES * self.examples_per_step)
        group = [lengths[(2 * at + 1) * len(lengths) // (2 * size)] for at in reversed(range(size))]
        padded = 0
        for start in range(0, size, self.micro_batch_size):
            micro_batch = group[start : start + self.micro_batch_size]
            padded += len(micro_batch) * micro_batch[0]
        return padded / sum(group)
