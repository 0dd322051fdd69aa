"""What crosses the engine's border: facts, jobs, examples and pieces, and the Protocols an engine implements.

Nothing here imports a model library. An engine implements `Trainer`, `Generator` or both.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from duologue.messages import FinishReason, Message

Quantization = Literal["none", "nf4", "int8"]
Precision = Literal["float32", "bfloat16", "float16"]
LoraInit = Literal["default", "pissa", "loftq"]
OptimizerName = Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"]
NOT_TRAINED = -100  # label of a token that is context, not target


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


@dataclass(frozen=True, slots=True)
class Example:
    """A tokenized conversation.

    Attributes:
        input_ids: Token ids, length T.
        labels: Length T; the id where the token is a target, `NOT_TRAINED` where it is context. `labels[t]` belongs
            to `input_ids[t]`; the shift by one happens in the loss.
        source: `file:row` of the conversation.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    source: str

    @property
    def num_tokens(self) -> int:
        """All tokens."""
        return len(self.input_ids)

    @property
    def num_trained_tokens(self) -> int:
        """Tokens that are targets."""
        return len(self.labels) - self.labels.count(NOT_TRAINED)


@dataclass(frozen=True, slots=True)
class BaseModel:
    """Which model to load and how its weights are held.

    Attributes:
        name: `bundled:NAME`, a local folder, a `.gguf` file or a Hugging Face id.
        quantization: Format of the frozen linear weights.
        use_double_quantization: NF4 only: quantise the scales too.
        int8_threshold: int8 only: activations above it are multiplied in 16 bit; 0 turns that off.
        compute_dtype: Type of activations and of unquantised weights.
    """

    name: str
    quantization: Quantization = "none"
    use_double_quantization: bool = True
    int8_threshold: float = 6.0
    compute_dtype: Precision = "float32"


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """Shape of the adapter.

    Attributes:
        rank: Inner width of the two matrices.
        alpha: Scale; the update is multiplied by alpha / rank.
        dropout: Probability at the adapter's input.
        target_modules: Names of linear layers, or `all-linear`.
        num_layers: Adapt only the last N transformer blocks; 0 adapts all.
        use_rslora: Multiply by alpha / sqrt(rank) instead (Kalajdzievski 2023).
        use_dora: Magnitude and direction apart (DoRA, Liu 2024).
        init_weights: At zero, PiSSA (Meng 2024) or LoftQ (Li 2023).
        lr_ratio: Learning rate of the second matrix over that of the first (LoRA+, Hayou 2024).
    """

    rank: int
    alpha: int
    dropout: float = 0.0
    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    num_layers: int = 0
    use_rslora: bool = False
    use_dora: bool = False
    init_weights: LoraInit = "default"
    lr_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Replies drawn while a run goes, to see more than the loss.

    Attributes:
        prompts: What the user says and the token ids of the whole prompt.
        max_new_tokens: Longest reply.
        user_marks: Texts that a reply which speaks for the user contains, such as the name with a colon.
    """

    prompts: tuple[tuple[str, tuple[int, ...]], ...] = ()
    max_new_tokens: int = 60
    user_marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """Everything an engine needs to know to fit an adapter, besides the examples.

    Attributes:
        base: The frozen model.
        lora: Shape of the adapter.
        max_steps: Optimizer steps in all.
        micro_batch_size: Sequences per forward.
        gradient_accumulation_steps: Forwards per optimizer step.
        learning_rate: Peak learning rate.
        lr_schedule: Shape after the warm-up.
        warmup_steps: Steps of linear warm-up.
        weight_decay: AdamW's decay.
        max_grad_norm: Gradient norm is clipped to this.
        use_gradient_checkpointing: Recompute activations in the backward pass.
        seed: Order of the examples, initialisation, dropout.
        save_every_steps: Steps between checkpoints.
        eval_every_steps: Steps between evaluations on the validation examples; 0 turns them off.
        num_checkpoints: Checkpoints kept; the newest is never deleted before its successor is safe.
        run_folder: Where `checkpoints/` and `adapter/` are written.
        pack_length_tokens: With packing, the examples of an optimizer step stand behind each other in rows of up to
            this many tokens (a longer example has a row of its own), one row per forward; 0 pads instead, with
            `micro_batch_size` examples per forward. Either way a step holds the same examples.
        optimizer: AdamW with 32-bit or 8-bit state, paged or not.
        neftune_alpha: Noise on the embeddings (NEFTune, Jain 2023); 0 adds none.
        adapter_dtype: Type of the adapter's weights.
        use_compile: Compile the model before the first step.
        use_activation_offload: Keep the saved activations in system memory.
        early_stopping_patience: Evaluations without a better one after which the run ends; 0 never does.
        early_stopping_on: What an evaluation is judged by.
        samples: Replies to draw at each evaluation.
        num_processes: Processes that share each step, one device each; a step has as many examples as all of them take.
        is_sharded: Whether each process holds only a part of the base (FSDP2).
    """

    base: BaseModel
    lora: LoraSettings
    max_steps: int
    micro_batch_size: int
    gradient_accumulation_steps: int
    learning_rate: float
    lr_schedule: Literal["cosine", "linear", "constant"]
    warmup_steps: int
    weight_decay: float
    max_grad_norm: float
    use_gradient_checkpointing: bool
    seed: int
    save_every_steps: int
    eval_every_steps: int
    num_checkpoints: int
    run_folder: Path
    pack_length_tokens: int = 0
    optimizer: OptimizerName = "adamw"
    neftune_alpha: float = 0.0
    adapter_dtype: Precision = "float32"
    use_compile: bool = False
    use_activation_offload: bool = False
    early_stopping_patience: int = 0
    early_stopping_on: Literal["loss", "replies"] = "loss"
    samples: SampleRequest = SampleRequest()
    num_processes: int = 1
    is_sharded: bool = False

    @property
    def examples_per_step(self) -> int:
        """The global batch on one device."""
        return self.micro_batch_size * self.gradient_accumulation_steps


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process stands among those that train together.

    Attributes:
        rank: Its number, from 0; 0 is the one that speaks and writes.
        num_processes: How many they are.
        init_method: Where they meet, as torch.distributed takes it: `file:///...`, or `env://` under a launcher.
        local_rank: Its number on this machine, which is the number of its GPU.
    """

    rank: int
    num_processes: int
    init_method: str
    local_rank: int


