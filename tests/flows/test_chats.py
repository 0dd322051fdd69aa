"""`duologue chats`: chats are found, read, moved between programs and tidied up."""

import json
from pathlib import Path

import pytest

from duologue.chat import Sessions
from duologue.memory import MemoryStore
from duologue.messages import Message
from tests.flows.command_line import CommandLine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A character with two chats, the newer one about a lantern."""
    made = tmp_path / "nyx"
    made.mkdir()
    (made / "duologue.toml").write_text(
        '[model]\nbase = "bundled:smollm2-135m"\n[data]\ntrain = ["*.jsonl"]\n[character]\nuser_name = "Ana"\n'
    )
    sessions = Sessions.open(made / "chats.sqlite")
    for text in ("Is the ferry late?", "The lanterns are swaying"):
        session_id = sessions.create(character="nyx")
        sessions.append(session_id, Message("user", text))
        sessions.append(session_id, Message("assistant", f"You said: {text}"))
    sessions.close()
    return made


def test_chats_are_listed_searched_and_shown(duologue: CommandLine, folder: Path) -> None:
    listed = duologue("chats", "list", folder, "--json")
    assert listed.exit_code == 0, listed.err
    assert [(chat["number"], chat["title"]) for chat in listed.json["chats"]] == [
        (1, "The lanterns are swaying"),
        (2, "Is the ferry late?"),
    ]
    found = duologue("chats", "search", folder, "lantern", "--json").json["hits"]
    assert {hit["number"] for hit in found} == {1}
    assert all(hit["snippet"][slice(*hit["matches"][0])] == "lanterns" for hit in found)
    shown = duologue("chats", "show", folder, "2").out
    assert "Ana: Is the ferry late?" in shown
    assert "Nyx: You said: Is the ferry late?" in shown
    assert "nothing was found" in duologue("chats", "search", folder, "submarine").out


def test_a_chat_moves_to_another_program_and_back(duologue: CommandLine, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "lantern.jsonl"
    wrote = duologue("chats", "export", folder, "1", file, "--json")
    assert (wrote.exit_code, wrote.json["format"], wrote.json["notes"]) == (0, "sillytavern", [])
    assert [json.loads(line)["mes"] for line in file.read_text().split("\n")[1:]] == [
        "The lanterns are swaying",
        "You said: The lanterns are swaying",
    ]
    read = duologue("chats", "import", folder, file, "--json")
    assert read.exit_code == 0, read.err
    assert read.json["files"][0]["num_messages"] == 2
    assert len(duologue("chats", "list", folder, "--json").json["chats"]) == 3
    rows = tmp_path / "rows.jsonl"
    assert duologue("chats", "export", folder, "all", rows, "--format", "messages", "--json").json["num_chats"] == 3
    assert len(rows.read_text().splitlines()) == 3


def test_a_faulty_file_among_good_ones_stores_nothing(duologue: CommandLine, folder: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.json"
    good.write_text("Ana: Hello\nNyx: Good evening\n")
    bad.write_text('{"internal": [["only one"]]}')
    ended = duologue("chats", "import", folder, good, bad)
    assert ended.exit_code == 3
    assert "bad.json:1: internal[0]: found 1 items; expected a pair of texts" in ended.err
    assert len(duologue("chats", "list", folder, "--json").json["chats"]) == 2


def test_titles_and_tags_are_set_and_found(duologue: CommandLine, folder: Path) -> None:
    duologue("chats", "rename", folder, "2", "Ferry talk")
    duologue("chats", "tag", folder, "2", "harbour", "rain")
    [chat] = duologue("chats", "list", folder, "--tag", "rain", "--json").json["chats"]
    assert (chat["number"], chat["title"], chat["tags"]) == (2, "Ferry talk", ["harbour", "rain"])
    duologue("chats", "tag", folder, "2")
    assert duologue("chats", "list", folder, "--tag", "rain", "--json").json["chats"] == []


def test_a_deleted_message_comes_back_and_an_erased_one_does_not(duologue: CommandLine, folder: Path) -> None:
    first, second = duologue("chats", "show", folder, "1", "--json").json["messages"]
    assert duologue("chats", "delete", folder, "1", "--message", first["id"], "--json").json["deleted_messages"] == [
        first["id"],
        second["id"],
    ]
    assert duologue("chats", "show", folder, "1", "--json").json["messages"] == []
    assert duologue("chats", "undo", folder, "1", "--json").json == {"undone": "delete"}
    assert len(duologue("chats", "show", folder, "1", "--json").json["messages"]) == 2
    refused = duologue("chats", "delete", folder, "1", "--message", second["id"], "--for-good", "--json")
    assert (refused.exit_code, "--yes" in refused.json["error"]["message"]) == (2, True)
    duologue("chats", "delete", folder, "1", "--message", second["id"], "--for-good", "--yes")
    assert duologue("chats", "undo", folder, "1", "--json").json == {"undone": None}
    assert b"You said: The lanterns" not in (folder / "chats.sqlite").read_bytes()


def test_a_deleted_chat_leaves_no_byte_in_chats_memories_and_backups(duologue: CommandLine, folder: Path) -> None:
    MemoryStore.open(folder / "memory.sqlite").close()
    duologue("chats", "list", folder)  # opened again: there is a backup now
    assert list((folder / "backups").glob("chats-*.sqlite"))
    ended = duologue("chats", "delete", folder, "1", "--yes", "--json")
    assert ended.exit_code == 0, ended.err
    for file in folder.rglob("*"):
        assert file.is_dir() or b"lanterns" not in file.read_bytes(), file
    assert [chat["title"] for chat in duologue("chats", "list", folder, "--json").json["chats"]] == [
        "Is the ferry late?"
    ]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        (["show", "FOLDER", "9"], 3, "there is no chat '9'; expected a number from 1 to 2"),
        (["export", "FOLDER", "1", "a.docx"], 2, "the ending of a.docx names no format"),
        (["export", "FOLDER", "all", "a.txt"], 2, "a file of text holds one chat"),
        (["delete", "FOLDER", "1", "--message", "99"], 3, "there is no message 99 in this chat"),
        (["import", "FOLDER", "nowhere.jsonl"], 3, "the file cannot be read"),
    ],
)
def test_what_is_not_there_is_named(
    duologue: CommandLine, folder: Path, arguments: list[str], exit_code: int, sentence: str
) -> None:
    ended = duologue("chats", *(folder if argument == "FOLDER" else argument for argument in arguments))
    assert ended.exit_code == exit_code
    assert sentence in ended.err


def test_a_damaged_file_is_restored_and_the_person_is_told(duologue: CommandLine, folder: Path) -> None:
    duologue("chats", "list", folder)
    path = folder / "chats.sqlite"
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 8192)
    ended = duologue("chats", "list", folder, "--json")
    assert [chat["title"] for chat in ended.json["chats"]] == ["The lanterns are swaying", "Is the ferry late?"]
    assert "restored from the backup of" in ended.err
    assert "chats.damaged-" in ended.err
