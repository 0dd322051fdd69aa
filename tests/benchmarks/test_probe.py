"""The benchmark of the probe with a tiny model: it runs to its end and compares what it says it compares."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_plan_probe_and_run_stand_beside_each_other(repository, tmp_path, tiny_model):
    out = tmp_path / "results" / "probe.json"
    words = ["--base", tiny_model, "--conversations", "40", "--steps", "8", "--longest-words", "60", "--out", str(out)]
    script = repository / "benchmarks" / "probe.py"
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text())
    assert document == json.loads(done.stdout)
    assert [row["measure"] for row in document["rows"]] == ["train_minutes", "tokens_per_second", "memory_gib"]
    for row in document["rows"]:
        assert row["plan"] > 0 and row["plan_after_probe"] > 0 and row["actual"] > 0
        assert row["error_after_probe"] == pytest.approx(row["plan_after_probe"] / row["actual"] - 1)
    memory = document["rows"][2]
    assert abs(memory["error_after_probe"]) < 0.15, "three steps of the same job in a process of its own"
    assert len(document["probe"]["micro_steps"]) >= 4
