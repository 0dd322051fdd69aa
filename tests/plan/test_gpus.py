"""GPUs by the names that people and drivers use."""

import csv
from pathlib import Path

import pytest

from duologue.engine import Gpu, Hardware
from duologue.errors import PlanError
from duologue.plan import hardware_for
from duologue.plan.gpus import MIB, all_gpus, facts_of

BASE = Hardware((), num_cores=8, ram_bytes=2**36, ram_free_bytes=2**35, disk_free_bytes=2**40)
SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "gpus.csv"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("RTX 4090 24GB", "RTX 4090 24GB"),
        ("RTX 4090", "RTX 4090 24GB"),
        ("4090", "RTX 4090 24GB"),
        ("rtx4090", "RTX 4090 24GB"),
        ("NVIDIA GeForce RTX 4080", "RTX 4080 16GB"),
        ("4080 super", "RTX 4080 Super 16GB"),
        ("3080 ti", "RTX 3080 Ti 12GB"),
        ("3080 12gb", "RTX 3080 12GB"),
        ("a10", "A10 24GB"),
        ("A10G", "A10G 24GB"),
        ("a100-sxm4-80gb", "A100 SXM4 80GB"),
        ("l40s", "L40S 48GB"),
        ("rtx 6000 ada", "RTX 6000 Ada 48GB"),
        ("h200", "H200 SXM 141GB"),
        ("mi300x", "MI300X 192GB"),
    ],
)
def test_a_card_is_found_by_any_usual_name(asked, found):
    (gpu,) = hardware_for(asked, base=BASE).gpus
    assert gpu.name == found


def test_only_the_gpu_of_the_hardware_changes():
    hardware = hardware_for("RTX 3090", base=BASE)
    assert (hardware.num_cores, hardware.ram_free_bytes) == (8, 2**35)
    (gpu,) = hardware.gpus
    assert gpu.total_bytes == 24 * 2**30
    assert 0.98 < gpu.free_bytes / gpu.total_bytes < 1
    assert gpu.compute_capability == (8, 6)


def test_an_unknown_card_is_refused_with_the_nearest_names():
    with pytest.raises(PlanError, match=r"no GPU is called 'RTX 4070'; expected one of .*RTX 4070 Ti Super") as caught:
        hardware_for("RTX 4070", base=BASE)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", ["RTX 4060", "RTX 5060", "RTX 6000", "RTX 4070 Ti", "RTX 4090 Laptop", "RTX 4790"])
def test_a_similar_card_is_never_taken_silently(name):
    with pytest.raises(PlanError, match="no GPU is called"):
        hardware_for(name, base=BASE)


def test_a_name_that_fits_several_cards_is_refused_with_all_of_them():
    with pytest.raises(PlanError, match=r"fits 2 GPUs .*RTX 3080 10GB, RTX 3080 12GB"):
        hardware_for("RTX 3080", base=BASE)


@pytest.mark.parametrize("name", ["", "   ", "nvidia", "???"])
def test_a_name_that_says_nothing_is_refused(name):
    with pytest.raises(PlanError, match="no GPU is called"):
        hardware_for(name, base=BASE)


@pytest.mark.parametrize(
    ("driver_name", "total_mib", "found"),
    [
        ("NVIDIA GeForce RTX 4090", 24564, "RTX 4090 24GB"),
        ("NVIDIA GeForce RTX 3080", 10240, "RTX 3080 10GB"),
        ("NVIDIA GeForce RTX 3080", 12288, "RTX 3080 12GB"),
        ("NVIDIA GeForce RTX 4080 SUPER", 16376, "RTX 4080 Super 16GB"),
        ("NVIDIA A100-SXM4-80GB", 81920, "A100 SXM4 80GB"),
        ("NVIDIA A100 80GB PCIe", 81920, "A100 PCIe 80GB"),
        ("NVIDIA A100-PCIE-40GB", 40960, "A100 PCIe 40GB"),
        ("NVIDIA H100 80GB HBM3", 81559, "H100 SXM 80GB"),
        ("NVIDIA H100 PCIe", 81559, "H100 PCIe 80GB"),
        ("NVIDIA H200", 143771, "H200 SXM 141GB"),
        ("Tesla T4", 15360, "T4 16GB"),
        ("Tesla V100-SXM2-16GB", 16384, "V100 SXM2 16GB"),
        ("NVIDIA L4", 23034, "L4 24GB"),
        ("NVIDIA RTX 6000 Ada Generation", 49140, "RTX 6000 Ada 48GB"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 97887, "RTX PRO 6000 Blackwell 96GB"),
    ],
)
def test_a_detected_card_is_found_by_its_driver_s_name_and_memory(driver_name, total_mib, found):
    row = facts_of(Gpu(driver_name, total_mib * MIB, 0, (8, 0), "580.1"))
    assert row is not None
    assert row.name == found


@pytest.mark.parametrize(
    ("driver_name", "total_mib"),
    [
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 16376),
        ("NVIDIA GeForce RTX 3060", 8192),
        ("NVIDIA GeForce GTX 1080", 8192),
    ],
)
def test_another_chip_with_a_similar_name_is_not_taken_for_it(driver_name, total_mib):
    assert facts_of(Gpu(driver_name, total_mib * MIB, 0, (8, 6), "580.1")) is None


def test_every_row_is_plausible_and_its_price_is_dated():
    assert len({row.name for row in all_gpus()}) == len(all_gpus()) == 39
    for row in all_gpus():
        assert 9 * 2**30 < row.memory_bytes < 200 * 2**30, row.name
        assert 10e12 < row.tensor_flops < 3e15, row.name
        assert 60 < row.watts <= 1000, row.name
        assert row.rent_usd_per_hour is None or 0.05 < row.rent_usd_per_hour < 6, row.name
        assert row.prices_date == "2026-04-12"


@pytest.mark.skipif(not SHARED.is_file(), reason="the shared table of GPU facts is not here")
def test_the_table_agrees_with_the_facts_it_was_made_from():
    rows = {row.name: row for row in all_gpus()}
    with SHARED.open(encoding="utf-8", newline="") as stream:
        for fact in csv.DictReader(stream):
            row = rows[fact["name"]]
            assert row.tensor_flops == pytest.approx(float(fact["bf16_tflops_dense"]) * 1e12)
            assert row.bandwidth_bytes_per_second == pytest.approx(float(fact["bandwidth_gbs"]) * 1e9)
            assert row.watts == float(fact["tdp_w"])
            assert row.rent_usd_per_hour == (float(fact["cloud_usd_per_hour"]) if fact["cloud_usd_per_hour"] else None)
            assert 0.91 * float(fact["vram_gb"]) <= row.memory_bytes / 2**30 <= float(fact["vram_gb"])
