"""Advice for a run that does not fit: changes of the config, each computed again by the planner."""

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

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


def advise(
    config: Config, stats: DataStats, facts: ModelFacts, *, machine: Machine, now: Forecast
) -> tuple[Advice, ...]:
    """Return what would make the run fit, first what helps most at the least loss; nothing when it fits already.

    When no single change is enough but several together are, they are the last entry.
    """
    if now.memory.verdict == "fits":
        return ()

    def tried(overrides: Sequence[str]) -> Advice:
        changed = make_config(config.model_dump(mode="json"), overrides=overrides, where="advice")
        cut = stats
        if changed.data.max_length_tokens < stats.max_tokens:
            cut = cut_stats(stats, max_length_tokens=changed.data.max_length_tokens)
        then = forecast(changed, cut, facts, machine=machine)
        return Advice(
            set=" ".join(f"--set {shlex.quote(line)}" for line in overrides),
            verdict=then.memory.verdict,
            saves_gib=now.memory.device_gib - then.memory.device_gib,
            costs_hours=(then.time.total_minutes - now.time.total_minutes) / 60,
        )

    changes = list(_changes(config, stats, facts, now))
    singles = [advice for change in changes if (advice := tried(change)).saves_gib >= _WORTH_GIB]
    singles.sort(key=lambda advice: _RANK[advice.verdict])  # stable: the least harmful of equals stays first
    best = min((_RANK[advice.verdict] for advice in singles), default=_RANK["no"])
    if best == _RANK["fits"] or not changes:
        return tuple(singles)
    together = _combine(changes, tried)
    return (*singles, together) if _RANK[together.verdict] < best else tuple(singles)


def _combine(changes: Sequence[list[str]], tried: Callable[[Sequence[str]], Advice]) -> Advice:
    """Add changes until the run fits, then take out again those that it fits without."""
    used: list[list[str]] = []
    for change in changes:
        used.append(change)
        if tried(_merged(used)).verdict == "fits":
            break
    for change in list(used):
        rest = [other for other in used if other is not change]
        if rest and tried(_merged(rest)).verdict == "fits":
            used = rest
    return tried(_merged(used))


def _changes(config: Config, stats: DataStats, facts: ModelFacts, now: Forecast) -> Iterator[list[str]]:
    """Changes in the order of what they cost: first time, then exactness, then what the adapter can learn."""
    settings = now.settings
    if not settings.use_gradient_checkpointing:
        yield ["training.gradient_checkpointing=on"]
    if settings.micro_batch_size > 1:
        steps = settings.micro_batch_size * settings.gradient_accumulation_steps
        yield ["training.micro_batch_size=1", f"training.gradient_accumulation_steps={steps}"]
    if settings.quantization == "none":
        yield ["model.quantization=int8"]
    if settings.quantization != "nf4":
        yield ["model.quantization=nf4"]
    elif not config.model.use_double_quantization:
        yield ["model.use_double_quantization=true"]
    if config.lora.target_modules == "all-linear":
        yield [f"lora.target_modules={json.dumps(['q_proj', 'k_proj', 'v_proj', 'o_proj'])}"]
    if config.lora.rank // 2 >= _SMALLEST_RANK:
        yield [f"lora.rank={config.lora.rank // 2}"]
    if config.lora.num_layers == "all" and facts.num_layers > 1:
        yield [f"lora.num_layers={facts.num_layers // 2}"]
    if stats.max_tokens // 2 >= _SHORTEST_LENGTH_TOKENS:
        yield [f"data.max_length_tokens={stats.max_tokens // 2}"]


def _merged(changes: Sequence[Sequence[str]]) -> list[str]:
    """All changes in one list; a later value for the same key replaces the earlier one."""
    values = dict(line.split("=", 1) for change in changes for line in change)
    return [f"{key}={value}" for key, value in values.items()]
