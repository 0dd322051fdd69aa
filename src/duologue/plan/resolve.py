"""Every `auto` of a config becomes a value with a reason; explicit values are kept and listed too."""

import math
from dataclasses import dataclass, replace

from duologue.config import Config
from duologue.data import DataStats
from duologue.engine import LoraSettings, ModelFacts, Precision, Quantization
from duologue.plan.machine import Machine
from duologue.plan.measured import plan_memory, seconds_per_step
from duologue.plan.memory import MemoryPlan
from duologue.plan.profiles import DUOLOGUE
from duologue.plan.workload import Workload

_GLOBAL_BATCH = 8
_MICRO_BATCHES_GPU = (8, 4, 2, 1)
_MICRO_BATCHES_CPU = (4, 2, 1)  # a CPU gains nothing from more, and padding costs it time
_MOST_EXACT_FIRST: tuple[Quantization, ...] = ("none", "int8", "nf4")
_CONTEXT_TOKENS = 4096
_LONGEST_SAVE_INTERVAL_STEPS = 100
_FEWEST_STEPS = 20  # a budget shortens no run below this: see docs/LOG.md, 12 steps gave 41% of lower perplexity
_AS_SET = "as the config says"


@dataclass(frozen=True, slots=True)
class ResolvedSettings:
    """Every setting that may be `auto`, concrete."""

    quantization: Quantization
    compute_dtype: Precision
    micro_batch_size: int
    gradient_accumulation_steps: int
    max_steps: int
    warmup_steps: int
    save_every_steps: int
    eval_every_steps: int
    use_gradient_checkpointing: bool
    context_tokens: int


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a setting has its value.

    Attributes:
        setting: Field of `ResolvedSettings`.
        value: Its value.
        why: In plain words, with the numbers.
    """

    setting: str
    value: str | int
    why: str

    @property
    def is_automatic(self) -> bool:
        """Whether the planner chose the value, not the person."""
        return self.why != _AS_SET


@dataclass(frozen=True, slots=True)
class Resolution:
    """Settings, reasons, and the workload they make."""

    workload: Workload
    settings: ResolvedSettings
    reasons: tuple[Reason, ...]


def resolve(config: Config, stats: DataStats, facts: ModelFacts, *, machine: Machine) -> Resolution:
    """Return concrete settings for a run on a machine."""
    dtype, why_dtype = _compute_dtype(config, machine)
    workload = _leanest(config, stats, facts, dtype)
    workload, why_quantization = _quantization(config, workload, machine)
    workload, why_checkpointing = _checkpointing(config, workload, machine)
    workload, why_micro_batch = _micro_batch(config, workload, machine)
    workload, why_accumulation = _accumulation(config, workload)
    max_steps, why_steps = _max_steps(config, workload, machine)
    warmup_steps, why_warmup = _warmup(config, max_steps)
    save_steps, why_save = _save_interval(config, max_steps)
    eval_steps, why_eval = _eval_interval(config, stats, max_steps)
    context, why_context = _context(config, facts)
    settings = ResolvedSettings(
        quantization=workload.quantization,
        compute_dtype=dtype,
        micro_batch_size=workload.micro_batch_size,
        gradient_accumulation_steps=workload.gradient_accumulation_steps,
        max_steps=max_steps,
        warmup_steps=warmup_steps,
        save_every_steps=save_steps,
        eval_every_steps=eval_steps,
        use_gradient_checkpointing=workload.use_gradient_checkpointing,
        context_tokens=context,
    )
    whys = {
        "quantization": why_quantization,
        "compute_dtype": why_dtype,
        "micro_batch_size": why_micro_batch,
        "gradient_accumulation_steps": why_accumulation,
        "max_steps": why_steps,
        "warmup_steps": why_warmup,
        "save_every_steps": why_save,
        "eval_every_steps": why_eval,
        "use_gradient_checkpointing": why_checkpointing,
        "context_tokens": why_context,
    }
    reasons = tuple(Reason(name, getattr(settings, name), why) for name, why in whys.items())
    return Resolution(workload, settings, reasons)


def lora_settings(config: Config) -> LoraSettings:
    """Return the adapter's shape as the engine takes it."""
    lora = config.lora
    return LoraSettings(
        rank=lora.rank,
        alpha=lora.alpha,
        dropout=lora.dropout,
        target_modules=lora.target_modules,
        num_layers=0 if lora.num_layers == "all" else lora.num_layers,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        init_weights=lora.init_weights,
        lr_ratio=lora.lr_ratio,
    )


