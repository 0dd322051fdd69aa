"""`duologue data check` against expectations that were written down from the promises before the program was run."""

import json
import re
from pathlib import Path

import pytest

from duologue.cli import data as cli_data
from duologue.cli.output import Output
from duologue.data import load_files, load_settings
from duologue.data.found import FILE_REFUSED, ROW_DROPPED
from tests.data.examined import ANY, Case, Place, good, lines
from tests.data.examined_files import FILES
from tests.data.examined_formats import FORMATS
from tests.data.examined_logs import LOGS
from tests.data.examined_rows import ROWS
from tests.flows.command_line import CommandLine

CASES = (*FILES, *ROWS, *FORMATS, *LOGS)


@pytest.fixture(scope="module")
def tokenizer():
    """The bundled model's, opened once."""
    return cli_data.open_tokenizer("bundled:smollm2-135m", Output(is_json=True))


@pytest.fixture
def check(monkeypatch, capfd, tokenizer):
    """`duologue data check ... --json`, run in this process."""
    monkeypatch.setattr(cli_data, "open_tokenizer", lambda _base, _out: tokenizer)
    duologue = CommandLine(monkeypatch, capfd)
    return lambda *arguments: duologue("data", "check", *arguments, "--json")


def test_every_file_is_examined_once():
    assert len({case.name for case in CASES}) == len(CASES) >= 230


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_gives_what_a_careful_reader_expects(check, tmp_path, case: Case):
    path = tmp_path / case.name
    if callable(case.content):
        case.content(path)
    else:
        path.write_bytes(case.content)
    ended = check(path, *case.arguments)
    document = json.loads(ended.out, parse_constant=pytest.fail)
    [account] = document["files"]
    faults = account["faults"]
    refused = [fault for fault in faults if fault["action"] in (FILE_REFUSED, ROW_DROPPED)]
    assert "Traceback" not in ended.err
    assert ended.exit_code == exit_code_of(case, is_any_refused=bool(refused)), faults
    assert account["num_rows"] == account["num_loaded"] + account["num_dropped"]
    assert all(any(fits(place, fault) for fault in refused) for place in case.refused), faults
    if all(row is not ANY for row, _, _ in case.refused) and (case.refused or not case.is_loud):
        assert len(refused) == len(case.refused), faults
    assert all(any(fits(place, fault) for fault in faults) for place in case.noted), faults
    assert not (case.is_clean and faults), faults
    assert faults or not case.is_loud, "silent"
    assert case.rows in (None, (account["num_rows"], account["num_loaded"], account["num_dropped"])), account
    assert case.turns in (None, document["num_turns"])
    assert case.conversations in (None, document["num_conversations"])
    assert case.format in account["format"]
    if case.texts or case.absent:
        learned = learned_from(path, case.arguments)
        assert all(text in learned for text in case.texts), learned
        assert not any(text in learned for text in case.absent), learned


def exit_code_of(case: Case, *, is_any_refused: bool) -> int:
    """Return what the case demands; where it leaves that open, 3 exactly if something was refused."""
    if case.exit_code is not None:
        return case.exit_code
    if case.is_loud and not case.refused:
        return 3 if is_any_refused else 0
    return 3 if case.refused and "--lenient" not in case.arguments else 0


def fits(place: Place, fault: dict[str, object]) -> bool:
    """Whether a fault is at a place and says what it should."""
    row, field, pattern = place
    is_there = row in (ANY, fault["row"]) and field in (ANY, fault["field"])
    return is_there and re.search(pattern, f"{fault['reason']} {fault['action']}") is not None


def learned_from(path: Path, arguments: tuple[str, ...]) -> str:
    """Return the texts of all conversations of a file."""
    names = dict(zip(arguments[::2], arguments[1::2], strict=False))
    config, folder = cli_data.config_for(
        [path],
        user_names=[names["--me"]] if "--me" in names else None,
        character_names=[names["--as"]] if "--as" in names else None,
        base="",
    )
    loaded = load_files([path], settings=load_settings(config, folder))
    return "\n".join(message.content for found in loaded.conversations for message in found.messages)


def test_one_bad_file_among_three_does_not_hide_the_others(check, tmp_path):
    for name, content in (("a.jsonl", lines(good(0))), ("b.json", b"[{]"), ("c.jsonl", lines(good(1)))):
        (tmp_path / name).write_bytes(content)
    ended = check(tmp_path / "a.jsonl", tmp_path / "b.json", tmp_path / "gone.json", tmp_path / "c.jsonl")
    assert ended.exit_code == 3
    assert [file["num_loaded"] for file in ended.json["files"]] == [1, 0, 0, 1]
    assert [bool(file["faults"]) for file in ended.json["files"]] == [False, True, True, False]


def test_the_same_file_twice_is_used_once(check, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines(good(0), good(1)))
    ended = check(tmp_path / "a.jsonl", tmp_path / "a.jsonl")
    assert ended.exit_code == 0
    assert [(file["num_loaded"], file["num_dropped"]) for file in ended.json["files"]] == [(2, 0), (0, 2)]
    assert ended.json["duplicates"]["exact"] == 2 and ended.json["num_conversations"] == 2


def test_a_command_that_ends_before_the_files_are_read_names_them_all_the_same(check, tmp_path):
    (tmp_path / "duologue.toml").write_text("[model\n")
    (tmp_path / "a.jsonl").write_bytes(lines(good(0)))
    ended = check(tmp_path / "a.jsonl")
    assert ended.exit_code == 2
    [file] = ended.json["files"]
    [fault] = file["faults"]
    assert file["num_loaded"] == 0 and "not TOML" in fault["reason"] and fault["action"] == "file not counted"
    assert ended.json["error"]["kind"] == "config"


def test_people_see_what_was_refused_before_what_was_only_noticed(monkeypatch, capfd, tmp_path, tokenizer):
    monkeypatch.setattr(cli_data, "open_tokenizer", lambda _base, _out: tokenizer)
    rows = [
        {"messages": [{"role": "User", "content": f"Box {n}?"}, {"role": "assistant", "content": f"Shell {n}."}]}
        for n in range(60)
    ]
    (tmp_path / "a.jsonl").write_bytes(lines(*rows, "{oops"))
    ended = CommandLine(monkeypatch, capfd)("data", "check", tmp_path / "a.jsonl")
    assert ended.exit_code == 3
    assert ended.out.index("a.jsonl:61") < ended.out.index("a.jsonl:1:")
