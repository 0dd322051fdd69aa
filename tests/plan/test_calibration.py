"""What runs teach the next plan: the file, the factors, the probe, and corrections that do not pile up."""

import json
import math
import multiprocessing
import os
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.config import load_recipe
from duologue.data import DataStats
from duologue.engine import BaseModel, Hardware, LoraSettings, MicroBatch, MicroStep, Probe, TrainingJob
from duologue.plan import Calibration, CalibrationTarget, Learned, Measured, keep_run, known_facts, make_plan
from duologue.plan.calibration import Entry, Factor, RunKind, load, record
from duologue.plan.machine import machine_of
from duologue.plan.measured import fit_speed, kind_of, micro_flops, seconds_per_step
from duologue.plan.resolve import resolve

CPU = Hardware((), num_cores=2, ram_bytes=2**35, ram_free_bytes=23 * 2**30, disk_free_bytes=10**11, cpu_gflops=130.0)
KIND = RunKind("host", "CPU with 2 cores", "duologue", "none", "float32")


def entry(speed: float = 1.0, memory: float = 1.0, **changes) -> Entry:
    return replace(Entry(KIND, "2026-11-22", "model", 50, speed, memory), **changes)


def runs(*speeds: float) -> Calibration:
    return Calibration(tuple(entry(speed) for speed in speeds))


