"""A folder becomes a bot, and a fault in it leaves nothing open."""

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from duologue.characters import Character, write_card
from duologue.chat import load_folder_character, memory_scope, open_bot
from duologue.errors import ConfigError, DataError, EngineError, GuardError
from duologue.memory import Scope
from tests.chat.made import NYX, a_config


def test_a_folder_opens_with_its_card_its_sessions_and_its_memory(tmp_path: Path) -> None:
    write_card(NYX, tmp_path / "nyx.json")
    bot = open_bot(tmp_path, a_config(character={"card": "nyx.json", "user_name": "Sam"}), engine="fake")
    assert (bot.name, bot.model_id, bot.base_id) == ("Nyx Harrow", "nyx-harrow", "bundled:smollm2-135m")
    session_id = bot.new_session()
    assert [entry.message.content for entry in bot.sessions.messages(session_id)] == [
        "Sam, come in. Nyx Harrow has made tea."
    ]
    bot.close()
    assert {file.name for file in tmp_path.iterdir()} == {"nyx.json", "chats.sqlite", "memory.sqlite"}


def test_without_a_card_the_character_is_named_after_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "old_harbour-master"
    folder.mkdir()
    config = a_config()
    assert load_folder_character(folder, config).name == "Old Harbour Master"
    assert memory_scope(folder, config, user="ana") == Scope("ana", "old-harbour-master")
    bot = open_bot(folder, config, engine="fake")
    assert bot.sessions.messages(bot.new_session()) == ()  # no card, no greeting
    bot.close()


def test_memory_that_is_turned_off_makes_no_file(tmp_path: Path) -> None:
    bot = open_bot(tmp_path, a_config(memory={"enabled": False}), engine="fake")
    assert bot.memory is None
    bot.close()
    assert [file.name for file in tmp_path.iterdir()] == ["chats.sqlite"]


def test_a_card_that_crosses_a_limit_is_not_opened(tmp_path: Path) -> None:
    write_card(NYX.__class__("Nyx", description="A schoolchild.", greeting="zqflag"), tmp_path / "nyx.json")
    with pytest.raises(GuardError) as caught:
        open_bot(tmp_path, a_config(character={"card": "nyx.json"}), engine="fake")
    assert caught.value.reason == "content_policy"
    assert caught.value.where == "nyx.json"


def test_a_missing_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.png"):
        open_bot(tmp_path, a_config(character={"card": "nowhere.png"}), engine="fake")


def test_when_one_part_fails_the_others_are_closed_again(tmp_path: Path) -> None:
    (tmp_path / "memory.sqlite").write_bytes(b"not a database " * 100)
    with pytest.raises(DataError, match=r"memory\.sqlite"):
        open_bot(tmp_path, a_config(), engine="fake")
    assert _open_files(tmp_path) == []
    (tmp_path / "memory.sqlite").unlink()
    with pytest.raises((ConfigError, EngineError)):
        open_bot(tmp_path, a_config(model={"base": "no-such-file.gguf"}), engine="gguf")
    assert _open_files(tmp_path) == []


def test_companions_and_lorebooks_come_along(tmp_path: Path) -> None:
    write_card(NYX, tmp_path / "nyx.json")
    write_card(Character("Ada Bell", description="A clock mender."), tmp_path / "ada.json")
    book = {"entries": {"0": {"uid": 0, "key": ["fog"], "content": "The horn is Bertha.", "comment": "horn"}}}
    (tmp_path / "world.json").write_text(json.dumps(book))
    character = {
        "card": "nyx.json",
        "companions": ["ada.json"],
        "lorebooks": ["world.json"],
        "speaking_order": "list",
        "user_name": "Sam",
    }
    bot = open_bot(tmp_path, a_config(character=character), engine="fake")
    assert [member.name for member in bot.cast.members] == ["Nyx Harrow", "Ada Bell"]
    assert [len(member.lorebooks) for member in bot.cast.members] == [1, 1]
    session_id = bot.new_session()
    bot.reply(session_id, "What of the fog?", cancel=threading.Event()).read()
    assert [trace.is_fired for trace in bot.context(session_id).lore] == [True]
    bot.close()


def test_two_of_one_name_cannot_share_a_chat(tmp_path: Path) -> None:
    write_card(NYX, tmp_path / "nyx.json")
    write_card(Character("sam"), tmp_path / "sam.json")
    for companion in ("nyx.json", "sam.json"):
        config = a_config(character={"card": "nyx.json", "companions": [companion], "user_name": "Sam"})
        with pytest.raises(ConfigError, match="two in this chat are called"):
            open_bot(tmp_path, config, engine="fake")


def test_lore_and_companions_that_cross_a_limit_are_not_opened(tmp_path: Path) -> None:
    write_card(NYX, tmp_path / "nyx.json")
    write_card(Character("Ada", description="A schoolchild.", greeting="zqflag"), tmp_path / "ada.json")
    book = {"entries": {"0": {"uid": 0, "key": ["fog"], "content": "A schoolchild and zqflag."}}}
    (tmp_path / "world.json").write_text(json.dumps(book))
    for more, where in (({"companions": ["ada.json"]}, "ada.json"), ({"lorebooks": ["world.json"]}, "entry 0")):
        with pytest.raises(GuardError) as caught:
            open_bot(tmp_path, a_config(character={"card": "nyx.json", **more}), engine="fake")
        assert where in caught.value.where


def test_a_second_memory_needs_its_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no key"):
        open_bot(tmp_path, a_config(memory={"supermemory": True}), engine="fake")


def test_a_second_memory_that_does_not_answer_leaves_the_chat_working_and_says_so(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    config = a_config(memory={"supermemory": True, "supermemory_url": f"http://127.0.0.1:{port}"})
    bot = open_bot(tmp_path, config, engine="fake", supermemory_key="sm_local_test_key")
    reply = bot.reply(bot.new_session(), "hello", cancel=threading.Event()).read()
    assert reply.text.startswith("You said: hello")
    notices: list[str] = []
    deadline = time.monotonic() + 30  # the SDK is loaded behind the chat, which takes its time on a busy machine
    while not any("Supermemory" in notice for notice in notices):
        assert time.monotonic() < deadline, notices
        time.sleep(0.02)
        notices += bot.notices()
    bot.close()


def _open_files(folder: Path) -> list[str]:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("needs /proc to see open files")
    links = [str(link.readlink()) for link in descriptors.iterdir() if link.is_symlink()]
    return [link for link in links if link.startswith(str(folder))]
