"""A plan as a task for a rented machine: what it says, that its script works, and that SkyPilot reads it."""

import importlib.util
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from duologue.config import load_recipe
from duologue.engine import Hardware
from duologue.errors import PlanError
from duologue.plan import (
    CloudJob,
    Plan,
    cloud_task,
    default_bucket,
    example_stats,
    hardware_for,
    known_facts,
    make_plan,
)

HERE = Hardware((), num_cores=8, ram_bytes=2**36, ram_free_bytes=2**36, disk_free_bytes=10**12)
HAS_SKYPILOT = importlib.util.find_spec("sky") is not None


def planned(gpu: str) -> Plan:
    config = load_recipe("best-24gb")
    facts = known_facts(config.model.base)
    assert facts is not None
    return make_plan(config, example_stats(config), facts, hardware_for(gpu, base=HERE))


def made_job(folder: Path, **changes: object) -> CloudJob:
    job = CloudJob(
        name="lila",
        folder=folder,
        files=("duologue.toml", "data/chats.json"),
        bucket="duologue-lila",
        program=None,
        version="1.2.3",
    )
    return replace(job, **changes)


def script_of(task: str) -> str:
    lines = task.split("run: |\n")[1].splitlines()
    return "\n".join(line.removeprefix("  ") for line in lines) + "\n"


def test_a_task_rents_the_planned_card_on_the_spot_market_and_resumes(tmp_path):
    task = cloud_task(planned("RTX 4090"), made_job(tmp_path, num_gpus=2))
    assert 'accelerators: "RTX4090:2"' in task
    assert "use_spot: true" in task
    assert "recover_on_exit_codes: [7]" in task
    assert "--num-processes 2" in task
    assert "mode: MOUNT" in task


def test_only_what_the_run_reads_is_sent(tmp_path):
    task = cloud_task(planned("RTX 4090"), made_job(tmp_path))
    sent = [line for line in task.splitlines() if str(tmp_path) in line]
    assert len(sent) == 2
    assert "sqlite" not in task


def test_a_plan_that_does_not_fit_becomes_no_task(tmp_path):
    config = load_recipe("original")
    facts = known_facts(config.model.base)
    assert facts is not None
    too_large = make_plan(config, example_stats(config), facts, hardware_for("T4", base=HERE))
    with pytest.raises(PlanError, match="does not fit"):
        cloud_task(too_large, made_job(tmp_path))


def test_a_card_that_no_cloud_rents_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(PlanError, match="RTX 4090"):
        cloud_task(replace(planned("RTX 4090"), machine="RTX 4070 Ti Super 16GB"), made_job(tmp_path))


@pytest.mark.parametrize("name", ["Lila", "l", "lila/../other", "-lila", "a" * 64])
def test_a_bucket_has_a_name_that_every_cloud_takes(tmp_path, name):
    with pytest.raises(PlanError, match="bucket"):
        cloud_task(planned("RTX 4090"), made_job(tmp_path, bucket=name))


def test_a_folder_with_any_name_has_a_bucket(tmp_path):
    for name in ("Lila Quill", "ä ö ü", "x" * 100):
        cloud_task(planned("RTX 4090"), made_job(tmp_path, bucket=default_bucket(name)))


@pytest.mark.skipif(os.name == "nt", reason="the script is for a rented Linux machine")
@pytest.mark.parametrize("is_second_machine", [False, True])
def test_the_script_trains_keeps_the_run_and_resumes_on_a_second_machine(tmp_path, is_second_machine):
    home, kept = tmp_path / "home", tmp_path / "home" / "kept"
    program = home / "duologue" / ".venv" / "bin" / "duologue"
    program.parent.mkdir(parents=True)
    kept.mkdir()
    program.write_text(
        '#!/bin/sh\necho "$@" >>"$HOME/said"\nmkdir -p "$2/runs/1/checkpoints/step-5"\n'
        'echo weights >"$2/runs/1/checkpoints/step-5/adapter"\nexit 7\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (home / "bin").mkdir()
    rsync = home / "bin" / "rsync"  # two of its options are enough to follow the script where rsync is not installed
    rsync.write_text('#!/bin/sh\nfor last; do :; done\neval "from=\\${$(($# - 1))}"\ncp -a "$from." "$last"\n')
    rsync.chmod(rsync.stat().st_mode | stat.S_IXUSR)
    if is_second_machine:
        (kept / "lila" / "runs" / "1" / "checkpoints" / "step-5").mkdir(parents=True)
    script = script_of(
        cloud_task(planned("RTX 4090"), made_job(tmp_path, overrides=("run.seed=1", "character.persona='it''s'")))
    )
    environment = {**os.environ, "HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 7, done.stderr
    assert (kept / "lila" / "runs" / "1" / "checkpoints" / "step-5" / "adapter").read_text() == "weights\n"
    said = (home / "said").read_text()
    assert ("--resume" in said) == is_second_machine
    assert "--set run.seed=1" in said
    assert "persona='it''s'" in said


@pytest.mark.skipif(not HAS_SKYPILOT, reason="needs SkyPilot (pip install skypilot==0.14.1)")
def test_skypilot_reads_the_task(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("duologue.toml", "data/chats.json"):
        (tmp_path / name).write_text("{}")
    path = tmp_path / "lila.yaml"
    path.write_text(cloud_task(planned("A100 80GB"), made_job(tmp_path, num_gpus=4, needs_token=True)))
    script = (
        "import json, sys, sky\n"
        "task = sky.Task.from_yaml(sys.argv[1])\n"
        "[resources] = task.resources\n"
        "print(json.dumps([resources.accelerators, resources.use_spot, list(task.storage_mounts), task.run]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    accelerators, is_spot, mounts, run = json.loads(done.stdout.splitlines()[-1])
    assert accelerators == {"A100-80GB": 4}
    assert is_spot
    assert mounts == ["~/kept"]
    assert "duologue train" in run
