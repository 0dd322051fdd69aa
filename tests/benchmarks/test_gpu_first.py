"""The GPU benchmark at a tiny shape on the CPU."""

import json
import runpy
import sys

import pytest


def test_the_benchmark_measures_both_weight_formats_beside_the_plan(repository, tmp_path, monkeypatch, capsys):
    out = tmp_path / "first.json"
    arguments = ["first.py", "--tiny", "--steps", "2", "--warm-up", "1", "--length-tokens", "32", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(repository / "benchmarks" / "gpu" / "first.py"), run_name="__main__")
    document = json.loads(out.read_text())
    assert document == json.loads(capsys.readouterr().out)
    assert [row["quantization"] for row in document["rows"]] == ["int8", "nf4"]
    for row in document["rows"]:
        assert row["median_grad_norm"] > 0
        assert row["trained_tokens_per_second"] == pytest.approx(row["tokens_per_second"] / 2)
        assert row["plan"]["allocated_gib"] > 0 and row["plan"]["tokens_per_second"] > 0
        assert len(row["losses"]) == 2
    assert document["machine"]["versions"]["torch"].startswith("2.")
