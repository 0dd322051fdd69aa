"""What each setting buys: its other values, with the memory and the time they change."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from duologue.config import Config
from duologue.data import DataStats
from duologue.engine import Hardware, ModelFacts
from duologue.plan.advise import ATTENTION_ONLY, as_options, changed_forecast
from duologue.plan.calibration import Measured
from duologue.plan.forecast import Forecast, forecast
from duologue.plan.machine import machine_of
from duologue.plan.memory import Verdict

_SHORTEST_LENGTH_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Knob:
    """Another value of one setting.

    Attributes:
        name: The setting.
        now: Its value in the plan.
        then: The other value.
        set: Options for the command line.
        verdict: What the plan says with it.
        changes_gib: Memory on the device; negative saves.
        changes_minutes: Time of the whole run; negative is quicker.
    """

    name: str
    now: str
    then: str
    set: str
    verdict: Verdict
    changes_gib: float
    changes_minutes: float

    def as_json(self) -> dict[str, Any]:
        """Return the knob as JSON."""
        return asdict(self)


def find_knobs(
    config: Config, stats: DataStats, facts: ModelFacts, hardware: Hardware, *, measured: Measured | None = None
) -> tuple[Knob, ...]:
    """Return what every single change of a setting does to memory and time, all else as it is.

    Settings that are `auto` are held at the values the plan chose, so that a row shows its own change alone.
    """
    machine = replace(machine_of(hardware), measured=measured)
    now = forecast(config, stats, facts, machine=machine)
    held = _held(now)
    found = []
    for name, value, then, overrides in _others(config, stats, facts, now):
        changed = changed_forecast(config, stats, facts, machine=machine, overrides=[*held, *overrides])
        found.append(
            Knob(
                name=name,
                now=value,
                then=then,
                set=as_options(overrides),
                verdict=changed.memory.verdict,
                changes_gib=changed.memory.device_gib - now.memory.device_gib,
                changes_minutes=changed.time.total_minutes - now.time.total_minutes,
            )
        )
    return tuple(found)


def _held(now: Forecast) -> list[str]:
    settings = now.settings
    return [
        f"model.quantization={settings.quantization}",
        f"model.compute_dtype={settings.compute_dtype}",
        f"training.micro_batch_size={settings.micro_batch_size}",
        f"training.gradient_accumulation_steps={settings.gradient_accumulation_steps}",
        f"training.gradient_checkpointing={_on(settings.use_gradient_checkpointing)}",
    ]


def _others(
    config: Config, stats: DataStats, facts: ModelFacts, now: Forecast
) -> Iterator[tuple[str, str, str, list[str]]]:
    """Name, value now, other value, overrides."""
    yield from _other_weights(config, now)
    yield from _other_adapters(config, facts)
    settings = now.settings
    if stats.max_tokens // 2 >= _SHORTEST_LENGTH_TOKENS:
        half = stats.max_tokens // 2
        yield "longest example", f"{stats.max_tokens:,}", f"{half:,} tokens", [f"data.max_length_tokens={half}"]
    size, steps = settings.micro_batch_size, settings.gradient_accumulation_steps
    for other_size in (size // 2, size * 2):
        if other_size:
            batch = [
                f"training.micro_batch_size={other_size}",
                f"training.gradient_accumulation_steps={max(1, size * steps // other_size)}",
            ]
            yield "micro-batch", str(size), str(other_size), batch
    is_packed = config.training.packing
    yield "packing", _on(is_packed), _on(not is_packed), [f"training.packing={json.dumps(not is_packed)}"]
    is_on = settings.use_gradient_checkpointing
    yield "checkpointing", _on(is_on), _on(not is_on), [f"training.gradient_checkpointing={_on(not is_on)}"]


def _other_weights(config: Config, now: Forecast) -> Iterator[tuple[str, str, str, list[str]]]:
    form = now.settings.quantization
    for other in ("none", "int8", "nf4"):
        if other != form:
            yield "quantization", form, other, [f"model.quantization={other}"]
    if form == "nf4":
        is_double = config.model.use_double_quantization
        line = f"model.use_double_quantization={json.dumps(not is_double)}"
        yield "double quantization", _on(is_double), _on(not is_double), [line]


def _other_adapters(config: Config, facts: ModelFacts) -> Iterator[tuple[str, str, str, list[str]]]:
    lora = config.lora
    for rank in (max(1, lora.rank // 2), lora.rank * 2):
        if rank != lora.rank:
            yield "rank", str(lora.rank), str(rank), [f"lora.rank={rank}"]
    if lora.target_modules == "all-linear":
        line = f"lora.target_modules={json.dumps(list(ATTENTION_ONLY))}"
        yield "adapted layers", "all linear", "attention", [line]
    else:
        yield "adapted layers", ", ".join(lora.target_modules), "all linear", ["lora.target_modules=all-linear"]
    if lora.num_layers == "all" and facts.num_layers > 1:
        half = facts.num_layers // 2
        yield "adapted blocks", str(facts.num_layers), f"last {half}", [f"lora.num_layers={half}"]


def _on(is_on: bool) -> str:
    return "on" if is_on else "off"