def stats() -> DataStats:
    lengths = tuple(sorted(random.Random(5).choices(range(60, 400), k=120)))
    return DataStats(120, 8, sum(lengths), sum(lengths) // 2, 1800, lengths[-1], lengths)


BATCH = ["training.max_steps=60", "training.micro_batch_size=4", "training.gradient_accumulation_steps=2"]


def plan(measured: Measured | None = None, *overrides: str):
    config = load_recipe("quickstart", overrides=[*BATCH, *overrides])
    facts = known_facts(config.model.base)
    assert facts is not None
    return make_plan(config, stats(), facts, CPU, measured=measured)


def workload_of(*overrides: str):
    config = load_recipe("quickstart", overrides=[*BATCH, *overrides])
    facts = known_facts(config.model.base)
    assert facts is not None
    return resolve(config, stats(), facts, machine=machine_of(CPU)).workload


def rows_of(rows: int, length: int) -> MicroBatch:
    return MicroBatch(rows * length, length)


def a_probe(*, start: float, slope: float, schedule=((),), tokens=(), **changes) -> Probe:
    """A probe whose micro-steps lie on a line exactly."""
    workload = workload_of()
    shapes = [(4, 390), (4, 380), (4, 210), (4, 200)]
    batches = [rows_of(rows, length) for rows, length in shapes]
    steps = tuple(MicroStep(batch, start + slope * micro_flops(workload, batch)) for batch in batches)
    job = TrainingJob(
        base=BaseModel("bundled:smollm2-135m", "none", True, 6.0, workload.compute_dtype),
        lora=workload.lora,
        max_steps=60,
        micro_batch_size=workload.micro_batch_size,
        gradient_accumulation_steps=workload.gradient_accumulation_steps,
        learning_rate=1e-3,
        lr_schedule="constant",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=1.0,
        use_gradient_checkpointing=workload.use_gradient_checkpointing,
        seed=0,
        save_every_steps=100,
        eval_every_steps=0,
        num_checkpoints=1,
        run_folder=Path("nowhere"),
    )
    probe = Probe(
        job=job,
        device="cpu",
        micro_steps=steps,
        optimizer_seconds=0.05,
        peak_allocated_bytes=3 * 2**30,
        peak_reserved_bytes=3 * 2**30,
        peak_device_bytes=3 * 2**30,
        load_seconds=4.0,
        grad_norm=1.0,
        num_tokens=1000,
        seconds=10.0,
        schedule=schedule,
        schedule_tokens=tokens,
    )
    return replace(probe, **changes)


def test_without_runs_the_law_stands():
    assert Calibration().factors(KIND).speed == Factor()
    assert plan(Measured("host")).time == plan().time
    assert plan().learned == Learned()


def test_a_run_moves_the_next_plan_most_of_the_way_and_more_runs_all_of_it():
    values = [runs(*[0.5] * count).factors(KIND).speed.value for count in range(1, 10)]
    assert values == sorted(values, reverse=True)
    assert 0.5 < values[-1] < 0.53 < values[0] < 0.7


def test_one_wild_run_among_many_changes_little():
    calm = runs(0.8, 0.8, 0.8, 0.8, 0.8).factors(KIND).speed.value
    wild = runs(0.8, 0.8, 8.0, 0.8, 0.8).factors(KIND).speed.value
    assert wild == pytest.approx(calm)


def test_the_interval_narrows_with_runs_that_agree_and_not_with_runs_that_do_not():
    def width(*speeds: float) -> float:
        low, high = runs(*speeds).factors(KIND).speed.interval(0.5, 2.0)
        return high - low

    assert 1.5 > width(0.8) > width(0.8, 0.8) > width(*[0.8] * 6) > 0.09
    assert width(0.5, 0.8, 1.3, 0.7, 1.1) > 3 * width(0.8, 0.8, 0.81, 0.79, 0.8)
    assert width(0.1, 5.0, 0.2, 9.0) <= 1.5, "never wider than the law's own"


def test_only_runs_of_the_same_kind_count_and_only_the_last():
    others = [replace(KIND, **{name: "other"}) for name in asdict(KIND)]
    mixed = Calibration((*(entry(5.0, kind=kind) for kind in others), entry(0.8)))
    assert mixed.factors(KIND).num_runs == 1
    old_then_new = runs(*[3.0] * 12, *[0.9] * 9)
    assert old_then_new.factors(KIND).speed.value == pytest.approx(0.9, abs=0.01)


@given(st.lists(st.floats(0.06, 19), min_size=1, max_size=15))
def test_a_factor_lies_between_the_law_and_the_runs(speeds):
    factor = runs(*speeds).factors(KIND).speed
    last = speeds[-9:]
    assert min(1.0, *last) * 0.999 <= factor.value <= max(1.0, *last) * 1.001
    low, high = factor.interval(0.4, 2.5)
    assert 0.4 <= low < 1 < high <= 2.5


def test_runs_are_kept_and_read_again(tmp_path):
    path = tmp_path / "new" / "calibration.json"
    assert load(path) == Calibration()
    for speed in (0.8, 0.9):
        record(path, entry(speed, 1.1))
    assert load(path).entries == (entry(0.8, 1.1), entry(0.9, 1.1))
    assert sorted(item.name for item in path.parent.iterdir() if not item.name.endswith(".lock")) == [path.name]


def test_the_file_is_bounded(tmp_path):
    path = tmp_path / "c.json"
    many = [entry(1.0, kind=replace(KIND, host=str(number))) for number in range(500)]
    path.write_text(json.dumps({"version": 1, "entries": [asdict(item) for item in many]}))
    for number in range(25):
        record(path, entry(1.0, date=f"2026-12-{number + 1:02}"))
    found = load(path).entries
    assert len(found) == 400
    mine = [item for item in found if item.kind == KIND]
    assert len(mine) == 20
    assert mine[-1].date == "2026-12-25" and mine[0].date == "2026-12-06", "the newest stay"


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'{"version": 1}', b'{"version": 1, "entries": 3}', b"\xff\xfe", b"7"]
)
def test_a_damaged_file_is_put_aside_with_a_word_and_learning_goes_on(tmp_path, raw):
    path = tmp_path / "c.json"
    for name in ("c.json.damaged", "c.json.damaged-2"):
        path.write_bytes(raw)
        found = load(path)
        assert found.entries == () and f"kept as {name}" in found.note
        assert (tmp_path / name).read_bytes() == raw
    path.write_bytes(raw)
    kept = record(path, entry(0.7))
    assert "damaged" in kept.note and kept.factors(KIND).num_runs == 1
    assert load(path).entries == (entry(0.7),)


