"""`duologue account`: what it says, what it refuses, and where the password comes from."""

import contextlib
import json
import os
import pty
import subprocess
import sys
import threading

import pytest
from typer.testing import CliRunner

from duologue.chat import People, Person, Sessions, duels, open_bot
from duologue.cli.app import make_app
from duologue.config import load_config
from duologue.errors import ConfigError, GuardError
from duologue.memory import MemoryStore, Scope
from tests.serve.door.people import PASSWORD
from tests.serve.page.homes import make_character


@pytest.fixture
def home(tmp_path):
    return str(tmp_path)


def run(*arguments: str, stdin: str = ""):
    return CliRunner().invoke(make_app("account"), ["account", *arguments], input=stdin)


def made(home: str, *arguments: str) -> dict:
    result = run("add", home, *arguments, "--password-stdin", "--json", stdin=f"{PASSWORD}\n")
    assert result.exception is None, result.exception
    return json.loads(result.stdout)["account"]


def test_the_first_account_is_an_admin_and_others_are_users_unless_it_is_said(home):
    roles = [made(home, "mara")["role"], made(home, "jonas")["role"], made(home, "ida", "--role", "admin")["role"]]
    listed = json.loads(run("list", home, "--json").stdout)["accounts"]

    assert roles == ["admin", "user", "admin"]
    assert [(account["name"], account["num_keys"]) for account in listed] == [("ida", 0), ("jonas", 0), ("mara", 0)]


def test_a_password_is_never_an_argument_and_never_printed(home):
    result = run("add", home, "mara", "--password-stdin", stdin=f"{PASSWORD}\n")
    refused = run("add", home, "jonas", PASSWORD)
    silent = run("add", home, "jonas")

    assert PASSWORD not in result.output
    assert refused.exit_code == 2
    assert isinstance(silent.exception, ConfigError)  # no terminal to ask on
    assert "--password-stdin" in str(silent.exception)


def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(home):
    def typed(*lines: str) -> tuple[int, str]:
        outside, inside = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "duologue", "account", "add", home, "mara"],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
        ) as process:
            os.close(inside)
            shown = ""
            for line in lines:
                while not shown.endswith(": "):
                    shown += os.read(outside, 1024).decode()
                os.write(outside, f"{line}\n".encode())
                shown += " "
            while True:
                try:
                    part = os.read(outside, 1024)
                except OSError:  # the terminal of a process that has ended
                    break
                if not part:
                    break
                shown += part.decode()
            process.wait(30)
        os.close(outside)
        return process.returncode, shown

    exit_code, shown = typed(PASSWORD, PASSWORD + "x")

    assert (exit_code, "not the same" in shown) == (2, True)
    assert shown.count(": ") >= 2
    assert PASSWORD not in shown


def test_a_key_is_printed_once_and_removed_by_its_id(home):
    made(home, "mara")
    key = json.loads(run("key", "add", home, "mara", "notebook", "--json").stdout)["key"]
    listed = run("key", "list", home, "mara").output
    removed = run("key", "remove", home, "mara", key["id"])
    empty = json.loads(run("key", "list", home, "mara", "--json").stdout)
    again = run("key", "remove", home, "mara", key["id"])

    assert key["key"].startswith(f"dk-{key['id']}-")
    assert key["key"] not in listed
    assert key["id"] in listed
    assert removed.exit_code == 0
    assert empty == {"keys": []}
    assert isinstance(again.exception, GuardError)


def test_removing_asks_first_and_says_what_stays(home):
    made(home, "mara")
    asked = run("remove", home, "mara", "--json")
    removed = run("remove", home, "mara", "--yes")

    assert isinstance(asked.exception, ConfigError)
    assert "--yes" in str(asked.exception)
    assert "chats and memories stay" in removed.output
    assert "no accounts" in run("list", home).output


def duel_of(account: str, character: str, text: str) -> duels.Duel:
    said, replies, runs = ({"role": "user", "content": text},), ("Tea.", "Coffee."), ("2026-11-23-1", "base")
    return duels.Duel(f"{account}-duel", account, character, "bundled", said, *runs, *replies, {}, {}, {}, "left")


