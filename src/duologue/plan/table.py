"""Every card of the table with every recipe: what fits, how long it takes, what it costs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from duologue.config import Config
from duologue.data import DataStats
from duologue.engine import Hardware, ModelFacts
from duologue.plan.forecast import forecast
from duologue.plan.gpus import all_gpus, hardware_for
from duologue.plan.machine import machine_of
from duologue.plan.memory import Verdict


@dataclass(frozen=True, slots=True)
class Candidate:
    """A config to plan, with what it needs.

    Attributes:
        name: Of the recipe or the folder.
        config: The config.
        facts: Shape of its base model.
        stats: Token counts of its data.
    """

    name: str
    config: Config
    facts: ModelFacts
    stats: DataStats


@dataclass(frozen=True, slots=True)
class CardRow:
    """One card with one config.

    Attributes:
        gpu: Name of the card.
        name: Of the config.
        verdict: Whether it fits.
        device_gib: What it needs.
        low_gib: Lower end of the interval.
        high_gib: Upper end.
        available_gib: What the card has.
        quantization: Chosen or asked for.
        hours: The whole run.
        electricity_usd: At home.
        rent_usd: From a cloud; None where no price is known.
    """

    gpu: str
    name: str
    verdict: Verdict
    device_gib: float
    low_gib: float
    high_gib: float
    available_gib: float
    quantization: str
    hours: float
    electricity_usd: float
    rent_usd: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the row as JSON."""
        return asdict(self)


def card_table(candidates: Sequence[Candidate], *, base: Hardware) -> tuple[CardRow, ...]:
    """Return a row for every card of the table and every candidate, cards in the order of their memory.

    Args:
        candidates: What to plan.
        base: Where cores, memory and disk are taken from.
    """
    rows = []
    for card in sorted(all_gpus(), key=lambda row: row.memory_bytes):
        machine = machine_of(hardware_for(card.name, base=base))
        for candidate in candidates:
            found = forecast(candidate.config, candidate.stats, candidate.facts, machine=machine)
            rows.append(
                CardRow(
                    gpu=card.name,
                    name=candidate.name,
                    verdict=found.memory.verdict,
                    device_gib=found.memory.device_gib,
                    low_gib=found.memory.low_gib,
                    high_gib=found.memory.high_gib,
                    available_gib=found.memory.available_gib,
                    quantization=found.settings.quantization,
                    hours=found.time.total_minutes / 60,
                    electricity_usd=found.cost.electricity_usd,
                    rent_usd=found.cost.rent_usd,
                )
            )
    return tuple(rows)
