"""The benchmark of replies with tiny prompts: it runs to its end and compares what it says it compares."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_same_replies_are_made_by_each_engine(repository, tmp_path):
    out = tmp_path / "generate.json"
    command = [sys.executable, repository / "benchmarks" / "generate.py", "--tiny", "--out", out]
    done = subprocess.run([*command, "--engines", "duologue", "llama.cpp"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text())
    assert document == json.loads(done.stdout)
    (row,) = document["rows"]
    figures = {
        "prompt_64_tokens_per_second",
        "prompt_128_tokens_per_second",
        "decode_tokens_per_second",
        "warm_first_token_seconds",
    }
    assert set(row["duologue"]) == set(row["llama.cpp"]) == figures
    assert all(figure > 0 for engine in row.values() for figure in engine.values())
    ratios = document["duologue_over"]["llama.cpp"]
    assert ratios["decode_tokens_per_second"] == pytest.approx(
        row["duologue"]["decode_tokens_per_second"] / row["llama.cpp"]["decode_tokens_per_second"], abs=1e-3
    )
    assert document["reached"] == all(ratios[name] >= 1 for name in figures if "per_second" in name)
