"""`duologue feedback` and the terminal's likes, from a chat to a file of pairs."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from duologue.chat import Sessions
from duologue.cli import feedback, places
from duologue.cli.chat_commands import COMMANDS
from duologue.cli.erasing import erase_user
from duologue.errors import ConfigError, DataError
from duologue.messages import Message

TOML = '[model]\nbase = "fake"\n[data]\ntrain = ["x.json"]\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(places.DATABASE_VARIABLE, raising=False)
    made = tmp_path / "home" / "mara"
    made.mkdir(parents=True)
    (made / "duologue.toml").write_text(TOML)
    return made


@pytest.fixture
def sessions(folder: Path) -> Any:
    opened = Sessions.open(folder / "chats.sqlite")
    session_id = opened.create(character="mara")
    asked = opened.append(session_id, Message("user", "Is the kettle on?"))
    reply = opened.append(
        session_id, Message("assistant", "It is on the stove."), finish_reason="stop", is_generated=True
    )
    opened.edit(reply, "It is singing on the stove.")
    opened.append(session_id, Message("user", "And the cups?"))
    liked = opened.append(session_id, Message("assistant", "On the shelf."), finish_reason="stop", is_generated=True)
    opened.marks.set_opinion(liked, True)
    assert (asked, reply, liked) == (1, 2, 4)
    yield opened
    opened.close()


def listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    feedback.list_command(folder, is_json=True)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_nothing_is_listed_before_consent_and_nothing_after_it_was_refused(folder, sessions, capsys):
    assert listed(folder, capsys)["feedback"] == []
    feedback.consent(folder, "1", give=True)
    capsys.readouterr()

    after = listed(folder, capsys)
    feedback.consent(folder, "1", refuse=True)
    assert "may not learn" in capsys.readouterr().out

    assert [(piece["number"], piece["kind"], piece["source"]) for piece in after["feedback"]] == [
        (1, "edit", "edit 2"),
        (2, "like", "like 4"),
    ]
    assert after["account"] == {
        "chats": {"given": 1},
        "used": {"edit": 1, "like": 1},
        "dropped": {},
        "num_merged": 0,
    }
    last = listed(folder, capsys)
    assert (last["feedback"], last["account"]["chats"]) == ([], {"refused": 1})


def test_a_piece_is_shown_with_its_differences_and_removed_by_its_number(folder, sessions, capsys):
    feedback.consent(folder, "1", give=True)
    feedback.show(folder, 1)
    shown = capsys.readouterr().out
    assert "better: It is singing on the stove." in shown
    assert "worse: It is on the stove." in shown

    feedback.remove(folder, 1)
    capsys.readouterr()

    after = listed(folder, capsys)
    assert [piece["source"] for piece in after["feedback"]] == ["like 4"]
    assert after["account"]["dropped"] == {"left_out": 1}
    with pytest.raises(DataError, match="a number from 1 to 1"):
        feedback.show(folder, 2)


def test_files_hold_everything_or_trls_pairs(folder, sessions, capsys, tmp_path):
    feedback.consent(folder, "1", give=True)
    ours, trl = tmp_path / "ours.jsonl", tmp_path / "trl.jsonl"
    feedback.export(folder, ours)
    feedback.export(folder, trl, file_format="trl")

    rows = [json.loads(line) for line in ours.read_text().splitlines()]
    assert [row["kind"] for row in rows] == ["edit", "like"]
    assert json.loads(trl.read_text()) == {
        "prompt": [{"role": "user", "content": "Is the kettle on?"}],
        "chosen": [{"role": "assistant", "content": "It is singing on the stove."}],
        "rejected": [{"role": "assistant", "content": "It is on the stove."}],
    }
    assert "1 single likes have no place" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="duologue or trl"):
        feedback.export(folder, ours, file_format="csv")


def test_consent_is_for_the_terminals_own_chats(folder, sessions):
    others = sessions.create(character="mara", user="a-1")
    with pytest.raises(DataError, match="no chat"):
        feedback.consent(folder, others, give=True)
    assert sessions.marks.consent(others).state == ""
    with pytest.raises(ConfigError, match="one of them"):
        feedback.consent(folder, "1", give=True, refuse=True)


def test_the_terminal_likes_takes_back_and_consents(folder, sessions, capsys):
    class Chat:
        """The parts of a terminal chat that the commands use, around the real store."""

        session_id = sessions.list_sessions(character="mara")[0].id
        bot = type("Bot", (), {"sessions": sessions})
        out = feedback.Output(is_json=False)

        def path(self):
            return sessions.path(self.session_id)

        def message(self, text):
            return self.path()[int(text) - 1]

    chat: Any = Chat()
    COMMANDS["/dislike"].run(chat, "")
    assert "/consent give" in capsys.readouterr().out
    COMMANDS["/like"].run(chat, "2")
    COMMANDS["/dislike"].run(chat, "")
    said = capsys.readouterr().out
    assert "/consent give" not in said  # asked once
    assert sessions.marks.opinions(chat.session_id) == {2: True}
    assert sessions.marks.consent(chat.session_id).state == "asked"
    with pytest.raises(ConfigError, match="no reply"):
        COMMANDS["/like"].run(chat, "1")

    COMMANDS["/consent"].run(chat, "give")

    assert sessions.marks.consent(chat.session_id).state == "given"


def test_erasing_an_account_leaves_no_byte_of_its_feedback(folder, sessions):
    sessions.edit(2, "It hums.")
    sessions.close()
    erase_user(folder.parent, "local")

    files = [path.read_bytes() for path in folder.glob("chats.sqlite*")]
    assert not any(text in each for each in files for text in (b"on the stove", b"It hums", b"On the shelf"))
    database = sqlite3.connect(folder / "chats.sqlite")
    tables = ("opinions", "originals", "picks", "consents", "feedback_left_out")
    assert [database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables] == [0] * 5
    database.close()
