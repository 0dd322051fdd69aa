"""The best recipe for a card: every model, format, rank, length and batch of a small space is planned, none is guessed.

Nobody can predict how good a fine-tuned character will be. What is put first is a stated stand-in: the model with more
parameters, then more bits per weight, then longer examples, then the higher rank. Everything that no other choice beats
in all of these and in time is kept (the Pareto set); deadline, price and length limits only leave choices out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from duologue.config import Config, make_config
from duologue.data import DataStats
from duologue.engine import LoraSettings, ModelFacts, Quantization
from duologue.plan.forecast import forecast
from duologue.plan.machine import Machine
from duologue.plan.memory import plan_memory
from duologue.plan.models import known_facts
from duologue.plan.resolve import resolve
from duologue.plan.shapes import num_params
from duologue.plan.time import seconds_per_step
from duologue.plan.workload import Workload

# Open weights under Apache-2.0 or MIT, made for chat, one dense decoder each. Left out: Llama and Gemma, whose licences
# restrict use; mixtures of experts, whose experts bitsandbytes does not pack; models that answer only after thinking.
BASES = {
    "Qwen/Qwen3-32B": "Apache-2.0",
    "Qwen/Qwen2.5-32B-Instruct": "Apache-2.0",
    "mistralai/Mistral-Small-24B-Instruct-2501": "Apache-2.0",
    "Qwen/Qwen3-14B": "Apache-2.0",
    "Qwen/Qwen2.5-14B-Instruct": "Apache-2.0",
    "microsoft/phi-4": "MIT",
    "mistralai/Mistral-Nemo-Instruct-2407": "Apache-2.0",
    "Qwen/Qwen3-8B": "Apache-2.0",
    "Qwen/Qwen2.5-7B-Instruct": "Apache-2.0",
    "mistralai/Mistral-7B-Instruct-v0.3": "Apache-2.0",
    "Qwen/Qwen3-4B": "Apache-2.0",
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": "Apache-2.0",
    "Qwen/Qwen3-1.7B": "Apache-2.0",
    "Qwen/Qwen2.5-1.5B-Instruct": "Apache-2.0",
    "Qwen/Qwen3-0.6B": "Apache-2.0",
    "Qwen/Qwen2.5-0.5B-Instruct": "Apache-2.0",
    "bundled:smollm2-135m": "Apache-2.0",
}
_FORMATS: tuple[Quantization, ...] = ("none", "int8", "nf4")
_BITS: dict[Quantization, int] = {"none": 16, "int8": 8, "nf4": 4}
_RANKS = (64, 32, 16)
LENGTHS_TOKENS = (8192, 4096, 2048, 1024, 512)
_MICRO_BATCHES = (1, 2, 4, 8)
_GLOBAL_BATCH = 8
_SHORTEST, _LONGEST = 0.2, 1.0  # of the longest example, evenly spread, as in `example_stats`

StatsFor = Callable[[int], DataStats]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a choice may not exceed.

    Attributes:
        deadline_hours: The whole run; None is no limit.
        max_usd: Rent of the run where the card's price is known, else its electricity; None is no limit.
        min_context_tokens: Shortest acceptable limit of an example's length.
    """

    deadline_hours: float | None = None
    max_usd: float | None = None
    min_context_tokens: int = 512


@dataclass(frozen=True, slots=True)
class Choice:
    """A recipe that fits.

    Attributes:
        base: The base model.
        licence: Its licence.
        num_params: Its parameters.
        quantization: Format of the frozen weights.
        bits: Of a weight in that format.
        max_length_tokens: Longest example.
        rank: Of the adapter, on all linear layers.
        micro_batch_size: The fastest that fits.
        gradient_accumulation_steps: Up to a global batch of 8.
        use_gradient_checkpointing: Likewise.
        device_gib: Memory in the likely case.
        high_gib: At worst; this is what fits.
        hours: The whole run.
        electricity_usd: At home.
        rent_usd: From a cloud; None where no price is known.
    """

    base: str
    licence: str
    num_params: int
    quantization: Quantization
    bits: int
    max_length_tokens: int
    rank: int
    micro_batch_size: int
    gradient_accumulation_steps: int
    use_gradient_checkpointing: bool
    device_gib: float
    high_gib: float
    hours: float
    electricity_usd: float
    rent_usd: float | None

    @property
    def quality(self) -> tuple[int, int, int, int]:
        """The stand-in for quality: greater comes first."""
        return (self.num_params, self.bits, self.max_length_tokens, self.rank)

    @property
    def usd(self) -> float:
        """What counts against the price limit."""
        return self.electricity_usd if self.rent_usd is None else self.rent_usd

    @property
    def overrides(self) -> tuple[str, ...]:
        """Lines of `--set` that make a config this choice."""
        return (
            f"model.base={self.base}",
            f"model.quantization={self.quantization}",
            f"data.max_length_tokens={self.max_length_tokens}",
            f"lora.rank={self.rank}",
            f"lora.alpha={2 * self.rank}",
            "lora.target_modules=all-linear",
            "lora.num_layers=all",
            f"training.micro_batch_size={self.micro_batch_size}",
            f"training.gradient_accumulation_steps={self.gradient_accumulation_steps}",
            f"training.gradient_checkpointing={'on' if self.use_gradient_checkpointing else 'off'}",
        )

    def as_json(self) -> dict[str, Any]:
        """Return the choice as JSON."""
        return {**asdict(self), "overrides": list(self.overrides)}


