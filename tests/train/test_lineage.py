"""Where a run on feedback comes from, as the ledgers of a folder's runs say."""

import json

import pytest

from duologue.errors import EngineError
from duologue.train import Run, read_history, read_lineage

TOLD = {
    "num_sft_steps": 3,
    "method": "dpo",
    "num_corrected_replies": 6,
    "num_pairs": 10,
    "num_liked": 0,
    "num_disliked": 0,
    "num_cut": 1,
    "num_contradictions": 2,
    "unused": ["4 single replies"],
    "notes": [],
    "collected": {"used": {"swipe": 4, "edit": 6}, "dropped": {"hidden": 1}},
}


def a_run(folder, name, started_from=""):
    """A run's folder with as much of a ledger as is asked for here."""
    made = folder / "runs" / name
    made.mkdir(parents=True)
    told = {"feedback": {"started_from": started_from, **TOLD}} if started_from else {}
    (made / "data.json").write_text(json.dumps({"files": [], **told}))
    (made / "resolved.json").write_text(json.dumps({"feedback": {"beta": 0.3}}))
    return Run(made)


def test_a_run_on_feedback_names_all_it_comes_from_and_what_it_learned(tmp_path):
    a_run(tmp_path, "2026-11-22-1")
    a_run(tmp_path, "2026-11-22-2", "2026-11-22-1")
    lineage = read_lineage(a_run(tmp_path, "2026-11-23-1", "2026-11-22-2"))

    assert lineage.started_from == "2026-11-22-2"
    assert lineage.ancestors == ("2026-11-22-2", "2026-11-22-1")
    assert (lineage.method, lineage.beta, lineage.num_sft_steps) == ("dpo", 0.3, 3)
    assert (lineage.num_corrected_replies, lineage.num_pairs, lineage.num_contradictions) == (6, 10, 2)
    assert lineage.collected == {"swipe": 4, "edit": 6} and lineage.dropped == {"hidden": 1}
    assert json.loads(json.dumps(lineage.as_json()))["ancestors"] == ["2026-11-22-2", "2026-11-22-1"]


def test_a_run_whose_start_was_thrown_away_names_it_all_the_same(tmp_path):
    assert read_lineage(a_run(tmp_path, "2026-11-23-1", "2026-11-20-1")).ancestors == ("2026-11-20-1",)


def test_a_plain_run_and_one_without_a_ledger_come_from_nothing(tmp_path):
    assert read_lineage(a_run(tmp_path, "2026-11-22-1")) is None
    assert read_lineage(Run(tmp_path / "runs" / "2026-11-22-7")) is None


def test_a_damaged_ledger_is_told(tmp_path):
    run = a_run(tmp_path, "2026-11-23-1", "2026-11-20-1")
    (run.folder / "data.json").write_text("{")

    with pytest.raises(EngineError, match="ledger"):
        read_lineage(run)


def test_the_steps_that_compared_replies_are_told_from_the_others(tmp_path):
    run = a_run(tmp_path, "2026-11-23-1", "2026-11-20-1")
    step = {"name": "step", "loss": 1.0, "learning_rate": 1e-5, "grad_norm": 1.0, "tokens_per_second": 9.0}
    step |= {"seconds": 1.0, "num_tokens": 9, "memory_gib": 1.0}
    lines = [{**step, "step": 1}, {**step, "step": 2, "reward_margin": 0.0, "reward_accuracy": 0.5}]
    (run.folder / "events.jsonl").write_text("\n".join(map(json.dumps, lines)))

    assert [(each.step, each.is_comparison) for each in read_history(run).steps] == [(1, False), (2, True)]