def test_single_rows_that_cannot_be_read_are_counted_and_left_out(tmp_path):
    path = tmp_path / "c.json"
    good = asdict(entry(0.8))
    bad = [None, {}, {**good, "speed_ratio": "fast"}, {**good, "speed_ratio": float("nan")}, {**good, "kind": 4}]
    path.write_text(json.dumps({"version": 1, "entries": [*bad, good]}))
    found = load(path)
    assert found.entries == (entry(0.8),)
    assert "5 of 6 runs were not readable" in found.note


def test_a_file_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "c.json"
    path.write_text('{"version": 9, "entries": {"new": "shape"}}')
    before = path.read_bytes()
    assert "another version" in record(path, entry(0.8)).note
    assert path.read_bytes() == before


@pytest.mark.parametrize("bad", [entry(num_steps=4), entry(0.0), entry(1.0, 50.0), entry(math.nan), entry(math.inf)])
def test_a_run_that_is_too_short_or_absurd_is_not_kept(tmp_path, bad):
    path = tmp_path / "c.json"
    record(path, entry(0.8))
    assert "was not kept" in record(path, bad).note
    assert load(path).entries == (entry(0.8),)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_a_note_not_an_error_for_others(tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot be written" in record(tmp_path / "c.json", entry(0.8)).note


def test_a_file_that_cannot_be_written_is_a_note_not_an_error(tmp_path):
    (tmp_path / "folder").write_text("a file where a folder should be")
    assert "cannot be written" in record(tmp_path / "folder" / "c.json", entry(0.8)).note


def _record_some(path: Path, number: int) -> None:
    for at in range(5):
        record(path, entry(0.8, date=f"{number}-{at}"))


def test_runs_that_end_at_the_same_time_are_all_kept(tmp_path):
    path = tmp_path / "c.json"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_record_some, args=(path, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len({item.date for item in load(path).entries}) == 20


def test_the_next_plan_takes_speed_and_memory_from_earlier_runs_and_says_so():
    law = plan()
    kind = kind_of(workload_of(), law.machine, host="host")
    calibration = Calibration(tuple(entry(0.5, 1.4, kind=kind) for _ in range(8)))
    found = plan(Measured("host", calibration))
    factors = calibration.factors(kind)
    assert found.time.tokens_per_second == pytest.approx(law.time.tokens_per_second * factors.speed.value)
    assert found.time.train_minutes == pytest.approx(law.time.train_minutes / factors.speed.value)
    assert found.memory.device_gib == pytest.approx(law.memory.device_gib * factors.memory.value)
    assert sum(item.gib for item in found.memory.components) == pytest.approx(found.memory.device_gib)
    width = found.time.high_minutes / found.time.low_minutes
    assert width < law.time.high_minutes / law.time.low_minutes
    assert any("8 runs on this machine" in line for line in found.assumptions)
    assert found.learned.num_runs == 8
    assert plan(Measured("elsewhere", calibration)).time == law.time


def test_corrections_do_not_pile_up(tmp_path):
    """A machine that is always half as fast as the law: the plans approach it and stay there."""
    target = CalibrationTarget(tmp_path / "c.json", "host", "2026-11-22")
    law = plan()
    true_speed, true_memory = 0.5 * law.time.tokens_per_second, 1.3 * law.memory.allocated_gib
    for _ in range(9):
        planned = plan(Measured("host", load(target.path)))
        versus = {
            "tokens_per_second": {"plan": planned.time.tokens_per_second, "actual": true_speed},
            "memory_gib": {"plan": planned.memory.allocated_gib, "actual": true_memory},
        }
        said = keep_run(target, planned, versus, model="bundled:smollm2-135m", num_steps=60)
    assert "from 9 runs on this machine" in said
    assert [item.speed_ratio for item in load(target.path).entries] == pytest.approx([0.5] * 9)
    last = plan(Measured("host", load(target.path)))
    assert last.time.tokens_per_second == pytest.approx(true_speed, rel=0.05)
    assert last.memory.allocated_gib == pytest.approx(true_memory, rel=0.05)


def test_a_line_through_two_shapes_gives_start_and_slope_back():
    model = fit_speed(a_probe(start=0.3, slope=2e-12), workload_of())
    assert model.start_seconds == pytest.approx(0.3)
    assert model.seconds_per_flop == pytest.approx(2e-12)


def test_measurements_that_would_give_a_negative_start_or_slope_go_through_the_origin():
    workload = workload_of()
    for start, slope in ((-0.5, 4e-12), (9.0, -1e-12)):
        model = fit_speed(a_probe(start=start, slope=slope), workload)
        assert model.start_seconds == 0
        assert model.seconds_per_flop > 0


def test_a_probe_of_one_shape_still_gives_a_speed():
    probe = a_probe(start=0.0, slope=2e-12)
    alone = replace(probe, micro_steps=probe.micro_steps[:1])
    assert fit_speed(alone, workload_of()).seconds_per_flop == pytest.approx(2e-12)


def test_after_a_probe_the_plan_adds_up_the_very_steps_of_the_run():
    workload = workload_of()
    rng = random.Random(1)
    schedule = tuple((rows_of(4, rng.randrange(60, 390)), rows_of(4, rng.randrange(60, 390))) for _ in range(60))
    tokens = tuple(sum(batch.num_tokens for batch in step) for step in schedule)
    probe = a_probe(start=0.2, slope=3e-12, schedule=schedule, tokens=tokens)
    found = plan(Measured("host", probe=probe))
    seconds = sum(2 * 0.2 + 0.05 + sum(3e-12 * micro_flops(workload, batch) for batch in step) for step in schedule)
    assert found.time.train_minutes == pytest.approx(seconds / 60)
    assert found.time.tokens_per_second == pytest.approx(sum(tokens) / seconds)
    assert found.learned.is_probed
    assert found.memory.allocated_gib == pytest.approx(3.0)
    assert found.memory.high_gib / found.memory.low_gib < 1.1
    assert any("from a probe of this job" in line for line in found.assumptions)


def test_steps_beyond_the_known_schedule_take_the_mean():
    schedule = tuple((rows_of(4, 200), rows_of(4, 100)) for _ in range(15))
    probe = a_probe(start=0.2, slope=3e-12, schedule=schedule, tokens=(1100,) * 15)
    short = plan(Measured("host", probe=probe), "training.max_steps=15").time
    long = plan(Measured("host", probe=probe), "training.max_steps=150").time
    assert long.train_minutes == pytest.approx(10 * short.train_minutes, rel=1e-6)


def test_a_probe_of_other_settings_is_not_used_and_that_is_said():
    found = plan(Measured("host", probe=a_probe(start=0.2, slope=3e-12)), "lora.rank=4")
    assert found.time == plan(None, "lora.rank=4").time
    assert any("The probe measured other settings" in line for line in found.assumptions)


def test_another_batch_than_the_probed_one_uses_its_line_on_the_length_histogram():
    probe = a_probe(start=0.0, slope=3e-12)
    workload = replace(workload_of(), micro_batch_size=2, gradient_accumulation_steps=4)
    machine = replace(machine_of(CPU), measured=Measured("host", probe=probe))
    mean = seconds_per_step(workload, machine)
    exact = 3e-12 * sum(micro_flops(workload, rows_of(1, length)) for length in workload.stats.lengths)
    per_step = exact / workload.steps_per_epoch + 0.05
    assert per_step < mean < 1.05 * per_step, "padding costs something, sorting keeps it small"


def test_attention_makes_long_rows_dearer_than_their_tokens():
    workload = workload_of()
    assert micro_flops(workload, rows_of(1, 4000)) > 1.2 * micro_flops(workload, rows_of(20, 200))


def test_a_probe_of_a_longer_adapter_is_another_job():
    probe = a_probe(start=0.2, slope=3e-12)
    other = replace(probe, job=replace(probe.job, lora=LoraSettings(rank=64, alpha=16)))
    assert plan(Measured("host", probe=other)).time == plan().time