def _leanest(config: Config, stats: DataStats, facts: ModelFacts, dtype: Precision) -> Workload:
    """Explicit values as they are; what is `auto` starts where it needs the least memory."""
    training, model = config.training, config.model
    micro_batch = 1 if training.micro_batch_size == "auto" else training.micro_batch_size
    accumulation = training.gradient_accumulation_steps
    return Workload(
        facts=facts,
        lora=lora_settings(config),
        stats=stats,
        quantization="nf4" if model.quantization == "auto" else model.quantization,
        use_double_quantization=model.use_double_quantization,
        compute_dtype=dtype,
        micro_batch_size=micro_batch,
        gradient_accumulation_steps=1 if accumulation == "auto" else accumulation,
        use_gradient_checkpointing=training.gradient_checkpointing != "off",
        pack_length_tokens=config.data.max_length_tokens if training.packing else 0,
        profile=replace(DUOLOGUE, adapter_bytes=2) if training.adapter_dtype == "bfloat16" else DUOLOGUE,
        optimizer="adamw" if training.optimizer == "auto" else training.optimizer,
    )


def _compute_dtype(config: Config, machine: Machine) -> tuple[Precision, str]:
    if config.model.compute_dtype != "auto":
        return config.model.compute_dtype, _AS_SET
    if machine.has_bfloat16:
        return "bfloat16", f"{machine.name} has bfloat16"
    if machine.gpu is None:
        return "float32", "there is no GPU, and CPUs are fastest and most exact in float32"
    return "float32", f"{machine.name} has no bfloat16, and float16 makes training unstable"


def _quantization(config: Config, workload: Workload, machine: Machine) -> tuple[Workload, str]:
    if config.model.quantization != "auto":
        return workload, _AS_SET
    tried: list[str] = []
    for form in _MOST_EXACT_FIRST:
        if form == "int8" and not machine.has_int8:
            continue
        candidate = replace(workload, quantization=form)
        memory = plan_memory(candidate, machine)
        if memory.verdict == "fits":
            return candidate, "; ".join([*tried, f"{form} fits: {_need(memory)}"])
        tried.append(f"{form} does not fit safely: {_need(memory)}")
    return candidate, "; ".join(tried) + "; nf4 is the smallest format there is"


def _checkpointing(config: Config, workload: Workload, machine: Machine) -> tuple[Workload, str]:
    if config.training.gradient_checkpointing != "auto":
        return workload, _AS_SET
    without = replace(workload, use_gradient_checkpointing=False)
    memory = plan_memory(without, machine)
    if memory.verdict == "fits":
        return without, f"off, which is faster, because the run fits without it: {_need(memory)}"
    return workload, f"on, because without it the run does not fit safely: {_need(memory)}"


