"""The table of GPUs, and finding a row in it by the name that a person or the driver uses."""

import difflib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from duologue.engine import Gpu, Hardware
from duologue.errors import PlanError

MIB = 2**20
_USABLE = 0.985  # the driver keeps the rest: torch sees 23.65 of an RTX 4090's 23.99 GiB, 79.15 of an A100's 80 GiB
_DISTINCT = {"ti", "super", "ada", "pro"}
_NOISE = {"nvidia", "geforce", "tesla", "gpu", "graphics", "generation", "workstation", "server", "edition"}


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """One row of gpus.toml.

    Attributes:
        name: As shown to people.
        memory_bytes: What nvidia-smi shows as total.
        bandwidth_bytes_per_second: Memory bandwidth.
        tensor_flops: Dense 16-bit tensor FLOP/s with float32 accumulation.
        watts: Board power.
        compute_capability: CUDA version of the chip.
        is_half_rate: GeForce: float32 accumulation runs at half the rate of float16 accumulation.
        rent_usd_per_hour: One cloud's price on `prices_date`; None when none was seen.
        launch_usd: Price at launch; None where none was published.
        prices_date: ISO date of the price.
        other_names: Names under which the driver reports it.
        cloud_name: SkyPilot's name of it; empty when no cloud of its lists rents it.
    """

    name: str
    memory_bytes: int
    bandwidth_bytes_per_second: float
    tensor_flops: float
    watts: float
    compute_capability: tuple[int, int]
    is_half_rate: bool
    rent_usd_per_hour: float | None
    launch_usd: float | None
    prices_date: str
    other_names: tuple[str, ...]
    cloud_name: str = ""

    @property
    def is_nvidia(self) -> bool:
        """Whether the training engine runs on it: bitsandbytes and NVML as they are used here need CUDA."""
        return not self.name.startswith("MI")


@cache
def all_gpus() -> tuple[GpuFacts, ...]:
    """Return the rows of gpus.toml."""
    table = tomllib.loads(resources.files("duologue.plan").joinpath("gpus.toml").read_text(encoding="utf-8"))
    return tuple(_row(entry, table["prices_date"]) for entry in table["gpu"])


def facts_of(gpu: Gpu) -> GpuFacts | None:
    """Return the row of a detected GPU, or None when its model is not in the table."""
    sized = [row for row in all_gpus() if abs(row.memory_bytes - gpu.total_bytes) < 0.1 * row.memory_bytes]
    found = _closest(gpu.name, sized)
    return found[0] if len(found) == 1 else None


def similar_to(gpu: Gpu) -> GpuFacts:
    """Return the slowest row of the same or the next older chip generation, for a GPU that is not in the table."""
    not_newer = [row for row in all_gpus() if row.compute_capability <= gpu.compute_capability]
    newest = max((row.compute_capability for row in not_newer), default=min(r.compute_capability for r in all_gpus()))
    return min((row for row in all_gpus() if row.compute_capability == newest), key=lambda row: row.tensor_flops)


def hardware_for(gpu_name: str, *, base: Hardware) -> Hardware:
    """Return `base` with its GPUs replaced by one of the table.

    Args:
        gpu_name: Such as `RTX 4090` or `a100 sxm 80gb`. Where several forms of one card have the same memory, such as
            PCIe and SXM, the slowest is taken.
        base: Where cores, memory and disk are taken from.

    Raises:
        PlanError: No row, or more than one, has this name.
    """
    found = _slowest_of_equals(_closest(gpu_name, all_gpus()))
    if len(found) != 1:
        near = [row.name for row in found] or _near(gpu_name)
        raise PlanError(
            f"'{gpu_name}' fits {len(found)} GPUs of the table" if found else f"no GPU is called '{gpu_name}'",
            where="--gpu",
            needed=f"one of {', '.join(near)}" if near else "",
            action="Add the memory size to the name." if found else "",
        )
    row = found[0]
    gpu = Gpu(
        name=row.name,
        total_bytes=row.memory_bytes,
        free_bytes=int(row.memory_bytes * _USABLE),
        compute_capability=row.compute_capability,
        driver_version="",
    )
    return replace(base, gpus=(gpu,))


def _row(entry: dict[str, Any], prices_date: str) -> GpuFacts:
    major, minor = entry["compute_capability"]
    return GpuFacts(
        name=entry["name"],
        memory_bytes=entry["memory_mib"] * MIB,
        bandwidth_bytes_per_second=entry["bandwidth_gb_per_second"] * 1e9,
        tensor_flops=entry["bf16_tflops"] * 1e12,
        watts=entry["watts"],
        compute_capability=(major, minor),
        is_half_rate=entry.get("is_half_rate", False),
        rent_usd_per_hour=entry.get("rent_usd_per_hour"),
        launch_usd=entry.get("launch_usd"),
        prices_date=prices_date,
        other_names=tuple(entry.get("also", ())),
        cloud_name=entry.get("skypilot", ""),
    )


def _closest(name: str, rows: Sequence[GpuFacts]) -> list[GpuFacts]:
    """Rows whose name holds every word of `name`, those with the fewest further words."""
    asked = _words(name)
    extra: dict[str, int] = {}
    for row in rows:
        names = [_words(name) for name in (row.name, *row.other_names)]
        fits = [len(words - asked) for words in names if asked <= words and not _is_other_chip(words - asked)]
        if asked and fits:
            extra[row.name] = min(fits)
    return [row for row in rows if extra.get(row.name) == min(extra.values(), default=0)] if extra else []


def _slowest_of_equals(rows: list[GpuFacts]) -> list[GpuFacts]:
    """One row for cards that differ only in how they are built in; all rows when their memory differs."""
    if len({row.memory_bytes for row in rows}) != 1:
        return rows
    speed = [(row.tensor_flops, row.bandwidth_bytes_per_second, row.watts) for row in rows]
    return [rows[speed.index(min(speed))]]


def _is_other_chip(extra: frozenset[str]) -> bool:
    """An A10G is no A10, an RTX 4070 Ti no RTX 4070; memory and form factor may be left out."""
    return any(word in _DISTINCT or (len(word) == 1 and word.isalpha()) for word in extra)


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z]+|\d+", name.lower())) - _NOISE


def _near(name: str) -> list[str]:
    asked = _words(name)
    shared = [row.name for row in all_gpus() if {word for word in asked & _words(row.name) if word.isdigit()}]
    known = {row.name.lower(): row.name for row in all_gpus()}
    alike = [known[match] for match in difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.4)]
    return list(dict.fromkeys(alike + shared))[:5]
