"""The sections of duologue.toml. The text under a field is its only description; the reference is made of it."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from duologue.config.measuring import EvaluationSection, ExportSection, FeedbackSection
from duologue.config.section import Auto, Fraction, PositiveInt, Section
from duologue.config.serving import AgeSection, GuardSection, ServerSection


class RunSection(Section):
    """`[run]`: the run as a whole."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of splits, initialisation, order and dropout."""


class ModelSection(Section):
    """`[model]`: the base model."""

    base: Annotated[str, Field(min_length=1)]
    """A bundled name (`bundled:smollm2-135m`), a local folder, a `.gguf` file or a Hugging Face id. With the engine
    `remote`, a server and the model's name there, `http://host:8000/v1#name`; several servers with the same model are
    separated by commas, `http://one:8000/v1,http://two:8000/v1#name`."""
    quantization: Literal["auto", "none", "nf4", "int8"] = "auto"
    """Format of the frozen weights while training; `auto` takes the most exact one that fits."""
    use_double_quantization: bool = True
    """NF4 only: quantise the scales as well (saves 0.047 bytes per parameter)."""
    int8_threshold: Annotated[float, Field(ge=0)] = 6.0
    """int8 only: activations above this are multiplied in 16 bit (LLM.int8); 0 turns the split off."""
    compute_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of activations and unquantised weights; `auto` is bfloat16 on GPUs that have it, else float32."""
    trusted_code: str = ""
    """Name of the model, as in `base`, whose own Python code may run on this machine; without it, such a model is
    refused. Read the code first: whoever can change the repository can change it."""

    @model_validator(mode="after")
    def _trusts_its_base(self) -> "ModelSection":
        if self.trusted_code not in ("", self.base):
            raise ValueError(f"trusted_code names '{self.trusted_code}', but the base is '{self.base}'")
        return self


class DataSection(Section):
    """`[data]`: the conversations."""

    train: Annotated[tuple[str, ...], Field(min_length=1)]
    """Files with conversations, relative to duologue.toml."""
    weights: dict[str, Annotated[float, Field(ge=0, le=100)]] = {}  # noqa: RUF012  (pydantic copies it)
    """How often the conversations of a file are seen per epoch, by file name or pattern; 1 where none is given."""
    user_names: tuple[str, ...] = ()
    """Who in a chat export is the user, by name; every speaker who is not the character when empty."""
    character_names: tuple[str, ...] = ()
    """Who in a chat export is the character, by name; the card's name when empty."""
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the conversations that is held out to measure loss and perplexity."""
    max_length_tokens: Annotated[int, Field(ge=16)] = 1024
    """Longest example; what happens to a longer conversation is `long_conversations`."""
    long_conversations: Literal["windows", "truncate", "drop"] = "windows"
    """A conversation longer than an example: cut between turns into several, only its beginning used, or left out."""
    train_on_greeting: bool = False
    """Whether an assistant message before the first user message is a target or only context."""
    skip_faulty_rows: bool = True
    """Drop and count rows with faults; false stops at the first check instead."""
    near_duplicates: Literal["keep", "drop"] = "keep"
    """What happens to a conversation that is almost another one; kept, both are in the same split."""
    personal_data: Literal["keep", "redact", "drop"] = "keep"
    """What happens to e-mail addresses, phone numbers, postal addresses and keys: counted only, or masked, or the row
    left out."""
    strip_asides: bool = False
    """Remove out-of-character asides such as `((brb))` and `OOC: ...` from messages."""


class LoraSection(Section):
    """`[lora]`: the adapter."""

    rank: PositiveInt = 16
    """Inner width of the adapter's matrices."""
    alpha: PositiveInt = 32
    """Scale: the update is multiplied by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout at the adapter's input."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Linear layers to adapt: `all-linear` or names such as `q_proj`."""
    num_layers: Literal["all"] | PositiveInt = "all"
    """Adapt only the last N transformer blocks; the backward pass ends at the lowest of them."""
    use_rslora: bool = False
    """Multiply the update by alpha / sqrt(rank) instead of alpha / rank (rsLoRA)."""
    use_dora: bool = False
    """Learn the length of each weight row apart from its direction (DoRA); slower by a quarter."""
    init_weights: Literal["default", "pissa", "loftq"] = "default"
    """How the adapter begins: at zero, at the base's largest singular values (PiSSA), or at what quantisation lost
    (LoftQ, for a 4-bit base)."""
    lr_ratio: Annotated[float, Field(ge=1)] = 1.0
    """Learning rate of the second matrix over that of the first (LoRA+ takes 16)."""