@dataclass(frozen=True, slots=True)
class Found:
    """What the search found.

    Attributes:
        choices: The Pareto set, best first by the stand-in for quality.
        num_planned: Choices that were planned.
        num_too_large: Of them, those that do not fit at any batch.
        num_over_deadline: Those that fit but take too long.
        num_over_price: Those that fit but cost too much.
    """

    choices: tuple[Choice, ...]
    num_planned: int
    num_too_large: int
    num_over_deadline: int
    num_over_price: int

    def best_of_each_base(self) -> tuple[Choice, ...]:
        """Return the first choice of every model."""
        return tuple({choice.base: choice for choice in reversed(self.choices)}.values())[::-1]


def find_recipes(
    config: Config,
    stats_for: StatsFor,
    *,
    machine: Machine,
    limits: Limits,
    bases: Sequence[str] = tuple(BASES),
    lengths: Sequence[int] = LENGTHS_TOKENS,
) -> Found:
    """Return the recipes that fit a machine and are beaten by no other in size, bits, length, rank and time.

    Args:
        config: Everything that is not searched: epochs, learning rate, prices.
        stats_for: The data at a length limit.
        machine: What has to hold the run; its memory is what is really free, a display's share taken off.
        limits: Deadline, price, shortest length.
        bases: Models to try; those without known facts are passed over.
        lengths: Limits of an example's length to try, in tokens.
    """
    fitting: list[Choice] = []
    planned = 0
    for base in bases:
        facts = known_facts(base)
        if facts is None:
            continue
        usable = _lengths(facts, lengths, limits.min_context_tokens)
        tried = [
            one for length in usable for one in _choices_of(base, facts, config, stats_for(length), machine=machine)
        ]
        planned += len(tried)
        fitting += [choice for choice in tried if choice is not None]
    late = [one for one in fitting if limits.deadline_hours is not None and one.hours > limits.deadline_hours]
    dear = [one for one in fitting if limits.max_usd is not None and one.usd > limits.max_usd]
    left = [one for one in fitting if one not in late and one not in dear]
    return Found(
        choices=tuple(sorted(_pareto(left), key=lambda one: (one.quality, -one.hours, one.base), reverse=True)),
        num_planned=planned,
        num_too_large=planned - len(fitting),
        num_over_deadline=len(late),
        num_over_price=len(dear),
    )


def even_stats(max_length_tokens: int, *, num_tokens: int, validation_fraction: float) -> DataStats:
    """Return assumed counts for a plan without data: the same text, in examples of up to `max_length_tokens`.

    Lengths are spread evenly from 20 to 100 % of the limit, and half of the tokens are the character's.
    """
    mean = (_SHORTEST + _LONGEST) / 2 * max_length_tokens
    number = max(_GLOBAL_BATCH, round(num_tokens / mean))
    step = (_LONGEST - _SHORTEST) / (number - 1)
    lengths = tuple(round(max_length_tokens * (_SHORTEST + step * at)) for at in range(number))
    total = sum(lengths)
    return DataStats(
        num_train_examples=number,
        num_validation_examples=round(number * validation_fraction),
        num_tokens=total,
        num_trained_tokens=total // 2,
        num_validation_tokens=round(total * validation_fraction),
        max_tokens=lengths[-1],
        lengths=lengths,
    )


