"""`duologue memory eval` scores a set as LoCoMo does, and says what was wrong with the files."""

import json
from pathlib import Path

import pytest

from duologue.errors import DataError
from duologue.memory.measure import measure, read_set
from tests.memory.made import WordEmbedder


def write(path: Path, rows: list) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def turn(turn_id: str, text: str, **more) -> dict:
    row = {"id": turn_id, "session": 1, "index": int(turn_id[1:]), "speaker": "Ana", "text": text, "time": "2025-05-01"}
    return {**row, **more}


def ask(question: str, evidence: list, category: str = "single-hop", **more) -> dict:
    return {"question": question, "evidence": evidence, "category": category, **more}


TURNS = [turn(f"t{n}", f"Quiet remark about number{n} only") for n in range(60)]
TURNS += [turn("t60", "The boat is green"), turn("t61", "The mill is old", speaker="Bo")]


def test_recall_is_the_share_of_the_evidence_in_the_first_k(tmp_path: Path) -> None:
    questions = [
        ask("Which boat?", ["t60"]),
        ask("Which boat or which mill?", ["t60", "t61", "t5"], "multi-hop"),
        ask("What about the moon?", ["t3"], "adversarial"),
        ask("Nothing answers this", [], "adversarial"),
    ]
    found = read_set(write(tmp_path / "t.jsonl", TURNS), write(tmp_path / "q.jsonl", questions))
    measured = measure(found, embedder=None)
    assert (measured.num_turns, measured.num_questions, measured.num_scored) == (62, 4, 3)
    assert measured.by_category["single-hop"] == (1, {5: 100.0, 10: 100.0, 25: 100.0, 50: 100.0})
    assert measured.by_category["multi-hop"][1][5] == pytest.approx(66.67)
    assert measured.by_category["adversarial"] == (1, {5: 0.0, 10: 0.0, 25: 0.0, 50: 0.0})
    assert measured.recall[10] == pytest.approx((100 + 66.67 + 0) / 3, abs=0.01)
    assert measured.faults == {"questions without evidence, left out": 1}
    assert 0 < measured.latency_ms["p50"] <= measured.latency_ms["p95"]
    with_vectors = measure(found, embedder=WordEmbedder())
    assert with_vectors.recall[10] >= measured.recall[10]


def test_conversations_are_kept_apart(tmp_path: Path) -> None:
    turns = [turn("t1", "The boat is green", conversation="a"), turn("t1", "The boat is red", conversation="b")]
    questions = [ask("boat?", ["t1"], conversation="a"), ask("boat?", ["t1"], conversation="b")]
    measured = measure(read_set(write(tmp_path / "t", turns), write(tmp_path / "q", questions)), embedder=None)
    assert (measured.num_turns, measured.recall[5]) == (2, 100.0)


def test_messy_files_are_read_and_what_was_wrong_is_counted(tmp_path: Path) -> None:
    turns = [
        turn("t1", "The boat is green\u2028and long", time="1:56 pm on 8 May, 2023"),
        turn("t1", "Another text"),
        turn("t2", "The mill", time=None, index="x", speaker=None),
        {"id": "t3"},
        "not json",
        "[]",
        "",
    ]
    questions = [ask("boat?", ["t1", "t99"]), ask("mill?", "t2"), ask("", ["t1"]), ask("boat?", ["t98"]), {"x": 1}]
    found = read_set(write(tmp_path / "t", turns), write(tmp_path / "q", questions))
    assert found.turns[0].said_at == "2023-05-08T13:56:00"
    measured = measure(found, embedder=None)
    assert measured.recall[5] == 100.0 and measured.num_scored == 2
    assert measured.faults == {
        "turns whose id was there already, left out": 1,
        "turns without a time": 1,
        "turns without id or text, left out": 1,
        "lines that are no JSON object": 2,
        "questions without text, left out": 2,
        "evidence ids that are no turn": 2,
        "questions without evidence, left out": 1,
    }


def test_a_long_turn_counts_once_however_many_passages_it_has(tmp_path: Path) -> None:
    turns = [turn("t1", "The green boat sails far. " * 60), turn("t2", "A red boat.")]
    found = read_set(write(tmp_path / "t", turns), write(tmp_path / "q", [ask("boat?", ["t1", "t2"])]))
    assert measure(found, embedder=None).recall[5] == 100.0


def test_a_file_without_turns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no turn could be read"):
        read_set(write(tmp_path / "t", ["{}"]), write(tmp_path / "q", [ask("boat?", ["t1"])]))
    with pytest.raises(DataError, match="cannot be read"):
        read_set(tmp_path / "absent", tmp_path / "absent")
