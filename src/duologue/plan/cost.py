"""What a run costs: electricity at home, the rent of such a card, and when buying one is cheaper than renting it."""

from dataclasses import dataclass

from duologue.config import Config
from duologue.plan.machine import Machine

_HOST_WATTS = 60.0  # mainboard, memory, disks, power supply losses
_CPU_WATTS = 65.0  # a desktop processor under load


@dataclass(frozen=True, slots=True)
class CostPlan:
    """Money for the whole run. None where a price is not known: it is said in `missing`, not guessed.

    Attributes:
        electricity_kwh: Energy of device and host.
        electricity_usd: At `budget.electricity_usd_per_kwh`.
        rent_usd: The same GPU from a cloud, set-up and measuring included.
        rent_usd_per_hour: What that hour costs.
        rent_source: Whose price that is, with its date.
        card_usd: Buying the GPU.
        card_source: Whose price that is.
        resale_usd: What it can be sold for afterwards.
        break_even_runs: After so many runs like this one, buying has cost less than renting.
        missing: What is not known, and which key says it.
    """

    electricity_kwh: float
    electricity_usd: float
    rent_usd: float | None
    rent_usd_per_hour: float | None
    rent_source: str
    card_usd: float | None
    card_source: str
    resale_usd: float
    break_even_runs: float | None
    missing: tuple[str, ...]


def plan_cost(total_minutes: float, machine: Machine, *, config: Config) -> CostPlan:
    """Return the cost of a run; the device is taken at its full power all the time."""
    hours = total_minutes / 60
    budget = config.budget
    kwh = hours * watts(machine) / 1000
    electricity = kwh * budget.electricity_usd_per_kwh
    rent, rent_source = rent_price(config, machine)
    card, card_source = card_price(config, machine)
    rent_usd = None if rent is None else hours * rent
    return CostPlan(
        electricity_kwh=kwh,
        electricity_usd=electricity,
        rent_usd=rent_usd,
        rent_usd_per_hour=rent,
        rent_source=rent_source,
        card_usd=card,
        card_source=card_source,
        resale_usd=budget.resale_usd,
        break_even_runs=break_even_runs(
            card_usd=card, resale_usd=budget.resale_usd, rent_usd=rent_usd, electricity_usd=electricity
        ),
        missing=_missing(machine, rent, card),
    )


def watts(machine: Machine) -> float:
    """Return the power of the device and of the computer around it."""
    return (machine.gpu_facts.watts if machine.gpu_facts else _CPU_WATTS) + _HOST_WATTS


def rent_price(config: Config, machine: Machine) -> tuple[float | None, str]:
    """Return USD per hour and whose price that is; the person's own price goes first."""
    own = config.budget.rent_usd_per_hour
    if own != "auto":
        return own, "budget.rent_usd_per_hour"
    row = machine.gpu_facts
    if row is None or not machine.is_known_gpu or row.rent_usd_per_hour is None:
        return None, ""
    return row.rent_usd_per_hour, f"one cloud's price of {row.prices_date}"


def card_price(config: Config, machine: Machine) -> tuple[float | None, str]:
    """Return the price of the card in USD and whose price that is; the person's own price goes first."""
    own = config.budget.card_usd
    if own != "auto":
        return own, "budget.card_usd"
    row = machine.gpu_facts
    if row is None or not machine.is_known_gpu or row.launch_usd is None:
        return None, ""
    return float(row.launch_usd), "the price at launch; today's may be far from it"


def break_even_runs(
    *, card_usd: float | None, resale_usd: float, rent_usd: float | None, electricity_usd: float
) -> float | None:
    """Return the number of runs after which a bought card has cost less than a rented one.

    (price - resale) / (rent of a run - electricity of a run). None when a price is missing, or when the rent of a run
    is no more than its electricity at home: then buying never pays. What else a card is used for is not counted.
    """
    if card_usd is None or rent_usd is None or rent_usd <= electricity_usd:
        return None
    return max(0.0, card_usd - resale_usd) / (rent_usd - electricity_usd)


def _missing(machine: Machine, rent: float | None, card: float | None) -> tuple[str, ...]:
    if machine.gpu_facts is None:
        return ()  # nobody rents or buys a CPU for this
    lines = []
    if rent is None:
        lines.append(f"no price for renting {machine.name} is known: set budget.rent_usd_per_hour")
    if card is None:
        lines.append(f"no price for buying {machine.name} is known: set budget.card_usd")
    return tuple(lines)