def longest_example(config: Config, facts: ModelFacts, *, machine: Machine, target_modules: Sequence[str] = ()) -> int:
    """Return the longest example that a model can surely be trained on, in steps of 64 tokens; 0 when there is none.

    With what saves memory: NF4 with double quantisation, checkpointing, one example at a time, the config's rank.
    """
    lora = LoraSettings(config.lora.rank, config.lora.alpha, target_modules=tuple(target_modules) or "all-linear")

    def fits(num_steps: int) -> bool:
        stats = even_stats(64 * num_steps, num_tokens=64 * num_steps * _GLOBAL_BATCH, validation_fraction=0.1)
        return plan_memory(_leanest(facts, lora, stats), machine).verdict == "fits"

    low, high = 0, max(1, facts.context_tokens // 64)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return 64 * low


def least_gib(config: Config, facts: ModelFacts, *, machine: Machine, num_tokens: int) -> float:
    """Return what the leanest run with examples of `num_tokens` needs at worst."""
    stats = even_stats(num_tokens, num_tokens=num_tokens * _GLOBAL_BATCH, validation_fraction=0.1)
    lora = LoraSettings(config.lora.rank, config.lora.alpha)
    return plan_memory(_leanest(facts, lora, stats), machine).high_gib


def _leanest(facts: ModelFacts, lora: LoraSettings, stats: DataStats) -> Workload:
    return Workload(
        facts=facts,
        lora=lora,
        stats=stats,
        quantization="nf4",
        use_double_quantization=True,
        compute_dtype="bfloat16",
        micro_batch_size=1,
        gradient_accumulation_steps=_GLOBAL_BATCH,
        use_gradient_checkpointing=True,
    )


def _choices_of(
    base: str, facts: ModelFacts, config: Config, stats: DataStats, *, machine: Machine
) -> Iterator[Choice | None]:
    """One entry for each format and rank: the fastest batch that fits, or None."""
    start = _workload(base, facts, config, stats, machine=machine)
    for form in _FORMATS:
        if form == "int8" and not machine.has_int8:
            continue
        for rank in _RANKS:
            lora = LoraSettings(rank, 2 * rank, dropout=config.lora.dropout)
            workload = replace(start, lora=lora, quantization=form, use_double_quantization=True)
            fastest = _fastest(workload, machine)
            yield None if fastest is None else _choice(fastest, base, config, machine=machine)


def _lengths(facts: ModelFacts, lengths: Sequence[int], shortest: int) -> list[int]:
    usable = {length for length in lengths if length >= shortest} or {shortest}
    return sorted((length for length in usable if length <= facts.context_tokens), reverse=True)


def _workload(base: str, facts: ModelFacts, config: Config, stats: DataStats, *, machine: Machine) -> Workload:
    """A run of this model with everything else as the config says; what is searched is replaced afterwards."""
    changed = make_config(config.model_dump(mode="json"), overrides=[f"model.base={base}"], where="search")
    return resolve(changed, stats, facts, machine=machine).workload


def _fastest(workload: Workload, machine: Machine) -> Workload | None:
    best: tuple[float, Workload] | None = None
    for with_checkpointing in (False, True):
        for size in _MICRO_BATCHES:
            candidate = replace(
                workload,
                micro_batch_size=size,
                gradient_accumulation_steps=_GLOBAL_BATCH // size,
                use_gradient_checkpointing=with_checkpointing,
            )
            if plan_memory(candidate, machine).verdict != "fits":
                break  # a larger one does not fit either
            seconds = seconds_per_step(candidate, machine)
            if best is None or seconds < best[0]:
                best = (seconds, candidate)
    return best[1] if best else None


def _choice(workload: Workload, base: str, config: Config, *, machine: Machine) -> Choice:
    rank, form = workload.lora.rank, workload.quantization
    draft = Choice(
        base=base,
        licence=BASES.get(base, ""),
        num_params=num_params(workload.facts),
        quantization=form,
        bits=_BITS[form],
        max_length_tokens=_length_limit(workload.stats),
        rank=rank,
        micro_batch_size=workload.micro_batch_size,
        gradient_accumulation_steps=workload.gradient_accumulation_steps,
        use_gradient_checkpointing=workload.use_gradient_checkpointing,
        device_gib=0.0,
        high_gib=0.0,
        hours=0.0,
        electricity_usd=0.0,
        rent_usd=None,
    )
    made = make_config(config.model_dump(mode="json"), overrides=draft.overrides, where="search")
    found = forecast(made, workload.stats, workload.facts, machine=machine)
    return replace(
        draft,
        device_gib=found.memory.device_gib,
        high_gib=found.memory.high_gib,
        hours=found.time.total_minutes / 60,
        electricity_usd=found.cost.electricity_usd,
        rent_usd=found.cost.rent_usd,
    )


def _length_limit(stats: DataStats) -> int:
    """The longest example that was planned; a config accepts no limit below 16."""
    return max(16, stats.max_tokens)


def _pareto(choices: Sequence[Choice]) -> list[Choice]:
    """Those that no other beats. Sorted by quality, a choice can only be beaten by one before it."""
    kept: list[Choice] = []
    for one in sorted(choices, key=lambda one: (one.quality, -one.hours), reverse=True):
        if not any(_beats(other, one) for other in kept):
            kept.append(one)
    return kept


def _beats(one: Choice, other: Choice) -> bool:
    """At least as good in everything, better in something."""
    ours, theirs = (*one.quality, -one.hours), (*other.quality, -other.hours)
    return ours != theirs and all(a >= b for a, b in zip(ours, theirs, strict=True))