@dataclass(frozen=True, slots=True)
class Adapter:
    """A trained adapter on disk.

    Attributes:
        folder: Holds `adapter_model.safetensors` and `adapter_config.json`.
        base: The model it belongs to.
    """

    folder: Path
    base: BaseModel


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a finished fit measured.

    Attributes:
        adapter: Where the adapter lies.
        num_steps: Optimizer steps done in all, resumed ones included.
        final_loss: Mean training loss in nats per trained token over the last tenth of the steps.
        num_trained_tokens: Target tokens seen by this process.
        num_tokens: Tokens seen by this process, padding left out.
        seconds: Wall time of the steps of this process, load and evaluation left out.
        peak_memory_bytes: Peak allocated on the GPU, or peak resident memory of the process on a CPU.
        reload_max_difference: Largest absolute logit difference between the trained and the reloaded adapter.
        changes: What was changed to go on after memory ran out, in order; empty when nothing was.
        fast_path: What made the run fast, and what was switched off by what.
        was_stopped_early: Whether the evaluations ended the run before its last step.
    """

    adapter: Adapter
    num_steps: int
    final_loss: float
    num_trained_tokens: int
    num_tokens: int
    seconds: float
    peak_memory_bytes: int
    reload_max_difference: float
    changes: tuple[str, ...] = ()
    fast_path: tuple[str, ...] = ()
    was_stopped_early: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened during long work; the only thing that flows upwards.

    Attributes:
        name: `loading`, `loaded`, `step`, `evaluated`, `checkpoint`, `resumed`, `warning`, `saved`.
        step: Optimizer step the event belongs to; 0 outside training.
        values: Numbers and short texts by name, units in the names.
    """

    name: str
    step: int = 0
    values: dict[str, float | int | str] = field(default_factory=dict)


OnEvent = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        max_new_tokens: Upper bound of the reply.
        temperature: 0 means the most likely token every time.
        top_p: Keep the smallest set of tokens with this probability mass; 1 keeps all.
        top_k: Keep this many tokens; 0 keeps all.
        min_p: Drop tokens below this share of the best token's probability; 0 keeps all.
        repetition_penalty: Above 1 makes tokens that were already said less likely.
        stop: Texts that end the reply; they are not part of it.
        seed: Draws are repeatable for the same seed; -1 draws differently each time.
        typical_p: Locally typical sampling (Meister 2022): probability mass kept; 1 keeps all.
        presence_penalty: Taken from the logit of every token that was said.
        frequency_penalty: Taken from the logit of a token for each time it was said.
        dry_multiplier: DRY, penalty for going on with a sequence that was said before; 0 is off.
        dry_base: DRY, growth of the penalty per token of the sequence.
        dry_allowed_length_tokens: DRY, sequences up to this length cost nothing.
        dry_window_tokens: DRY, how far back is looked; -1 is the whole context.
        dry_sequence_breakers: DRY, texts that no sequence reaches across.
        xtc_probability: XTC, chance per token that the most likely choices are taken away; 0 is off.
        xtc_threshold: XTC, choices above this probability are taken away, all but the least likely of them.
        mirostat: Version 1 or 2 (Basu 2021), in place of top-k, top-p, min-p and typical; 0 is off.
        mirostat_tau: Surprise aimed at, in bits.
        mirostat_eta: How fast it corrects.
        logit_bias: Token id and what is added to its logit.
    """

    max_new_tokens: int = 128
    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 0
    min_p: float = 0.05
    repetition_penalty: float = 1.05
    stop: tuple[str, ...] = ()
    seed: int = -1
    typical_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length_tokens: int = 2
    dry_window_tokens: int = -1
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    mirostat: Literal[0, 1, 2] = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    logit_bias: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A bit of streamed text; the last piece of a stream carries a finish reason.

    Attributes:
        text: New text, possibly empty.
        num_tokens: Tokens generated so far.
        finish_reason: None until the last piece.
        num_cached_tokens: On the last piece: tokens of the prompt whose state was still there from an earlier request;
            -1 where the engine cannot tell.
    """

    text: str
    num_tokens: int
    finish_reason: FinishReason | None = None
    num_cached_tokens: int = -1