class TrainingSection(Section):
    """`[training]`: the optimisation."""

    num_epochs: Annotated[float, Field(gt=0)] = 3.0
    """Passes over the training split, when `max_steps` is `auto`."""
    max_steps: Auto | PositiveInt = "auto"
    """Optimizer steps; `auto` is what `num_epochs` needs, shortened to `budget.max_minutes`."""
    micro_batch_size: Auto | PositiveInt = "auto"
    """Sequences per forward pass on one device."""
    gradient_accumulation_steps: Auto | PositiveInt = "auto"
    """Forward passes per optimizer step; `auto` makes a global batch of 8."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-4
    """Peak learning rate."""
    lr_schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape of the learning rate after the warm-up."""
    warmup_fraction: Fraction = 0.03
    """Share of the steps with a linearly rising learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW weight decay."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are scaled down to this norm."""
    packing: bool = False
    """Put the conversations of a step behind each other in rows of `data.max_length_tokens`, each seeing only itself,
    instead of padding micro-batches."""
    optimizer: Literal["auto", "adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"] = "auto"
    """AdamW with 32-bit or 8-bit state, the paged ones move it to system memory when the GPU is full; `auto` is
    `adamw`, fused into one kernel where torch can."""
    neftune_alpha: Annotated[float, Field(ge=0)] = 0.0
    """Noise on the embeddings while training (NEFTune takes 5); 0 adds none."""
    adapter_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of the adapter's weights; `auto` is what the plan finds as good and smaller."""
    compile: bool = False
    """Compile the model before the first step: minutes of waiting that a run of hours gets back."""
    early_stopping_patience: Annotated[int, Field(ge=0)] = 0
    """End the run, with the best weights, after so many evaluations without a better one; 0 never does."""
    early_stopping_on: Literal["loss", "replies"] = "loss"
    """What must get better: the loss on held-out conversations, or the sampled replies that pass their checks."""
    num_sample_replies: Annotated[int, Field(ge=0, le=20)] = 2
    """Replies drawn at each evaluation, and checked for loops, for a missing end and for speaking for the user."""
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Recompute activations to save memory; `auto` turns it on only when the run would not fit without."""
    save_every_steps: Auto | PositiveInt = "auto"
    """Steps between checkpoints; `auto` is a tenth of the run, at most 100."""
    eval_every_steps: Auto | Annotated[int, Field(ge=0)] = "auto"
    """Steps between measurements on the validation split; 0 turns them off; `auto` is a quarter of the run."""
    num_checkpoints: PositiveInt = 2
    """Checkpoints kept on disk."""


class BudgetSection(Section):
    """`[budget]`: what a run may cost."""

    max_minutes: Literal["unlimited"] | Annotated[float, Field(gt=0)] = "unlimited"
    """Training time to aim for; with `training.max_steps = "auto"` the run is shortened to it."""
    electricity_usd_per_kwh: Annotated[float, Field(ge=0)] = 0.1802
    """Price of electricity in USD per kWh (US residential, forecast for 2026: EIA outlook of December 2025)."""
    rent_usd_per_hour: Auto | Annotated[float, Field(ge=0)] = "auto"
    """Price of renting the GPU; `auto` is the dated price of the planner's table, where it has one."""
    card_usd: Auto | Annotated[float, Field(ge=0)] = "auto"
    """Price of buying the GPU; `auto` is its price at launch, where the planner's table has one."""
    resale_usd: Annotated[float, Field(ge=0)] = 0.0
    """What the GPU can be sold for afterwards; 0 counts nothing, because nobody knows it beforehand."""


class CharacterSection(Section):
    """`[character]`: who speaks."""

    card: str = ""
    """Character card (PNG, JSON, CharX), relative to duologue.toml; else a plain assistant named after the folder."""
    user_name: Annotated[str, Field(min_length=1, max_length=80)] = "User"
    """What `{{user}}` stands for."""
    persona: str = ""
    """Who the user is, in a sentence or two; part of the prompt."""
    companions: tuple[str, ...] = ()
    """Cards of further characters in the same chats, relative to duologue.toml."""
    speaking_order: Literal["natural", "list", "manual", "pooled"] = "natural"
    """Who replies in a chat of several: whoever is named or chimes in, all in order, whom the user asks, or whoever has
    not spoken since the user."""
    lorebooks: tuple[str, ...] = ()
    """Lorebook files beside the card's own, relative to duologue.toml."""
    lore_scan_messages: Annotated[int, Field(ge=0, le=1000)] = 2
    """Messages at the end of the chat in which the keys of lore are looked for, unless a lorebook says."""
    lore_fraction: Fraction = 0.25
    """Largest share of the context that fired lore may take, unless a lorebook says."""
    author_note: str = ""
    """A note to the model, set into the chat near its end."""
    author_note_depth: Annotated[int, Field(ge=0, le=1000)] = 4
    """Messages that stand below the author's note."""


