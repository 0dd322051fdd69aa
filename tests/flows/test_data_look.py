"""`data show` and `data stats` through the command line."""

import json

import pytest

from duologue.characters import lila_data_files

ROLES = ("user", "assistant")


@pytest.fixture
def talk(tmp_path):
    path = tmp_path / "talk.jsonl"
    rows = [
        [
            ("Is the night train late?", "Four minutes early, passenger."),
            ("And the [red] one?", "It waits. 🚂\x1b[31m"),
        ],
        [(f"Turn {n}?", "word " * 40 + f"{n}.") for n in range(12)],
    ]
    lines = [
        json.dumps({"messages": [{"role": r, "content": t} for turn in one for r, t in zip(ROLES, turn, strict=True)]})
        for one in rows
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_show_prints_what_is_trained_in_brackets_with_its_end_token(duologue, talk):
    ended = duologue("data", "show", talk, "--row", 1)
    assert ended.exit_code == 0, ended.err
    assert "⟦Four minutes early, passenger.<|im_end|>⟧" in ended.out
    assert "<|im_start|>user↵\nAnd the [red] one?<|im_end|>" in ended.out
    assert "\x1b" not in ended.out and ended.out.count("⟦") == 1 + 2


def test_show_as_json_has_every_token(duologue, talk):
    ended = duologue("data", "show", talk, "--json")
    found, other = ended.json["conversations"]
    [example] = found["examples"]
    tokens = [token for message in example["messages"] for token in message["tokens"]]
    trained = [token for token in tokens if token["state"] == "trained"]
    assert sum(len(token["ids"]) for token in tokens) == example["num_tokens"]
    assert sum(len(token["ids"]) for token in trained) == example["num_trained_tokens"] == found["num_trained_tokens"]
    assert [message["place"] for message in example["messages"]] == [None, 0, 1, 2, 3]
    checked = duologue("data", "check", talk, "--json").json
    assert found["num_trained_tokens"] + other["num_trained_tokens"] == checked["num_trained_tokens"]


@pytest.mark.parametrize(("mode", "num_examples"), [("truncate", 1), ("drop", 0)])
def test_show_marks_what_is_cut(duologue, talk, mode, num_examples):
    options = ("--row", 2, "--max-length", 256, "--long-conversations", mode)
    ended = duologue("data", "show", talk, *options)
    assert ended.exit_code == 0, ended.err
    assert "tokens that are in no example" in ended.out and "⟪<|im_start|>" in ended.out
    [found] = duologue("data", "show", talk, *options, "--json").json["conversations"]
    assert len(found["examples"]) == num_examples and found["num_cut_tokens"] > 0


def test_show_says_where_each_window_begins_and_what_it_repeats(duologue, talk):
    ended = duologue("data", "show", talk, "--row", 2, "--max-length", 256)
    assert "example 2 of" in ended.out and "repeated as context" in ended.out
    assert "0 cut (0%)" in " ".join(ended.out.split())


def test_show_writes_a_page(duologue, talk, tmp_path):
    page = tmp_path / "page.html"
    assert duologue("data", "show", talk, "--html", page).exit_code == 0
    assert "Four minutes early, passenger." not in page.read_text(encoding="utf-8")  # one element for each token
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    ended = duologue("data", "show", talk, "--html", tmp_path)
    assert ended.exit_code == 3 and "this is a folder" in ended.err


def test_a_row_that_was_dropped_is_explained(duologue, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps([{"instruction": "q", "output": "a"}, {"nothing": 1}]))
    ended = duologue("data", "show", path, "--row", 2)
    assert ended.exit_code == 3 and "row 2 is not used" in ended.err and "unknown format" in ended.err


def test_the_settings_are_those_of_the_folder_and_its_files_are_the_default(duologue, folder):
    ended = duologue("data", "show", "--folder", folder, "--num", 1, "--json")
    assert ended.exit_code == 0, ended.err
    assert ended.json["max_length_tokens"] == 128 and ended.json["num_conversations"] == 20
    system = ended.json["conversations"][0]["examples"][0]["messages"][0]
    assert "You are Ada Bell." in "".join(token["text"] for token in system["tokens"])
    checked = duologue("data", "check", folder / "data" / "a.json", "--json").json
    stats = duologue("data", "stats", "--folder", folder, "--json").json
    assert stats["splits"] == checked["splits"] and stats["tokenizer"] == checked["tokenizer"]


def test_neither_files_nor_a_folder_is_a_fault_of_usage(duologue, tmp_path):
    assert duologue("data", "show").exit_code == 2
    ended = duologue("data", "stats", "--folder", tmp_path)
    assert ended.exit_code == 2 and "duologue.toml" in ended.err


def test_stats_agree_with_check_and_draw_bars(duologue, tmp_path):
    files = lila_data_files()
    checked = duologue("data", "check", *files, "--json").json
    stats = duologue("data", "stats", *files, "--json").json
    for key in ("num_conversations", "num_turns", "num_tokens", "num_trained_tokens", "splits", "duplicates"):
        assert stats[key] == checked[key]
    assert sum(one["count"] for one in stats["conversation_tokens"]["bins"]) == stats["num_conversations"]
    assert stats["languages"].get("en", 0) > 0.9 * stats["num_conversations"]
    assert [one["max_length_tokens"] for one in stats["lengths"]] == [512, 1024, 2048, 4096]
    page = tmp_path / "stats.html"
    ended = duologue("data", "stats", *files, "--html", page)
    assert ended.exit_code == 0 and "█" in ended.out and "*1,024" in ended.out
    assert page.read_text(encoding="utf-8").count("<section>") == 6
