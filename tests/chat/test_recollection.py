"""Memory follows the chosen path of every chat in the background, and never learns what it said itself."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from duologue.chat import Cast, Member
from duologue.chat.recollection import sources_of, without_echo
from duologue.chat.sessions import StoredMessage
from duologue.engine.fake import FakeGenerator
from duologue.errors import DataError
from duologue.memory import MemoryStore
from duologue.messages import Message, RecalledLine
from tests.chat.conftest import MakeBot
from tests.chat.made import NYX, SCOPE, Recording, remembered, say, texts

CAST = Cast((Member.of(NYX),))


def entry(number: int, role: str, text: str, **more: object) -> StoredMessage:
    return StoredMessage(number, Message(role, text), "2026-11-01T20:00:00+00:00", (), "stop", **more)


def learned(*path: StoredMessage) -> list[str]:
    return [source.text for source in sources_of(path, member=CAST.main, cast=CAST, user_name="Sam")]


def recalled(text: str) -> RecalledLine:
    return RecalledLine(text, "user", 1, "older", "2026-10-01T20:00:00+00:00", 1.0)


def test_what_was_said_is_learned_but_not_the_greeting_nor_what_is_hidden() -> None:
    path = [
        entry(1, "assistant", "Welcome."),
        entry(2, "user", "I am Sam."),
        entry(3, "assistant", "Hello Sam."),
        entry(4, "user", "(brb)", is_hidden=True),
    ]
    assert learned(*path) == ["I am Sam.", "Hello Sam."]


def test_a_withheld_reply_and_what_it_replied_to_are_not_learned() -> None:
    path = [entry(1, "user", "a"), entry(2, "assistant", "b"), entry(3, "user", "c")]
    withheld = replace(entry(4, "assistant", "withheld"), finish_reason="content_filter")
    assert learned(*path, withheld, entry(5, "user", "d")) == ["a", "b", "d"]


def test_what_a_reply_repeats_of_a_recalled_line_is_not_learned_again() -> None:
    lines = (recalled("My boat is called Petrel."),)
    assert without_echo('You said "My boat is called Petrel." once.', lines).split() == [
        "You",
        "said",
        '"',
        '"',
        "once.",
    ]
    assert without_echo("My boat is called Petrel.", lines) == ""
    echo = replace(entry(2, "assistant", "My boat is called Petrel."), recalled=lines)
    assert learned(entry(1, "user", "What is my boat called?"), echo) == ["What is my boat called?"]


def test_an_edit_a_swipe_a_deletion_and_their_undo_change_what_is_remembered(make_bot: MakeBot) -> None:
    bot = make_bot(FakeGenerator(reply="Aye."))
    session_id = bot.new_session()
    say(bot, session_id, "My boat is green.")
    question = bot.sessions.path(session_id)[1]
    bot.editor.edit(session_id, question.id, "My boat is blue.")
    assert remembered(bot) == ["My boat is blue.", "Aye."]
    bot.editor.undo(session_id)
    assert sorted(remembered(bot)) == ["Aye.", "My boat is green."]
    bot.edit_and_reply(session_id, question.id, "My boat is red.", cancel=threading.Event()).read()
    assert sorted(remembered(bot)) == ["Aye.", "My boat is red."]
    bot.editor.choose(session_id, question.id)
    assert sorted(remembered(bot)) == ["Aye.", "My boat is green."]
    bot.editor.delete_message(session_id, question.id)
    assert sorted(remembered(bot)) == ["Aye.", "My boat is red."]  # the version beside it is the chat now


def test_a_change_that_a_crash_left_unfollowed_is_followed_when_the_folder_is_opened_again(
    make_bot: MakeBot, tmp_path: Path
) -> None:
    bot = make_bot(FakeGenerator(reply="Aye."))
    session_id = bot.new_session()
    say(bot, session_id, "My boat is green.")
    bot.settle()
    bot.sessions.edit(bot.sessions.path(session_id)[1].id, "My boat is blue.")  # nobody tells memory
    assert "My boat is green." in remembered(bot)
    again = make_bot(FakeGenerator(reply="Aye."))
    again.settle()
    assert "My boat is blue." in remembered(again)
    assert "My boat is green." not in remembered(again)


def test_a_line_is_recalled_once_and_then_stays_in_the_prompt_where_it_was(make_bot: MakeBot) -> None:
    engine = Recording(reply="Aye.")
    bot = make_bot(engine)
    say(bot, bot.new_session(), "My boat is called Petrel.")
    bot.settle()
    session_id = bot.new_session()
    for _ in range(4):
        say(bot, session_id, "What is my boat called?")
    assert [prompt.count("My boat is called Petrel") for prompt in engine.prompts[1:]] == [1, 1, 1, 1]
    assert sum("Petrel" in line.text for entry in bot.sessions.path(session_id) for line in entry.recalled) == 1


def test_a_line_cools_down_after_it_has_left_the_prompt(make_bot: MakeBot) -> None:
    engine = Recording(reply="Aye.")
    bot = make_bot(engine, generation={"context_tokens": 220, "max_new_tokens": 40}, memory={"cooldown_turns": 100})
    say(bot, bot.new_session(), "My boat is called Petrel.")
    bot.settle()
    session_id = bot.new_session()
    for _ in range(25):
        say(bot, session_id, "What is my boat called, and why?")
    assert "Petrel" in engine.prompts[1]
    assert "Petrel" not in engine.prompts[-1]
    bot.remind(session_id, "boat called")
    say(bot, session_id, "Tell me.")
    assert "My boat is called Petrel" in engine.prompts[-1]  # because it was asked for by name


def test_what_fell_out_of_the_buffer_may_be_recalled_in_its_own_session(make_bot: MakeBot) -> None:
    engine = Recording(reply="Aye.")
    bot = make_bot(engine, generation={"context_tokens": 300, "max_new_tokens": 40})
    session_id = bot.new_session()
    say(bot, session_id, "My boat is called Petrel and has two masts.")
    for number in range(20):
        say(bot, session_id, f"Here is line {number} about the weather of the coast.")
        bot.settle()
    assert "Petrel" not in engine.prompts[-1]
    say(bot, session_id, "How many masts has my boat?")
    assert 'Sam said: "My boat is called Petrel and has two masts."' in engine.prompts[-1]


def test_a_memory_that_cannot_be_read_does_not_end_the_chat(make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DataError("the disk is gone", where="memory.sqlite")

    bot = make_bot(FakeGenerator(reply="Aye."))
    session_id = bot.new_session()
    for name in ("recall", "follow"):
        monkeypatch.setattr(MemoryStore, name, fail)
    assert say(bot, session_id, "hello") == "Aye."
    bot.settle()
    assert [notice for notice in bot.notices() if "the disk is gone" in notice]
    assert bot.notices() == ()


def test_following_never_delays_a_reply(make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch) -> None:
    is_let_go = threading.Event()
    real = MemoryStore.follow

    def slow(*arguments: object, **named: object) -> object:
        is_let_go.wait(20)
        return real(*arguments, **named)

    monkeypatch.setattr(MemoryStore, "follow", slow)
    bot = make_bot(FakeGenerator(reply="Aye."))
    session_id = bot.new_session()
    assert [say(bot, session_id, "one"), say(bot, session_id, "two")] == ["Aye.", "Aye."]
    assert bot.memory is not None
    assert bot.memory.list_lines(scope=SCOPE) == ()
    is_let_go.set()
    assert remembered(bot) == ["one", "Aye.", "two", "Aye."]


def test_forgetting_takes_a_line_out_of_replies_and_prompts_as_well(make_bot: MakeBot, tmp_path: Path) -> None:
    engine = Recording(reply="Aye.")
    bot = make_bot(engine)
    first = bot.new_session()
    say(bot, first, "The password is quokkafish.")
    bot.settle()
    second = bot.new_session()
    say(bot, second, "What is the password?")
    assert "quokkafish" in engine.prompts[-1]
    bot.delete_session(first)
    bot.settle()
    say(bot, second, "What is the password?")
    assert "quokkafish" not in engine.prompts[-1]
    assert texts(bot, second)[-1] == "Aye."
    assert b"quokkafish" not in b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())


def test_a_chat_that_was_emptied_leaves_no_memory(make_bot: MakeBot) -> None:
    bot = make_bot(FakeGenerator(reply="Aye."))
    session_id = bot.new_session()
    say(bot, session_id, "My boat is green.")
    assert remembered(bot)
    bot.editor.delete_message(session_id, bot.sessions.path(session_id)[0].id)
    assert bot.sessions.path(session_id) == ()
    assert remembered(bot) == []


def test_what_was_pinned_or_forgotten_is_so_in_a_branch_too(make_bot: MakeBot) -> None:
    bot = make_bot(FakeGenerator(reply="Aye."))
    session_id = bot.new_session()
    say(bot, session_id, "My boat is green.")
    say(bot, session_id, "My aunt sings.")
    assert bot.memory is not None
    remembered(bot)
    by_text = {line.text: line for line in bot.memory.list_lines(scope=SCOPE, kind="turn")}
    bot.memory.pin(by_text["My aunt sings."].memory_id)
    bot.forget([by_text["My boat is green."].memory_id])
    branch = bot.editor.branch(session_id, bot.sessions.path(session_id)[-1].id)
    bot.settle()
    lines = [line for line in bot.memory.list_lines(scope=SCOPE, kind="turn") if line.session_id == branch]
    assert [line.text for line in lines if line.is_pinned] == ["My aunt sings."]
    assert "My boat is green." not in [line.text for line in lines]


def test_what_memory_no_longer_has_leaves_the_prompts_of_other_chats(make_bot: MakeBot) -> None:
    engine = Recording(reply="Aye.")
    bot = make_bot(engine)
    told = bot.new_session()
    say(bot, told, "My boat is called Petrel.")
    say(bot, told, "My aunt is called Ida.")
    bot.settle()
    session_id = bot.new_session()
    say(bot, session_id, "What are my boat and my aunt called?")
    say(bot, session_id, "And?")
    assert ["Petrel" in engine.prompts[-1], "Ida" in engine.prompts[-1]] == [True, True]
    bot.editor.edit(told, bot.sessions.path(told)[1].id, "My boat has no name.")
    bot.settle()
    say(bot, session_id, "Go on.")
    assert ["Petrel" in engine.prompts[-1], "Ida" in engine.prompts[-1]] == [False, True]
    assert bot.memory is not None
    [aunt] = [line for line in bot.memory.list_lines(scope=SCOPE, kind="turn") if "Ida" in line.text]
    bot.memory.set_private(aunt.memory_id)
    say(bot, session_id, "And then?")
    assert "called Ida" not in engine.prompts[-1]
