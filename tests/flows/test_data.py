"""Data through the command line: check, new, and a second run that comes from the cache."""

import json
import os
import pty
import time

import pytest

from duologue.characters import lila_data_files
from tests.flows.command_line import start

LOG = """01.03.26, 20:01 - Ben: Are you on the night train?
01.03.26, 20:02 - Ada: I drive it.
01.03.26, 20:03 - Ben: How late is it?
01.03.26, 20:04 - Ada: Four minutes early, passenger.
"""


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "WhatsApp Chat with Ada.txt"
    path.write_text(LOG, encoding="utf-8")
    return path


def write(path, rows):
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_check_gives_the_account_and_its_tokens_add_up(duologue):
    ended = duologue("data", "check", *lila_data_files(), "--json")
    assert ended.exit_code == 0, ended.err
    account = ended.json
    assert account["num_turns"] >= 600
    assert [file["format"] for file in account["files"]] == ["messages", "sharegpt", "alpaca"]
    assert all(file["num_rows"] == file["num_loaded"] + file["num_dropped"] for file in account["files"])
    parts = [account[f"num_{kind}_tokens"] for kind in ("trained", "context", "padding")]
    assert account["num_tokens"] == sum(parts) > 0 and parts[0] > 0
    assert account["tokens_are_estimated"] is False and account["tokenizer"] == "bundled:smollm2-135m"
    assert account["splits"]["train"] + account["splits"]["validation"] == account["num_conversations"]


def test_check_exits_with_3_when_a_row_or_a_file_was_refused_and_lists_all_faults(duologue, tmp_path):
    bad = write(tmp_path / "bad.json", [{"instruction": "q", "output": "a"}, {"nothing": 1}])
    ended = duologue("data", "check", bad, tmp_path / "missing.json")
    assert ended.exit_code == 3
    printed = " ".join(ended.out.split())
    assert "bad.json:2: unknown format" in printed and "missing.json: there is no such file" in printed
    assert duologue("data", "check", bad, "--lenient").exit_code == 0
    faults = duologue("data", "check", bad, "--lenient", "--json").json["files"][0]["faults"]
    assert [(fault["row"], fault["action"]) for fault in faults] == [(2, "row dropped")]


def test_only_the_first_fifty_faults_are_printed(duologue, tmp_path):
    ended = duologue("data", "check", write(tmp_path / "bad.json", [{"nothing": n} for n in range(60)]))
    assert ended.exit_code == 3
    assert ended.out.count("bad.json:") == 50 and "and 10 more; --json lists them all" in ended.out


@pytest.mark.offline
def test_tokens_are_estimated_when_the_tokenizer_cannot_be_opened(duologue, tmp_path):
    good = write(
        tmp_path / "good.json", [{"instruction": "q", "output": "a" * 420}, {"instruction": "r", "output": "b"}]
    )
    ended = duologue("data", "check", good, "--base", "nobody/nothing", "--json")
    assert ended.exit_code == 0
    assert ended.json["tokens_are_estimated"] is True and 100 < ended.json["num_tokens"] < 200
    assert "estimated" in ended.err


def test_a_long_conversation_that_is_cut_is_in_the_account(duologue, tmp_path):
    talk = [{"role": role, "content": f"{n} " + "word " * 60} for n in range(40) for role in ("user", "assistant")]
    huge = [{"role": "user", "content": "Tell me."}, {"role": "assistant", "content": "word " * 3000}]
    ended = duologue("data", "check", write(tmp_path / "a.json", [{"messages": talk}, {"messages": huge}]), "--json")
    assert ended.exit_code == 0
    [file] = ended.json["files"]
    assert any(f["row"] == 1 and f["action"].startswith("cut into") for f in file["faults"])
    assert any(f["row"] == 2 and f["action"] == "left out" for f in file["faults"])
    assert (file["num_rows"], file["num_loaded"], file["num_dropped"]) == (2, 1, 1)
    assert sum(file["dropped"].values()) == 1 and ended.json["num_conversations"] == 1