def test_an_account_is_erased_with_every_byte_of_its_chats_memories_and_settings_and_nobody_elses(tmp_path):
    ada = make_character(tmp_path, "ada")
    bea = make_character(tmp_path / "removed", "bea")  # put aside in the home
    made(str(tmp_path), "ida")
    mara, jonas = (made(str(tmp_path), name)["id"] for name in ("mara", "jonas"))
    said = {mara: "I keep a marigold in my kitchen.", jonas: "I keep a juniper in my kitchen."}
    ids = {}
    for folder in (ada, bea):
        for account, text in said.items():
            ids[folder] = say(folder, account, text)
            duels.keep(folder, duel_of(account, ids[folder], text))
    People(tmp_path / "people.json").put(mara, Person(name="Marigold"))

    result = run("remove", str(tmp_path), "mara", "--erase", "--yes", "--json")

    assert result.exception is None, result.exception
    erased = json.loads(result.stdout)["erased"]
    assert (erased["num_chats"], erased["num_duels"], erased["is_proved"]) == (2, 2, True)
    assert erased["num_memories"] >= 2
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"marigold" in path.read_bytes().lower()]
    with contextlib.closing(Sessions.open(ada / "chats.sqlite")) as sessions:
        assert len(sessions.list_sessions(character=ids[ada], user=jonas)) == 1
    with contextlib.closing(MemoryStore.open(bea / "memory.sqlite")) as memory:
        assert memory.count_lines(scope=Scope(user=jonas, character=ids[bea]))
    assert [each.left_reply for each in duels.picked(ada, character=ids[ada])] == ["Tea."]
    left = json.loads(run("list", str(tmp_path), "--json").stdout)["accounts"]
    assert [account["name"] for account in left] == ["ida", "jonas"]


def test_nothing_is_erased_of_the_last_admin_who_cannot_be_removed(tmp_path):
    folder = make_character(tmp_path, "ada")
    mara = made(str(tmp_path), "mara")["id"]
    made(str(tmp_path), "jonas")
    ada = say(folder, mara, "I keep a marigold in my kitchen.")

    refused = run("remove", str(tmp_path), "mara", "--erase", "--yes")

    assert isinstance(refused.exception, GuardError)
    with contextlib.closing(Sessions.open(folder / "chats.sqlite")) as sessions:
        assert len(sessions.list_sessions(character=ada, user=mara)) == 1


def test_an_account_whose_copies_elsewhere_cannot_be_erased_stays(tmp_path, monkeypatch):
    monkeypatch.delenv("SUPERMEMORY_API_KEY", raising=False)
    folder = make_character(tmp_path, "ada")
    with (folder / "duologue.toml").open("a") as file:
        file.write("[memory]\nsupermemory = true\n")
    made(str(tmp_path), "mara")

    refused = run("remove", str(tmp_path), "mara", "--erase", "--yes")

    assert isinstance(refused.exception, ConfigError)
    assert "SUPERMEMORY_API_KEY" in str(refused.exception)
    assert "mara" in run("list", str(tmp_path)).output


def say(folder, account: str, text: str) -> str:
    """Say something to a folder's character as an account; return the character's id."""
    config = load_config(folder / "duologue.toml")
    with contextlib.closing(open_bot(folder, config, engine="fake")) as bot:
        session_id = bot.sessions.create(character=bot.model_id, user=account)
        list(bot.reply(session_id, text, cancel=threading.Event(), user=account))
        return bot.model_id


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("list", "nowhere/at/all"), "no such folder"),
        (("password", "{home}", "nobody", "--password-stdin"), "no such account"),
        (("remove", "{home}", "nobody", "--yes"), "no such account"),
        (("add", "{home}", "a b", "--password-stdin"), "cannot be the name"),
        (("add", "{home}", "mara", "--role", "king", "--password-stdin"), "no role 'king'"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(home, arguments, told):
    result = run(*(argument.format(home=home) for argument in arguments), stdin=f"{PASSWORD}\n")

    assert result.exception is not None
    assert told in str(result.exception)
