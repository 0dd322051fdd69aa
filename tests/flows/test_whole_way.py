"""The whole way through the command line: new, check, plan, train, eval, chat, memory, card, export."""

import json

import pytest
from safetensors import safe_open

from duologue.characters import LILA_FOLDER, lila_data_files
from tests.flows.command_line import start


def test_train_measures_and_leaves_report_and_adapter(duologue, folder):
    ended = duologue("train", folder, "--json")
    assert ended.exit_code == 0, ended.err
    document = ended.json
    assert document["training"]["num_steps"] == 6
    assert document["plan"]["verdict"] == "fits"
    assert document["evaluation"]["tuned_perplexity"] < document["evaluation"]["base_perplexity"]
    assert [row["prompt"] for row in document["evaluation"]["replies"]] == ["Hello."]
    [run] = (folder / "runs").glob("20*")
    assert (run / "report.html").read_text().startswith("<!doctype html>")
    assert json.loads((run / "evaluation.json").read_text()) == document["evaluation"]
    with safe_open(run / "adapter" / "adapter_model.safetensors", framework="np") as file:
        assert all(".lora_" in name for name in file.keys())  # noqa: SIM118 (not a dict)


def test_an_evaluation_can_be_repeated(duologue, folder):
    first = duologue("train", folder, "--json").json["evaluation"]
    again = duologue("eval", folder, "--suite", "quick", "--json")
    assert again.exit_code == 0, again.err
    assert again.json["tuned_perplexity"] == pytest.approx(first["tuned_perplexity"], rel=1e-6)
    assert again.json["replies"] == first["replies"]


def test_chat_streams_remembers_and_keeps_the_session(duologue, folder):
    duologue("train", folder, "--no-eval")
    first = duologue("chat", folder, "--message", "My cat is called Biscuit.", "--json")
    assert first.exit_code == 0, first.err
    assert first.json["finish_reason"] in ("stop", "length") and first.json["num_reply_tokens"] <= 8
    second = duologue("chat", folder, "--message", "What is my cat called?", "--json").json
    assert "My cat is called Biscuit." in second["recalled"], "another session recalls it"
    same = duologue("chat", folder, "--session", first.json["session"], "--message", "And again?", "--json").json
    assert same["session"] == first.json["session"]
    assert same["num_prompt_tokens"] > first.json["num_prompt_tokens"]


def test_memories_are_listed_searched_moved_and_forgotten(duologue, folder, tmp_path):
    duologue("chat", folder, "--engine", "fake", "--message", "My cat is called Biscuit.")
    lines = duologue("memory", "list", folder, "--json").json["lines"]
    [cat] = [
        line for line in lines if "Biscuit" in line["text"] and line["kind"] == "turn" and line["speaker"] == "user"
    ]
    found = duologue("memory", "search", folder, "what is the cat called", "--json").json["lines"]
    assert cat["id"] in [line["id"] for line in found]
    duologue("memory", "export", folder, tmp_path / "out.jsonl")
    ids = [line["id"] for line in lines]
    receipt = duologue("memory", "forget", folder, *ids, "--json").json
    assert receipt["num_forgotten"] == len(ids) and receipt["is_proved"]
    assert duologue("memory", "list", folder, "--json").json["lines"] == []
    assert b"Biscuit" not in (folder / "memory.sqlite").read_bytes()
    duologue("memory", "import", folder, tmp_path / "out.jsonl")
    texts = [line["text"] for line in duologue("memory", "list", folder, "--json").json["lines"]]
    assert sorted(texts) == sorted(line["text"] for line in lines)


def test_new_makes_a_folder_that_plans_and_checks(duologue, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = [argument for file in lila_data_files() for argument in ("--data", file)]
    made = duologue("new", "lila", *data, "--card", LILA_FOLDER / "character.png", "--json")
    assert made.exit_code == 0, made.err
    assert set(made.json["files"]) == {
        "character.png",
        "duologue.toml",
        "data/messages.json",
        "data/sharegpt.json",
        "data/alpaca.json",
    }
    plan = duologue("plan", "lila", "--json")
    assert plan.exit_code == 0, plan.err
    assert plan.json["verdict"] in ("fits", "tight", "no") and plan.json["notes"]
    again = duologue("new", "lila")
    assert again.exit_code == 2 and "exists already" in again.err


def test_the_original_recipes_are_planned_for_named_cards(duologue):
    verdicts = {
        (recipe, card): duologue("plan", "--recipe", recipe, "--gpu", card, "--json").json["verdict"]
        for recipe in ("original", "optimized")
        for card in ("RTX 4090 24GB", "A100 SXM4 80GB")
    }
    assert verdicts["original", "RTX 4090 24GB"] == "no"
    assert verdicts["original", "A100 SXM4 80GB"] == "fits"
    assert verdicts["optimized", "A100 SXM4 80GB"] == "fits"


def test_doctor_tells_machine_and_recipes(duologue):
    ended = duologue("doctor", "--json")
    assert ended.exit_code == 0, ended.err
    assert ended.json["hardware"]["num_cores"] >= 1
    assert {"quickstart", "original", "optimized", "best-24gb"} <= set(ended.json["recipes"])
    assert ended.json["versions"]["torch"].startswith("2.13.0")


def test_a_card_is_shown_and_converted(duologue, tmp_path):
    shown = duologue("card", "show", LILA_FOLDER / "character.png", "--json")
    assert shown.json["data"]["name"] == "Lila Quill"
    duologue("card", "convert", LILA_FOLDER / "character.png", tmp_path / "lila.json")
    assert duologue("card", "show", tmp_path / "lila.json", "--json").json["data"]["name"] == "Lila Quill"


def test_a_merged_export_is_checked_and_can_be_talked_to(duologue, folder):
    duologue("train", folder, "--no-eval")
    ended = duologue("export", "merged", folder, "--set", 'export.dtype="float32"', "--json")
    assert ended.exit_code == 0, ended.err
    assert ended.json["parity"]["mean_kl_nats"] < 1e-6
    assert ended.json["parity"]["greedy_agreement"] == 1.0
    assert ended.json["parity"]["ids_equal"]
    assert ended.json["parity"]["stops"]
    merged = ended.json["path"]
    reply = duologue("chat", folder, "--set", f'model.base="{merged}"', "--message", "Hello.", "--json")
    assert reply.exit_code == 0, reply.err


def test_the_terminal_chat_knows_its_commands(folder):
    process = start("chat", folder, "--engine", "fake", cwd=folder.parent)
    lines = "Hello there.|/recalled|/history|/sessions|/new|/open 2|/open 99|/nonsense||/regenerate|/help|/quit|"
    said = lines.replace("|", "\n")
    out, err = process.communicate(said, timeout=60)
    assert process.returncode == 0, err
    for expected in (
        "Good evening, User.",
        "Hello there.",
        "nothing was recalled",
        "unknown command /nonsense",
        "expected a number as /sessions shows it",
        "the same as /swipe",
        "empty",
    ):
        assert expected in out, expected
