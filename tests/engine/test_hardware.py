"""What the machine has, with and without a container around it, with and without a GPU."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from duologue.engine import Gpu, detect_hardware, hardware
from duologue.engine.hardware import CgroupLimits, read_cgroup_limits


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_this_machine_has_plausible_numbers(tmp_path):
    found = detect_hardware(tmp_path, measure_cpu=False)
    assert 1 <= found.num_cores <= (os.cpu_count() or 1)
    assert 0 <= found.ram_free_bytes <= found.ram_bytes <= psutil.virtual_memory().total
    assert found.disk_free_bytes > 0
    assert found.cpu_gflops == 0
    assert all(gpu.total_bytes >= gpu.free_bytes for gpu in found.gpus)


def test_a_measured_cpu_multiplies_matrices_at_a_plausible_speed(tmp_path):
    assert 0.1 < detect_hardware(tmp_path, measure_cpu=True).cpu_gflops < 100_000


def test_a_folder_that_does_not_exist_yet_has_its_parent_s_disk(tmp_path):
    assert detect_hardware(tmp_path / "not" / "yet", measure_cpu=False).disk_free_bytes > 0


def test_looking_at_the_hardware_imports_neither_numpy_nor_torch():
    code = (
        "import sys, pathlib; from duologue.engine import detect_hardware; "
        "detect_hardware(pathlib.Path('.'), measure_cpu=False); print({'numpy', 'torch'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


def test_a_container_s_limits_are_read_from_version_two(tmp_path):
    write(
        tmp_path,
        {
            "self": "0::/box/inner",
            "fs/box/inner/memory.max": "max",
            "fs/box/inner/cpu.max": "max 100000",
            "fs/box/memory.max": "4000",
            "fs/box/memory.current": "3000",
            "fs/box/memory.stat": "anon 2000\ninactive_file 600",
            "fs/box/cpu.max": "150000 100000",
        },
    )
    found = read_cgroup_limits(tmp_path / "fs", membership=tmp_path / "self")
    assert found == CgroupLimits(memory_bytes=4000, memory_used_bytes=2400, cpus=1.5)


def test_the_limit_that_leaves_the_least_room_counts(tmp_path):
    write(
        tmp_path,
        {
            "self": "0::/outer/inner",
            "fs/outer/memory.max": "10000",
            "fs/outer/memory.current": "9500",
            "fs/outer/inner/memory.max": "2000",
            "fs/outer/inner/memory.current": "100",
        },
    )
    found = read_cgroup_limits(tmp_path / "fs", membership=tmp_path / "self")
    assert (found.memory_bytes, found.memory_used_bytes) == (10000, 9500)


def test_inside_a_namespace_the_root_of_the_mount_holds_the_limit(tmp_path):
    write(tmp_path, {"self": "0::/", "fs/memory.max": "5000", "fs/memory.current": "1000"})
    found = read_cgroup_limits(tmp_path / "fs", membership=tmp_path / "self")
    assert (found.memory_bytes, found.memory_used_bytes) == (5000, 1000)


def test_a_container_s_limits_are_read_from_version_one(tmp_path):
    write(
        tmp_path,
        {
            "self": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/",
            "fs/memory/memory.limit_in_bytes": "7000",  # the group's own folder is not visible from inside
            "fs/memory/memory.usage_in_bytes": "5000",
            "fs/memory/memory.stat": "total_inactive_file 1000",
            "fs/cpu/cpu.cfs_quota_us": "200000",
            "fs/cpu/cpu.cfs_period_us": "100000",
        },
    )
    found = read_cgroup_limits(tmp_path / "fs", membership=tmp_path / "self")
    assert found == CgroupLimits(memory_bytes=7000, memory_used_bytes=4000, cpus=2.0)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"self": "0::/"},
        {"self": "0::/", "fs/memory.max": "max", "fs/cpu.max": "max 100000"},
        {"self": "4:memory:/", "fs/memory/memory.limit_in_bytes": "9223372036854771712"},
        {"self": "3:cpu:/", "fs/cpu/cpu.cfs_quota_us": "-1", "fs/cpu/cpu.cfs_period_us": "100000"},
    ],
)
def test_no_limit_is_no_limit(tmp_path, files):
    write(tmp_path, files)
    assert read_cgroup_limits(tmp_path / "fs", membership=tmp_path / "self") == CgroupLimits()


def test_a_container_s_limits_bound_memory_and_cores(tmp_path, monkeypatch):
    limits = CgroupLimits(memory_bytes=2**20, memory_used_bytes=2**19, cpus=0.4)
    monkeypatch.setattr(hardware, "read_cgroup_limits", lambda *_, **__: limits)
    found = detect_hardware(tmp_path, measure_cpu=False)
    assert (found.ram_bytes, found.ram_free_bytes, found.num_cores) == (2**20, 2**19, 1)


class NvmlError(Exception):
    """Stands for pynvml.NVMLError."""


def nvml(*, count=2, breaks_at="") -> SimpleNamespace:
    """A driver with `count` cards, which a machine without one cannot have; one call may fail."""

    def call(name, answer):
        def answered(*_):
            if name == breaks_at:
                raise NvmlError
            return answer

        return answered

    return SimpleNamespace(
        NVMLError=NvmlError,
        nvmlInit=call("init", None),
        nvmlShutdown=call("shutdown", None),
        nvmlDeviceGetCount=call("count", count),
        nvmlDeviceGetHandleByIndex=call("handle", object()),
        nvmlDeviceGetMemoryInfo=call("memory", SimpleNamespace(total=24 * 2**30, free=23 * 2**30)),
        nvmlDeviceGetCudaComputeCapability=call("capability", (8, 9)),
        nvmlDeviceGetName=call("name", "NVIDIA GeForce RTX 4090"),
        nvmlSystemGetDriverVersion=call("driver", "580.95.05"),
    )


def test_every_card_of_the_driver_is_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "pynvml", nvml())
    card = Gpu("NVIDIA GeForce RTX 4090", 24 * 2**30, 23 * 2**30, (8, 9), "580.95.05")
    assert detect_hardware(tmp_path, measure_cpu=False).gpus == (card, card)


@pytest.mark.parametrize("breaks_at", ["init", "count", "memory"])
def test_no_driver_or_a_broken_one_means_a_cpu_machine(tmp_path, monkeypatch, breaks_at):
    monkeypatch.setattr(hardware, "pynvml", nvml(breaks_at=breaks_at))
    assert detect_hardware(tmp_path, measure_cpu=False).gpus == ()
