"""The export benchmark runs at a tiny shape and counts what it says it counts."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_tiny_model_is_merged_within_the_memory_that_is_allowed(repository, tmp_path):
    command = [sys.executable, repository / "benchmarks" / "export.py", "--shape", "tiny", "--json"]
    done = subprocess.run([*command, "--folder", tmp_path], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)

    # Four blocks of four square and three wide matrices and two norms, two tables, a last norm; two bytes each.
    block = 4 * 256 * 256 + 3 * 256 * 688 + 2 * 256
    assert result["model_gb"] == pytest.approx(2e-9 * (4 * block + 2 * 4096 * 256 + 256), rel=1e-3)
    assert 0 < result["peak_gb"] < result["allowed_gb"]
    assert list(tmp_path.iterdir()) == []