def test_check_takes_the_settings_of_the_folder_the_files_lie_in(duologue, folder):
    ended = duologue("data", "check", folder / "data" / "a.json", "--json")
    assert ended.json["tokenizer"] != "bundled:smollm2-135m"
    assert ended.json["splits"]["validation"] > 0


def test_a_chat_log_without_names_is_refused_with_them_and_read_with_me_or_as(duologue, log):
    ended = duologue("data", "check", log, "--json")
    assert ended.exit_code == 3
    [fault] = [f for f in ended.json["files"][0]["faults"] if f["action"] in ("file refused", "row dropped")]
    assert "Ada" in fault["reason"] and "Ben" in fault["reason"]
    for option in (["--me", "Ben"], ["--as", "Ada"]):
        ended = duologue("data", "check", log, *option, "--json")
        assert ended.exit_code == 0, ended.out
        assert (ended.json["num_turns"], ended.json["files"][0]["num_loaded"]) == (2, 4)


def test_at_a_terminal_it_is_asked_who_is_who(log):
    ours, theirs = pty.openpty()
    process = start("data", "check", log, "--base", "nobody/nothing", cwd=log.parent, terminal=theirs)
    os.close(theirs)
    shown = ""
    deadline = time.monotonic() + 60
    while "Number" not in shown and time.monotonic() < deadline:
        shown += os.read(ours, 1000).decode()
    number = next(line.split()[0] for line in shown.splitlines() if "Ada (2 messages)" in line)
    os.write(ours, f"9\n{number}\n".encode())
    try:
        while part := os.read(ours, 1000):
            shown += part.decode()
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0, shown
    assert "Who is the character?" in shown and "2 replies by the character" in shown


def test_new_copies_the_files_and_writes_who_is_who(duologue, log, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = duologue("new", "ada", "--data", log, "--me", 'Ben "B"', "--as", "Ada", "--json")
    assert made.exit_code == 0, made.err
    assert f"data/{log.name}" in made.json["files"]
    plan = duologue("plan", "ada", "--set", 'data.user_names=["Ben"]', "--json")
    assert plan.exit_code == 0, plan.err
    text = (tmp_path / "ada" / "duologue.toml").read_text(encoding="utf-8")
    assert 'user_names = ["Ben \\"B\\""]' in text and 'character_names = ["Ada"]' in text
    twice = duologue("new", "eve", "--data", log, "--data", log)
    assert twice.exit_code == 2 and "two data files" in twice.err


def test_a_second_run_comes_from_the_cache_and_a_damaged_cache_is_made_again(duologue, folder):
    arguments = ("train", folder, "--no-eval", "--set", "training.max_steps=1", "--json")
    first = duologue(*arguments)
    assert first.exit_code == 0, first.err
    [entry] = entries(folder)
    written = (entry / "train.examples").stat().st_mtime_ns
    assert duologue(*arguments).exit_code == 0
    assert (entry / "train.examples").stat().st_mtime_ns == written
    (entry / "train.examples").write_bytes((entry / "train.examples").read_bytes()[:-1])
    again = duologue(*arguments)
    assert again.exit_code == 0 and "is damaged" in again.err and "made again" in again.err
    ledgers = [json.loads(path.read_text()) for path in sorted((folder / "runs").glob("20*/data.json"))]
    assert ledgers[0] == ledgers[1] == ledgers[2]
    rows = json.loads((folder / "data" / "a.json").read_text())
    write(folder / "data" / "a.json", [*rows, {"instruction": "One more?", "output": "One more, passenger."}])
    assert duologue(*arguments).exit_code == 0
    assert len(entries(folder)) == 2


def entries(folder):
    """The prepared data in the cache; the file of counts stands beside it."""
    return [path for path in (folder / "runs" / ".cache").iterdir() if path.is_dir()]
