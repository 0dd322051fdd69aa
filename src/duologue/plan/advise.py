"""Advice for a run that does not fit: the fewest and least harmful changes, each computed again by the planner."""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from duologue.config import Config, make_config
from duologue.data import DataStats
from duologue.engine import ModelFacts
from duologue.plan.example_data import cut_stats
from duologue.plan.forecast import Forecast, forecast
from duologue.plan.machine import Machine
from duologue.plan.memory import Verdict

_WORTH_GIB = 0.05
_RANK: dict[Verdict, int] = {"fits": 0, "tight": 1, "no": 2}
_SHORTEST_LENGTH_TOKENS = 128
_SMALLEST_RANK = 4
_MOST_CHANGES = 4
ATTENTION_ONLY = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True, slots=True)
class Advice:
    """A change that lowers the memory.

    Attributes:
        set: Options for the command line, such as `--set training.micro_batch_size=1`.
        verdict: What the plan says with the change.
        saves_gib: Memory on the device that it saves.
        costs_hours: Time that it adds to the whole run; negative when the run gets shorter.
    """

    set: str
    verdict: Verdict
    saves_gib: float
    costs_hours: float


@dataclass(frozen=True, slots=True)
class Change:
    """Overrides that belong together.

    Attributes:
        overrides: Lines of `--set`.
        harm: What it costs the result: 0 only time, 1 a little exactness, more what the adapter can learn.
        about: What it changes; two changes of the same thing are never combined.
    """

    overrides: tuple[str, ...]
    harm: float
    about: str


def advise(
    config: Config, stats: DataStats, facts: ModelFacts, *, machine: Machine, now: Forecast
) -> tuple[Advice, ...]:
    """Return what would make the run fit; nothing when it fits already.

    What fits comes first: single changes, or, where none is enough, the smallest set of changes with the least harm.
    Then come the single changes that help without being enough.
    """
    if now.memory.verdict == "fits":
        return ()

    def tried(changes: Sequence[Change]) -> Advice:
        return _tried(changes, config, stats, facts, machine=machine, now=now)

    changes = [change for change in _changes(config, stats, facts, now) if tried([change]).saves_gib >= _WORTH_GIB]
    changes.sort(key=lambda change: change.harm)  # stable
    singles = sorted((tried([change]) for change in changes), key=lambda advice: _RANK[advice.verdict])
    if not singles or singles[0].verdict == "fits":
        return tuple(singles)
    together = next((found for some in _sets(changes) if (found := tried(some)).verdict == "fits"), None)
    if together is None and changes:
        together = tried(_strongest(changes))  # even everything together is not enough: say how far it goes
    if together is None or _RANK[together.verdict] > _RANK[singles[0].verdict]:
        return tuple(singles)
    return (together, *singles) if together.saves_gib > singles[0].saves_gib else tuple(singles)


def changed_forecast(
    config: Config, stats: DataStats, facts: ModelFacts, *, machine: Machine, overrides: Sequence[str]
) -> Forecast:
    """Return the forecast of a config with overrides; a shorter length limit cuts the examples."""
    changed = make_config(config.model_dump(mode="json"), overrides=overrides, where="advice")
    cut = stats
    if changed.data.max_length_tokens < stats.max_tokens:
        cut = cut_stats(stats, max_length_tokens=changed.data.max_length_tokens)
    return forecast(changed, cut, facts, machine=machine)


def as_options(overrides: Sequence[str]) -> str:
    """Return overrides as they are pasted into a shell."""
    return " ".join(f"--set {shlex.quote(line)}" for line in overrides)


def _tried(
    changes: Sequence[Change],
    config: Config,
    stats: DataStats,
    facts: ModelFacts,
    *,
    machine: Machine,
    now: Forecast,
) -> Advice:
    overrides = [line for change in changes for line in change.overrides]
    then = changed_forecast(config, stats, facts, machine=machine, overrides=overrides)
    return Advice(
        set=as_options(overrides),
        verdict=then.memory.verdict,
        saves_gib=now.memory.device_gib - then.memory.device_gib,
        costs_hours=(then.time.total_minutes - now.time.total_minutes) / 60,
    )


def _sets(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """Sets of two and more changes: the smaller first, of equal size the less harmful first."""
    for size in range(2, min(_MOST_CHANGES, len(changes)) + 1):
        several = [some for some in combinations(changes, size) if len({change.about for change in some}) == size]
        for some in sorted(several, key=lambda some: sum(change.harm for change in some)):
            yield list(some)


def _strongest(changes: Sequence[Change]) -> list[Change]:
    """The last change of each kind: kinds list theirs from weak to strong."""
    return list({change.about: change for change in changes}.values())


def _changes(config: Config, stats: DataStats, facts: ModelFacts, now: Forecast) -> Iterator[Change]:
    """Everything that may save memory, of each kind from weak to strong."""
    settings = now.settings
    if not settings.use_gradient_checkpointing:
        yield Change(("training.gradient_checkpointing=on",), 0.0, "checkpointing")
    if settings.micro_batch_size > 1:
        steps = settings.micro_batch_size * settings.gradient_accumulation_steps
        set_steps = f"training.gradient_accumulation_steps={steps}"
        yield Change(("training.micro_batch_size=1", set_steps), 0.1, "batch")
    if settings.quantization == "none":
        yield Change(("model.quantization=int8",), 0.5, "weights")
    if settings.quantization != "nf4":
        yield Change(("model.quantization=nf4",), 1.0, "weights")
    elif not config.model.use_double_quantization:
        yield Change(("model.use_double_quantization=true",), 0.2, "weights")
    yield from _lesser_adapters(config, facts)
    for part, harm in ((2, 3.0), (4, 4.5)):
        if stats.max_tokens // part >= _SHORTEST_LENGTH_TOKENS:
            yield Change((f"data.max_length_tokens={stats.max_tokens // part}",), harm, "length")


def _lesser_adapters(config: Config, facts: ModelFacts) -> Iterator[Change]:
    rank, alpha = config.lora.rank, config.lora.alpha
    for part, harm in ((2, 1.0), (4, 2.0)):
        if rank // part >= _SMALLEST_RANK:  # alpha shrinks too, so that the update keeps its scale
            yield Change((f"lora.rank={rank // part}", f"lora.alpha={max(1, alpha // part)}"), harm, "rank")
    if config.lora.target_modules == "all-linear":
        yield Change((f"lora.target_modules={json.dumps(list(ATTENTION_ONLY))}",), 2.5, "modules")
    if config.lora.num_layers == "all" and facts.num_layers > 1:
        yield Change((f"lora.num_layers={facts.num_layers // 2}",), 2.5, "layers")
