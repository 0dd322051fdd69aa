"""The three ways out for someone whose recipe needs a big card: rent one, switch and buy, or switch and rent."""

from dataclasses import asdict, dataclass
from typing import Any

from duologue.engine import Hardware
from duologue.plan.cost import break_even_runs, card_price
from duologue.plan.forecast import Forecast, forecast
from duologue.plan.gpus import GpuFacts, all_gpus, hardware_for
from duologue.plan.machine import Machine, machine_of
from duologue.plan.table import Candidate


@dataclass(frozen=True, slots=True)
class Way:
    """One way to train.

    Attributes:
        name: In words.
        recipe: What is trained; empty when no card is known for it.
        gpu: On which card.
        hours: One run.
        usd_once: Paid once, resale taken off.
        usd_per_run: Paid for every run.
        price_source: Whose prices these are.
    """

    name: str
    recipe: str
    gpu: str
    hours: float
    usd_once: float
    usd_per_run: float
    price_source: str


@dataclass(frozen=True, slots=True)
class WaysOut:
    """The ways, and how many runs buying needs to be cheaper.

    Attributes:
        ways: Those that a card and a price are known for.
        runs_to_beat_keeping: Runs after which buying has cost less than renting a big card for the old recipe.
        runs_to_beat_renting: Runs after which buying has cost less than renting such a card for the new one.
    """

    ways: tuple[Way, ...]
    runs_to_beat_keeping: float | None
    runs_to_beat_renting: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the ways as JSON."""
        return asdict(self)


def ways_out(old: Candidate, new: Candidate, *, base: Hardware, owned: Machine) -> WaysOut:
    """Return what each way costs.

    Args:
        old: The recipe at hand.
        new: The one to switch to.
        base: Where cores, memory and disk are taken from.
        owned: The card to buy, if the new recipe fits it and it is a consumer's; else the cheapest consumer card is.
    """
    keeping = _cheapest_rented("keep it and rent a big card", old, base=base)
    renting = _cheapest_rented("switch and rent a small card", new, base=base)
    bought = _bought(new, base=base, owned=owned)
    ways = tuple(way for way in (keeping, bought, renting) if way is not None)
    if bought is None:
        return WaysOut(ways, None, None)

    def runs(other: Way | None) -> float | None:
        rent = None if other is None else other.usd_per_run
        return break_even_runs(
            card_usd=bought.usd_once, resale_usd=0.0, rent_usd=rent, electricity_usd=bought.usd_per_run
        )

    return WaysOut(ways, runs(keeping), runs(renting))


def _cheapest_rented(name: str, candidate: Candidate, *, base: Hardware) -> Way | None:
    best: Way | None = None
    for card in all_gpus():
        machine, found = _on(card, candidate, base=base)
        cost = found.cost
        if found.memory.verdict != "fits" or cost.rent_usd is None or not card.is_nvidia:
            continue
        if best is None or cost.rent_usd < best.usd_per_run:
            hours = found.time.total_minutes / 60
            best = Way(name, candidate.name, machine.name, hours, 0.0, cost.rent_usd, cost.rent_source)
    return best


def _bought(candidate: Candidate, *, base: Hardware, owned: Machine) -> Way | None:
    """The owned or named card when the recipe fits it and its price is known, else the cheapest GeForce."""
    prices: list[tuple[float, GpuFacts, Forecast, str]] = []
    for card in all_gpus():
        machine, found = _on(card, candidate, base=base)
        price, source = card_price(candidate.config, machine)
        if card.is_half_rate and found.memory.verdict == "fits" and price is not None:
            prices.append((price, card, found, source))
    named = [entry for entry in prices if owned.gpu_facts is not None and entry[1].name == owned.gpu_facts.name]
    chosen = named or sorted(prices, key=lambda entry: (entry[0], entry[2].time.total_minutes, entry[1].name))
    if not chosen:
        return None
    price, card, found, source = chosen[0]
    return Way(
        name="buy a consumer card and switch",
        recipe=candidate.name,
        gpu=card.name,
        hours=found.time.total_minutes / 60,
        usd_once=max(0.0, price - found.cost.resale_usd),
        usd_per_run=found.cost.electricity_usd,
        price_source=source,
    )


def _on(card: GpuFacts, candidate: Candidate, *, base: Hardware) -> tuple[Machine, Forecast]:
    machine = machine_of(hardware_for(card.name, base=base))
    return machine, forecast(candidate.config, candidate.stats, candidate.facts, machine=machine)
