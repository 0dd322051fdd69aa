"""What this machine has: GPUs through NVML, memory, cores and disk, within the limits of a container."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
import pynvml

from duologue.engine.facts import Gpu, Hardware


def detect_hardware(folder: Path, *, measure_cpu: bool) -> Hardware:
    """Return the machine as it is now.

    Args:
        folder: Where the runs are kept; free disk space is read there. It need not exist yet.
        measure_cpu: Also measure the matrix speed of the CPU, which takes 0.1 to 0.3 seconds.
    """
    limits = read_cgroup_limits(Path("/sys/fs/cgroup"), membership=Path("/proc/self/cgroup"))
    memory = psutil.virtual_memory()
    ram_bytes = min(memory.total, limits.memory_bytes) if limits.memory_bytes else memory.total
    ram_free_bytes = memory.available
    if limits.memory_bytes:
        ram_free_bytes = min(ram_free_bytes, max(0, limits.memory_bytes - limits.memory_used_bytes))
    return Hardware(
        gpus=_read_gpus(),
        num_cores=_count_cores(limits.cpus),
        ram_bytes=ram_bytes,
        ram_free_bytes=ram_free_bytes,
        disk_free_bytes=shutil.disk_usage(_nearest_existing(folder)).free,
        cpu_gflops=_measure_cpu() if measure_cpu else 0.0,
    )


@dataclass(frozen=True, slots=True)
class CgroupLimits:
    """What a container may use; 0 means no limit.

    Attributes:
        memory_bytes: Smallest memory limit on the way to the root.
        memory_used_bytes: Memory in use under that limit, file cache that can be dropped left out.
        cpus: CPU time per second of wall time.
    """

    memory_bytes: int = 0
    memory_used_bytes: int = 0
    cpus: float = 0.0


def read_cgroup_limits(root: Path, *, membership: Path) -> CgroupLimits:
    """Return the limits of this process's control group, version 2 or 1.

    Args:
        root: Where the control groups are mounted, usually /sys/fs/cgroup.
        membership: The file that names this process's groups, usually /proc/self/cgroup.
    """
    memory: tuple[int, int] = (0, 0)
    cpus = 0.0
    for line in (_read(membership) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if controllers == "":
            for folder in _upwards(root, path):
                memory = _smaller(memory, _memory_limit(folder, "memory.max", "memory.current", "inactive_file"))
                cpus = _fewer(cpus, _quota((_read(folder / "cpu.max") or "").split()))
        if "memory" in names:
            for folder in _upwards(root / "memory", path):
                found = _memory_limit(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                memory = _smaller(memory, found)
        if "cpu" in names:
            for folder in _upwards(root / "cpu", path):
                parts = [_read(folder / "cpu.cfs_quota_us") or "", _read(folder / "cpu.cfs_period_us") or ""]
                cpus = _fewer(cpus, _quota(parts))
    return CgroupLimits(memory_bytes=memory[0], memory_used_bytes=memory[1], cpus=cpus)


def _upwards(mount: Path, path: str) -> list[Path]:
    """Folders from the group up to the mount; inside a container the group's own path is often not visible."""
    group = mount / path.strip("/")
    folders = [group, *group.parents]
    return [folder for folder in folders if folder.is_relative_to(mount) and folder.is_dir()]


def _memory_limit(folder: Path, limit_file: str, used_file: str, cache_key: str) -> tuple[int, int]:
    limit, used = _read(folder / limit_file) or "", _read(folder / used_file) or ""
    if not limit.isdigit() or int(limit) >= 2**60:  # version 1 writes a huge number for "no limit"
        return (0, 0)
    statistics = dict(line.split(" ", 1) for line in (_read(folder / "memory.stat") or "").splitlines() if " " in line)
    cache = int(statistics.get(cache_key, "0"))
    return (int(limit), max(0, int(used) - cache) if used.isdigit() else 0)


def _smaller(known: tuple[int, int], found: tuple[int, int]) -> tuple[int, int]:
    """Keep the limit that leaves less room; a limit of 0 is none."""
    limits = [limit for limit in (known, found) if limit[0]]
    return min(limits, key=lambda limit: limit[0] - limit[1], default=(0, 0))


def _quota(parts: list[str]) -> float:
    if len(parts) != 2 or not all(part.isdigit() for part in parts) or int(parts[1]) == 0:
        return 0.0
    return int(parts[0]) / int(parts[1])


def _fewer(known: float, found: float) -> float:
    return min((cpus for cpus in (known, found) if cpus), default=0.0)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:  # no such group, or not ours to read: no limit is known
        return None


def _count_cores(cpus: float) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, round(cpus))) if cpus else cores


def _nearest_existing(folder: Path) -> Path:
    absolute = folder.absolute()
    return next(path for path in (absolute, *absolute.parents) if path.exists())


def _measure_cpu() -> float:
    from duologue.engine.cpu_speed import measure_cpu_gflops  # numpy only when something is measured

    return measure_cpu_gflops()


def _read_gpus() -> tuple[Gpu, ...]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no NVIDIA driver: a CPU machine, a normal answer
        return ()
    try:
        return tuple(_read_gpu(index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:  # a driver that is being updated, or a device lost while it was read
        return ()
    finally:
        pynvml.nvmlShutdown()


def _read_gpu(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(
        name=pynvml.nvmlDeviceGetName(handle),
        total_bytes=int(memory.total),
        free_bytes=int(memory.free),
        compute_capability=(int(major), int(minor)),
        driver_version=pynvml.nvmlSystemGetDriverVersion(),
    )
