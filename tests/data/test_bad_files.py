"""`duologue data check` on broken and odd files: the exit code, and every entry with row, field and action."""

import json
import os
import time
from threading import Thread

import pytest

from duologue.cli import data as cli_data
from duologue.cli.output import Output
from tests.data.bad_files import REFUSED, BadFile, lines, talk
from tests.data.bad_rows import BAD_ROWS
from tests.data.broken_files import BROKEN_JSON, ODD_FILES
from tests.flows.command_line import CommandLine

CORPUS = (*BROKEN_JSON, *ODD_FILES, *BAD_ROWS)


@pytest.fixture(scope="module")
def tokenizer():
    """The bundled model's, opened once."""
    return cli_data.open_tokenizer("bundled:smollm2-135m", Output(is_json=True))


@pytest.fixture
def check(monkeypatch, capfd, tokenizer):
    """`duologue data check FILE --json`, run in this process."""
    monkeypatch.setattr(cli_data, "open_tokenizer", lambda _base, _out: tokenizer)
    duologue = CommandLine(monkeypatch, capfd)
    return lambda path, *options: duologue("data", "check", path, *options, "--json")


def test_the_corpus_is_large_and_names_each_file_once():
    assert len(CORPUS) >= 90
    assert len({file.name for file in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("bad_file", CORPUS, ids=lambda file: file.name)
def test_a_bad_file_is_told_row_by_row_and_nothing_is_silent(check, tmp_path, bad_file: BadFile):
    path = tmp_path / bad_file.name
    path.write_bytes(bad_file.content)
    ended = check(path)
    [account] = ended.json["files"]
    found = [(fault["row"], fault["field"], fault["action"]) for fault in account["faults"]]
    assert found == [(fault.row, fault.field, fault.action) for fault in bad_file.faults], account["faults"]
    for fault, expected in zip(account["faults"], bad_file.faults, strict=True):
        assert expected.reason in fault["reason"]
    assert ended.exit_code == bad_file.exit_code
    assert account["num_loaded"] == bad_file.num_loaded
    assert account["num_rows"] == account["num_loaded"] + account["num_dropped"]


def test_lenient_drops_and_counts_instead(check, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(lines(talk(1), "{", talk(2)))
    ended = check(path, "--lenient")
    assert ended.exit_code == 0
    assert (ended.json["files"][0]["num_loaded"], ended.json["files"][0]["num_dropped"]) == (2, 1)


def test_what_is_no_file_is_refused(check, tmp_path):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "gone.json")
    os.mkfifo(tmp_path / "pipe.json")
    reasons = {
        "folder.json": "this is a folder",
        "link.json": "which is not there",
        "pipe.json": "this is a pipe",
        "nothing.json": "there is no such file",
        "x" * 300 + ".json": "the name of the file is too long",
    }
    for name, reason in reasons.items():
        ended = check(tmp_path / name)
        assert ended.exit_code == 3, name
        [fault] = ended.json["files"][0]["faults"]
        assert (fault["row"], fault["field"], fault["action"]) == (0, "", REFUSED)
        assert reason in fault["reason"]


def test_a_file_that_changes_while_it_is_read_is_refused(check, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(lines(*(talk(n) for n in range(800))))
    is_done = False

    def write_on():
        while not is_done:
            with path.open("a") as out:
                out.write(json.dumps(talk(9999)) + "\n")
            time.sleep(0.001)

    writer = Thread(target=write_on)
    writer.start()
    try:
        ended = check(path)
    finally:
        is_done = True
        writer.join()
    assert ended.exit_code == 3
    reasons = [fault["reason"] for fault in ended.json["files"][0]["faults"] if fault["action"] == REFUSED]
    assert any("the file changed while it was read" in reason for reason in reasons)