class GenerationSection(Section):
    """`[generation]`: how replies are drawn."""

    max_new_tokens: PositiveInt = 128
    """Longest reply."""
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.8
    """0 always takes the most likely token."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Smallest set of tokens with this probability mass."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Number of most likely tokens kept; 0 keeps all."""
    min_p: Fraction = 0.05
    """Tokens below this share of the best token's probability are dropped."""
    repetition_penalty: Annotated[float, Field(gt=0, le=3)] = 1.05
    """Above 1: tokens already said become less likely."""
    preset: str = ""
    """A preset of sampler settings (shipped: `duologue chat --help` lists them; or a TOML file); keys set here win."""
    typical_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Keep tokens whose surprise is near the expected one, up to this probability mass; 1 keeps all."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    """Taken from the logit of every token that was said."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    """Taken from the logit of a token for each time it was said."""
    dry_multiplier: Annotated[float, Field(ge=0)] = 0.0
    """DRY: penalty for going on with a sequence that was said before; 0 turns it off (0.8 is usual)."""
    dry_base: Annotated[float, Field(ge=1)] = 1.75
    """DRY: the penalty grows by this factor per token of the repeated sequence."""
    dry_allowed_length_tokens: Annotated[int, Field(ge=1)] = 2
    """DRY: repeated sequences up to this length cost nothing."""
    dry_window_tokens: Annotated[int, Field(ge=-1)] = -1
    """DRY: how far back sequences are looked for; -1 is the whole context."""
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    """DRY: texts that no repeated sequence reaches across."""
    xtc_probability: Fraction = 0.0
    """XTC: chance per token that the most likely choices are taken away; 0 turns it off."""
    xtc_threshold: Annotated[float, Field(ge=0, le=1)] = 0.1
    """XTC: choices above this probability are taken away, all but the least likely of them."""
    mirostat: Literal[0, 1, 2] = 0
    """Mirostat: version that holds the surprise per token steady, in place of the cuts above; 0 turns it off."""
    mirostat_tau: Annotated[float, Field(gt=0)] = 5.0
    """Mirostat: the surprise aimed at, in bits."""
    mirostat_eta: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Mirostat: how fast it corrects."""
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] = {}  # noqa: RUF012  (pydantic copies it)
    """Added to the logits of the tokens of a text, or of a token id written as a number; -100 forbids it."""
    stop: tuple[str, ...] = ()
    """Texts that end a reply; they are not part of it."""
    seed: Annotated[int, Field(ge=-1)] = -1
    """Draws are repeatable with the same seed; -1 draws differently each time."""
    context_tokens: Auto | Annotated[int, Field(ge=64)] = "auto"
    """Short-term buffer: prompt and reply together; `auto` is the model's own limit, at most 4096."""
    summarise: bool = False
    """Let the model sum up what falls out of the short-term buffer; the summary is part of the prompt, and editable."""


class MemorySection(Section):
    """`[memory]`: long-term memory."""

    enabled: bool = True
    """Store turns and recall lines from earlier sessions."""
    num_recalled: Annotated[int, Field(ge=0, le=20)] = 3
    """Lines recalled per question."""
    max_recalled_tokens: Annotated[int, Field(ge=0)] = 160
    """Upper bound of all recalled lines together."""
    embedder: Literal["auto", "none", "minilm"] = "auto"
    """What finds lines by meaning beside their words: the bundled MiniLM; `auto` takes it where it is installed."""
    cooldown_turns: Annotated[int, Field(ge=0)] = 3
    """Turns for which a recalled line is not recalled again, unless it is pinned or asked for by name."""
    share_user_facts: bool = False
    """Whether facts about the user are known to all characters in a folder, not only to the one they were told."""
    supermemory: bool = False
    """Ask Supermemory as well and send it what is said (needs SUPERMEMORY_API_KEY); else nothing leaves the machine."""
    supermemory_url: str = "https://api.supermemory.ai"
    """Address of the Supermemory server."""


class Config(Section):
    """duologue.toml."""

    model_config = ConfigDict(title="duologue.toml")

    run: RunSection = RunSection()
    """The run as a whole."""
    model: ModelSection
    """The base model."""
    data: DataSection
    """The conversations."""
    lora: LoraSection = LoraSection()
    """The adapter."""
    training: TrainingSection = TrainingSection()
    """The optimisation."""
    feedback: FeedbackSection = FeedbackSection()
    """Learning from what people liked and corrected."""
    budget: BudgetSection = BudgetSection()
    """What a run may cost."""
    character: CharacterSection = CharacterSection()
    """Who speaks."""
    generation: GenerationSection = GenerationSection()
    """How replies are drawn."""
    memory: MemorySection = MemorySection()
    """Long-term memory."""
    guard: GuardSection = GuardSection()
    """What goes in and out."""
    age: AgeSection = AgeSection()
    """How visitors prove their age."""
    evaluation: EvaluationSection = EvaluationSection()
    """What is measured after training."""
    server: ServerSection = ServerSection()
    """The web page and the API."""
    export: ExportSection = ExportSection()
    """What leaves the workshop."""


class Home(Section):
    """home.toml: what holds for a whole server of several characters."""

    model_config = ConfigDict(title="home.toml")

    server: ServerSection = ServerSection()
    """The web page and the API."""
    guard: GuardSection = GuardSection()
    """What goes in and out; its rating is the highest a character of this home can have."""
    age: AgeSection = AgeSection()
    """How visitors prove their age."""
