"""What a training run is made of when it crosses the engine's border: base, adapter, examples, job, events, result."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Quantization = Literal["none", "nf4", "int8"]
Precision = Literal["float32", "bfloat16", "float16"]
LoraInit = Literal["default", "pissa", "loftq"]
OptimizerName = Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"]
NOT_TRAINED = -100  # label of a token that is context, not target


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

    @property
    def num_scored_tokens(self) -> int:
        """Targets that follow something; nothing can foretell the first token."""
        return self.num_trained_tokens - (self.labels[:1] not in ((), (NOT_TRAINED,)))


@dataclass(frozen=True, slots=True)
class BaseModel:
    """Which model to load and how its weights are held.

    Attributes:
        name: `bundled:NAME`, a local folder, a `.gguf` file or a Hugging Face id.
        quantization: Format of the frozen linear weights.
        use_double_quantization: NF4 only: quantise the scales too.
        int8_threshold: int8 only: activations above it are multiplied in 16 bit; 0 turns that off.
        compute_dtype: Type of activations and of unquantised weights.
        trusted_code: Name of the model whose own Python code may run; empty for none.
    """

    name: str
    quantization: Quantization = "none"
    use_double_quantization: bool = True
    int8_threshold: float = 6.0
    compute_dtype: Precision = "float32"
    trusted_code: str = ""


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
        kept_share: Of the way from the start of a run on feedback to its end, how much was not taken back again.
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
    kept_share: float = 1.0


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