def _micro_batch(config: Config, workload: Workload, machine: Machine) -> tuple[Workload, str]:
    if config.training.micro_batch_size != "auto":
        return workload, _AS_SET
    accumulation = config.training.gradient_accumulation_steps
    at_most = _GLOBAL_BATCH if accumulation == "auto" else max(1, _GLOBAL_BATCH // accumulation)
    at_most = min(at_most, workload.stats.num_train_examples)
    sizes = [size for size in (_MICRO_BATCHES_GPU if machine.gpu else _MICRO_BATCHES_CPU) if size <= at_most]
    for size in sizes:
        candidate = replace(workload, micro_batch_size=size)
        memory = plan_memory(candidate, machine)
        if memory.verdict == "fits":
            return candidate, f"the largest of {', '.join(map(str, sizes))} that fits: {_need(memory)}"
    memory = plan_memory(workload, machine)
    return workload, f"the smallest there is; even so: {_need(memory)}"


def _accumulation(config: Config, workload: Workload) -> tuple[Workload, str]:
    if config.training.gradient_accumulation_steps != "auto":
        return workload, _AS_SET
    steps = max(1, round(_GLOBAL_BATCH / workload.micro_batch_size))
    batch = steps * workload.micro_batch_size
    why = f"{steps} x {workload.micro_batch_size} sequences make a global batch of {batch}"
    return replace(workload, gradient_accumulation_steps=steps), why


def _max_steps(config: Config, workload: Workload, machine: Machine) -> tuple[int, str]:
    step_seconds = seconds_per_step(workload, machine)
    budget = config.budget.max_minutes
    if config.training.max_steps != "auto":
        minutes = config.training.max_steps * step_seconds / 60
        if budget == "unlimited" or minutes <= budget:
            return config.training.max_steps, _AS_SET
        return config.training.max_steps, (
            f"{_AS_SET}; its {minutes:.1f} minutes are above budget.max_minutes = {budget:g}, "
            "which shortens only an automatic number of steps"
        )
    epochs = config.training.num_epochs
    steps = max(1, math.ceil(epochs * workload.steps_per_epoch - 1e-9))
    minutes = steps * step_seconds / 60
    passes = "1 epoch" if epochs == 1 else f"{epochs:g} epochs"
    work = f"{passes} of {workload.stats.num_train_examples:,} examples / {workload.examples_per_step}"
    if budget == "unlimited" or minutes <= budget:
        limit = "" if budget == "unlimited" else f", within budget.max_minutes = {budget:g}"
        return steps, f"{work} are {_steps(steps)} and {minutes:.1f} minutes{limit}"
    allowed = int(budget * 60 / step_seconds)
    fewest = min(steps, _FEWEST_STEPS)
    floor = "" if allowed >= fewest else f", but fewer than {_FEWEST_STEPS} steps teach nothing"
    return max(allowed, fewest), (
        f"{work} would be {_steps(steps)} and {minutes:.1f} minutes; budget.max_minutes = {budget:g} "
        f"allows {allowed:,}{floor}"
    )


def _warmup(config: Config, max_steps: int) -> tuple[int, str]:
    fraction = config.training.warmup_fraction
    steps = max(1, math.floor(fraction * max_steps + 0.5)) if fraction > 0 and max_steps > 1 else 0
    return steps, f"training.warmup_fraction = {fraction:g} of {_steps(max_steps)}"


def _save_interval(config: Config, max_steps: int) -> tuple[int, str]:
    if config.training.save_every_steps != "auto":
        return config.training.save_every_steps, _AS_SET
    steps = min(_LONGEST_SAVE_INTERVAL_STEPS, max(1, max_steps // 10))
    return steps, f"a tenth of {_steps(max_steps)}, at most {_LONGEST_SAVE_INTERVAL_STEPS}"


def _eval_interval(config: Config, stats: DataStats, max_steps: int) -> tuple[int, str]:
    if config.training.eval_every_steps != "auto":
        return config.training.eval_every_steps, _AS_SET
    if stats.num_validation_examples == 0:
        return 0, "off: there are no validation examples"
    return max(1, max_steps // 4), f"a quarter of {_steps(max_steps)}"


def _context(config: Config, facts: ModelFacts) -> tuple[int, str]:
    own = facts.context_tokens
    if config.generation.context_tokens == "auto":
        return min(own, _CONTEXT_TOKENS), f"the model's own {own:,} tokens, at most {_CONTEXT_TOKENS:,}"
    asked = config.generation.context_tokens
    return asked, _AS_SET if asked <= own else f"{_AS_SET}; the model was made for {own:,} tokens only"


def _need(memory: MemoryPlan) -> str:
    return f"{memory.device_gib:.1f} GiB, at worst {memory.high_gib:.1f}, of {memory.available_gib:.1f} GiB"


def _steps(number: int) -> str:
    return "1 step" if number == 1 else f"{number:,} steps"
