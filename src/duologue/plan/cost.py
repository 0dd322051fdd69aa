"""What a run costs: electricity at home, or the rent of the same GPU."""

from dataclasses import dataclass

from duologue.plan.machine import Machine

_HOST_WATTS = 60.0  # mainboard, memory, disks, power supply losses
_CPU_WATTS = 65.0  # a desktop processor under load


@dataclass(frozen=True, slots=True)
class CostPlan:
    """Money for the whole run.

    Attributes:
        electricity_kwh: Energy of device and host.
        electricity_usd: At `budget.electricity_usd_per_kwh`.
        rent_usd: The same GPU from a cloud, at the dated price of the table; None where no price is known.
    """

    electricity_kwh: float
    electricity_usd: float
    rent_usd: float | None


def plan_cost(total_minutes: float, machine: Machine, *, usd_per_kwh: float) -> CostPlan:
    """Return the cost of a run; the device is taken at its full power all the time."""
    hours = total_minutes / 60
    gpu = machine.gpu_facts
    kwh = hours * ((gpu.watts if gpu else _CPU_WATTS) + _HOST_WATTS) / 1000
    price = gpu.rent_usd_per_hour if gpu and machine.is_known_gpu else None
    return CostPlan(
        electricity_kwh=kwh,
        electricity_usd=kwh * usd_per_kwh,
        rent_usd=None if price is None else hours * price,
    )