class Tokenizer(Protocol):
    """Chat template and vocabulary of one model."""

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """Ids that end a reply."""
        ...

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Texts that the vocabulary reads as control tokens; in a person's text they are neutralised."""
        ...

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool, continues: bool = False
    ) -> tuple[int, ...]:
        """Return the token ids of the chat template filled with `messages`.

        Args:
            messages: The conversation.
            add_generation_prompt: End with the header of a reply.
            continues: The last message, an assistant's, stays open: the ids end with its content, so that a reply
                goes on from there. There is no other header then, whatever `add_generation_prompt` says.

        Raises:
            DataError: The template refuses these messages, or the message to go on from is not an assistant's.
        """
        ...

    def encode(self, text: str) -> Sequence[int]:
        """Return the ids of a text as it stands inside a message, without anything added.

        Raises:
            DataError: The vocabulary is not known here (a remote server's).
        """
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids` without control tokens."""
        ...


@dataclass(frozen=True, slots=True)
class TemplateTraits:
    """What a chat template carries as it is; the rest is folded, alike for training and for chat.

    Attributes:
        carries_system: A system message at the front.
        carries_late_system: System messages after the first user message.
        carries_greeting: A reply before the first user message.
        reply_primer: Text that stands between the header and a reply, in history as in the generation prompt; an empty
            think block in templates that know one, else nothing.
        watched_texts: Texts that the template looks for inside messages.
    """

    carries_system: bool = True
    carries_late_system: bool = True
    carries_greeting: bool = True
    reply_primer: str = ""
    watched_texts: tuple[str, ...] = ()


class TextTokenizer(Tokenizer, Protocol):
    """A tokenizer whose two steps, text and ids, can be taken apart: what data is rendered with."""

    @property
    def traits(self) -> TemplateTraits:
        """What the chat template carries."""
        ...

    @property
    def fingerprint(self) -> str:
        """A digest of vocabulary and chat template: equal when the same messages always give the same ids."""
        ...

    def render_text(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """Return the text of the filled template; `encode_batch` makes of it the ids that `render` returns.

        Raises:
            DataError: The template refuses these messages.
        """
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text; control tokens in it are read as such, and nothing is added."""
        ...


class Trainer(Protocol):
    """An engine that can fit adapters."""

    def facts(self, base: BaseModel) -> ModelFacts:
        """Return the shape of a base model."""
        ...

    def tokenizer(self, base: BaseModel) -> TextTokenizer:
        """Return the tokenizer of a base model without loading its weights."""
        ...

    def fit(
        self,
        job: TrainingJob,
        train: Sequence[Example],
        validation: Sequence[Example],
        *,
        on_event: OnEvent,
        should_stop: threading.Event,
    ) -> FitResult:
        """Train an adapter, continuing from the newest complete checkpoint in the run folder when there is one.

        Raises:
            InterruptedRun: `should_stop` was set; a checkpoint of the last finished step is on disk.
            EngineError: The model cannot be loaded, memory ran out, the disk is full, or the loss is not a number.
        """
        ...

    def merge(self, adapter: Adapter, folder: Path) -> float:
        """Write base and adapter as one 16-bit model to `folder`; return the largest absolute logit difference."""
        ...


class Generator(Protocol):
    """A loaded model that yields tokens."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer prompts are rendered with."""
        ...

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus reply."""
        ...

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
        """Yield the reply piece by piece; ends within one token after `cancel` is set.

        Raises:
            EngineError: Prompt and reply do not fit the context, or generation failed.
        """
        ...

    def unsupported(self, sampling: Sampling) -> tuple[str, ...]:
        """Return the names of the settings in `sampling` that would do something but that this engine cannot honour.

        Names are those of the fields of `Sampling`, and `continues` where a reply cannot be gone on with.
        """
        ...

    def score(self, examples: Sequence[Example]) -> tuple[float, int]:
        """Return the summed negative log-likelihood in nats over all trained tokens, and their number."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...
