"""The benchmark of training at tiny shapes on the CPU."""

import json
import runpy
import sys

import pytest


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # the notebook's side calls what notebooks call
def test_every_part_trains_and_is_timed(repository, tmp_path, monkeypatch, capsys):
    import torch

    folder = repository / "benchmarks" / "gpu"
    out = tmp_path / "train.json"
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "argv", ["train.py", "--tiny", "--steps", "2", "--warm-up", "1", "--out", str(out)])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for tiny matrices a second thread is all waiting
    try:
        runpy.run_path(str(folder / "train.py"), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    document = json.loads(out.read_text())
    assert document == json.loads(capsys.readouterr().out)
    parts = document["parts"]
    assert list(parts) == ["notebook", "utilisation", "formats", "longest"]
    assert set(parts["notebook"]["rows"]) == {"notebook", "optimized", "best-24gb", "best settings, same base"}
    assert parts["notebook"]["speed_ratio"]["notebook"] == 1
    assert len(parts["formats"]["rows"]) == 5
    assert parts["longest"]["all-linear"]["longest_tokens"] > 0
    rows = [row for name in ("notebook", "utilisation", "formats") for row in parts[name]["rows"].values()]
    for row in [*rows, *parts["longest"]["attention"]["rows"]]:
        assert row["median_grad_norm"] > 0
        assert 0 < row["trained_tokens_per_second"] <= row["tokens_per_second"]


def test_the_examples_have_the_lengths_of_real_conversations(repository, monkeypatch):
    folder = repository / "benchmarks" / "gpu"
    monkeypatch.syspath_prepend(str(folder))
    code = runpy.run_path(str(folder / "train.py"))
    examples = code["real_examples"]("roleplay_alpaca.json", 512, 512, is_tiny=False)
    pairs = json.loads((folder / "lengths.json").read_text())["roleplay_alpaca.json"]
    assert [example.num_tokens for example in examples] == [tokens for tokens, _ in pairs]
    assert [example.num_trained_tokens for example in examples] == [trained for _, trained in pairs]
