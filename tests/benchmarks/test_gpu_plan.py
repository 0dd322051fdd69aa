"""The benchmark of the plan at tiny shapes on the CPU."""

import json
import runpy
import sys

import pytest


@pytest.fixture
def run(repository, tmp_path, monkeypatch, capsys):
    """Run the benchmark and return its document."""
    import torch

    folder = repository / "benchmarks" / "gpu"
    monkeypatch.syspath_prepend(str(folder))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for tiny matrices a second thread is all waiting

    def call(*arguments):
        out = tmp_path / "plan.json"
        words = ["plan.py", "--tiny", "--steps", "1", "--warm-up", "1", "--out", str(out), *arguments]
        monkeypatch.setattr(sys, "argv", words)
        runpy.run_path(str(folder / "plan.py"), run_name="__main__")
        document = json.loads(out.read_text())
        assert document == json.loads(capsys.readouterr().out)
        return document

    yield call
    torch.set_num_threads(threads)


def test_at_least_twelve_cases_are_planned_and_measured(run):
    document = run()
    rows = document["rows"]
    assert len(rows) >= 12
    for key, wanted in (("size", {"7B", "8B", "13B", "34B"}), ("quantization", {"nf4", "int8", "none"})):
        assert {row[key] for row in rows} == wanted
    assert len({row["length_tokens"] for row in rows}) == 2 and {row["is_checkpointed"] for row in rows} == {
        True,
        False,
    }
    for row in rows:
        assert row["outcome"] == "ran" and row["agrees"]
        assert row["measured"]["median_grad_norm"] > 0
        assert row["measured"]["tokens_per_second"] > 0
        assert row["plan"]["allocated_gib"] > 0
        expected = row["plan"]["tokens_per_second"] / row["measured"]["tokens_per_second"] - 1
        assert row["errors"]["tokens_per_second"] == pytest.approx(expected)
    assert document["summary"]["tokens_per_second"]["rows"] == len(rows)
    assert document["summary"]["wrong_verdicts"] == []
    assert document["machine"]["versions"]["torch"].startswith("2.")


def test_an_interrupted_benchmark_goes_on_with_the_rest(run):
    first = run("--only", "7B nf4 512")
    assert [row["case"] for row in first["rows"]] == ["7B nf4 512 ckpt-on"]
    both = run("--only", "512 ckpt-off", "--resume")
    assert both["rows"][0] == first["rows"][0], "measured once"
    assert len(both["rows"]) > 1


def test_running_out_of_memory_is_written_beside_the_verdict(run, monkeypatch):
    import first

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(first, "timed", no_memory)
    row = run("--only", "13B nf4 512")["rows"][0]
    assert row["outcome"] == "out of memory"
    assert row["agrees"] is (row["plan"]["verdict"] != "fits")
    assert "measured" not in row
