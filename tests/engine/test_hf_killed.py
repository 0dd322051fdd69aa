"""Runs in real processes that are killed, or given too little memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks one process per run")
ROOT = Path(__file__).parents[2]


def forked(folder, model, *wanted):
    """Start `tests.engine.forked` and return what it found."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    command = [sys.executable, "-m", "tests.engine.forked", str(folder), model, *wanted]
    done = subprocess.run(command, check=False, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found(tiny_model, tmp_path_factory):
    return forked(tmp_path_factory.mktemp("forked"), tiny_model, "runs", "saves", "memory")


@pytest.mark.slow
def test_runs_killed_at_random_moments_end_like_one_that_never_was_bit_for_bit(found):
    assert found["num_kills"] >= 2, "the runs were over before they could be killed"
    assert found["differences"] == []


def test_a_save_killed_at_any_file_operation_leaves_a_whole_checkpoint(found):
    steps = [step for _, step, *_ in found["saves"]]
    assert len(steps) > 30, "operations were counted"
    assert steps[0] == 2 and steps[-1] == 3 and steps == sorted(steps), "first the old one, from one moment on the new"
    assert all(whole for _, _, whole, *_ in found["saves"])
    assert all(not skipped for *_, skipped, _ in found["saves"]), "none had to be passed over: half ones have no name"
    assert all(not any(name.startswith(".") for name in names) for *_, names in found["saves"]), "nothing lies about"


def test_a_real_memory_limit_makes_the_micro_batch_smaller_and_the_run_goes_on(found):
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux to measure the address space")
    assert found["codes"] == [0, 0]
    limited, plenty = found["limited"], found["plenty"]
    assert plenty["changes"] == []
    assert limited["changes"][0].startswith("from step 1 on: micro-batches of 8 instead of 16"), "the trial found it"
    assert "can't allocate memory" in limited["warnings"][0]
    assert limited["losses"] == pytest.approx(plenty["losses"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_thirty_runs_killed_at_random_moments_end_like_one_that_never_was(tiny_model, tmp_path):
    found = forked(tmp_path, tiny_model, "many-runs")
    assert found["num_kills"] >= 30
    assert found["differences"] == []
