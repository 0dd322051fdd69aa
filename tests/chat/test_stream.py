"""A reply is checked while it streams, made alone, and kept however it ends."""

import itertools
import threading
from pathlib import Path

import pytest

from duologue.chat import Sessions
from duologue.engine.fake import FakeGenerator
from duologue.errors import EngineError
from tests.chat.conftest import MakeBot
from tests.chat.made import FLAG, NOTICE, Recording, remembered, say, texts


class Failing(FakeGenerator):
    """Fails after three words, as an engine whose memory ran out."""

    def stream(self, prompt_ids, sampling, *, cancel):
        yield from itertools.islice(super().stream(prompt_ids, sampling, cancel=cancel), 3)
        raise EngineError("memory ran out")


def test_a_reply_that_crosses_the_policy_ends_there_and_its_text_is_replaced(make_bot: MakeBot) -> None:
    reply = f"The sea is calm tonight. Then {FLAG} happens. And then more words follow."
    bot = make_bot(FakeGenerator(reply=reply))
    session_id = bot.new_session()
    stream = bot.reply(session_id, "hello", cancel=threading.Event())
    pieces = list(stream)
    assert pieces[-1].finish_reason == "content_filter"
    assert "more words" not in "".join(piece.text for piece in pieces)
    assert (stream.reply.text, stream.reply.finish_reason) == (NOTICE, "content_filter")
    last = bot.sessions.messages(session_id)[-1]
    assert (last.message.content, last.finish_reason) == (NOTICE, "content_filter")
    assert remembered(bot) == []
    assert say(bot, session_id, "hello again") == NOTICE  # and the bot goes on


def test_a_reply_without_sentence_ends_is_checked_while_it_streams(make_bot: MakeBot) -> None:
    bot = make_bot(FakeGenerator(reply=f"{FLAG} " + "and so on " * 60), generation={"max_new_tokens": 500})
    stream = bot.reply(bot.new_session(), "hello", cancel=threading.Event())
    shown = "".join(piece.text for piece in stream)
    assert len(shown) < 120
    assert stream.reply.finish_reason == "content_filter"


def test_the_reply_is_read_together_with_what_the_user_said(make_bot: MakeBot) -> None:
    bot = make_bot(FakeGenerator(reply=f"Well, {FLAG}."), guard={"rating": "adult"})
    session_id = bot.new_session()
    assert say(bot, session_id, "Tell me about adults.") == f"Well, {FLAG}."
    other = bot.new_session()
    assert say(bot, other, "Tell me about schoolchildren.") == NOTICE


def test_half_a_word_is_not_taken_for_a_word(make_bot: MakeBot) -> None:
    bot = make_bot(FakeGenerator(reply="x" * 78 + " sextant and compass lie on the table"))
    assert say(bot, bot.new_session(), "hello").endswith("sextant and compass lie on the table")


def test_what_was_said_before_a_stop_is_checked_as_well(make_bot: MakeBot) -> None:
    bot = make_bot(FakeGenerator(reply=f"Well then {FLAG} and on"))
    session_id = bot.new_session()
    stream = bot.reply(session_id, "hello", cancel=threading.Event())
    for piece in stream:
        if FLAG in piece.text:
            stream.close()
            break
    assert texts(bot, session_id)[-1] == NOTICE


def test_a_cancelled_reply_is_kept_as_far_as_it_came(make_bot: MakeBot) -> None:
    bot, cancel = make_bot(), threading.Event()
    session_id = bot.new_session()
    stream = bot.reply(session_id, "Is the lamp lit?", cancel=cancel)
    shown = []
    for piece in stream:
        shown.append(piece.text)
        if len(shown) == 3:
            cancel.set()
    assert (stream.reply.text, stream.reply.finish_reason) == ("You said: Is", "cancelled")
    last = bot.sessions.messages(session_id)[-1]
    assert (last.message.content, last.finish_reason) == ("You said: Is", "cancelled")
    assert remembered(bot) == ["Is the lamp lit?", "You said: Is"]


def test_a_reply_cancelled_before_its_first_word_leaves_only_the_message(make_bot: MakeBot) -> None:
    bot, cancel = make_bot(), threading.Event()
    session_id = bot.new_session()
    cancel.set()
    reply = bot.reply(session_id, "Is the lamp lit?", cancel=cancel).read()
    assert (reply.text, reply.finish_reason, reply.num_reply_tokens) == ("", "cancelled", 0)
    assert texts(bot, session_id)[1:] == ["Is the lamp lit?"]
    assert say(bot, session_id, "Hello?").startswith("You said: Is the lamp lit?")  # both messages are answered


def test_a_stream_that_is_closed_early_keeps_its_text_and_lets_the_next_one_begin(make_bot: MakeBot) -> None:
    bot = make_bot()
    session_id = bot.new_session()
    stream = bot.reply(session_id, "Is the lamp lit?", cancel=threading.Event())
    assert next(stream).text == "You"
    stream.close()
    assert stream.reply.finish_reason == "cancelled"
    assert texts(bot, session_id)[-1] == "You"
    assert say(bot, bot.new_session(), "next").startswith("You said: next")


def test_the_next_reply_may_begin_as_soon_as_the_last_piece_is_there(make_bot: MakeBot) -> None:
    bot = make_bot()
    session_id = bot.new_session()
    stream = bot.reply(session_id, "one", cancel=threading.Event())
    while next(stream).finish_reason is None:
        pass
    assert say(bot, session_id, "two").startswith("You said: two")
    assert stream.reply.text.startswith("You said: one")


def test_a_failing_engine_loses_neither_message_nor_words(make_bot: MakeBot) -> None:
    bot = make_bot(Failing())
    session_id = bot.new_session()
    with pytest.raises(EngineError, match="memory ran out"):
        say(bot, session_id, "Is the lamp lit?")
    last = bot.sessions.messages(session_id)[-1]
    assert (last.message.content, last.finish_reason) == ("You said: Is", "cancelled")
    with pytest.raises(EngineError):  # the turn is free again
        say(bot, session_id, "again")


def test_closing_the_bot_ends_a_reply_that_runs_and_keeps_it(tmp_path: Path, make_bot: MakeBot) -> None:
    bot = make_bot(FakeGenerator(delay_seconds=0.001, reply="word " * 100_000), generation={"max_new_tokens": 2000})
    session_id = bot.new_session()
    started = threading.Event()

    def talk() -> None:
        for _ in bot.reply(session_id, "hello", cancel=threading.Event()):
            started.set()

    thread = threading.Thread(target=talk)
    thread.start()
    started.wait()
    bot.close()
    thread.join()
    sessions = Sessions.open(tmp_path / "chats.sqlite")
    last = sessions.messages(session_id)[-1]
    assert (last.message.content.split()[0], last.finish_reason) == ("word", "cancelled")
    sessions.close()


def test_closing_the_bot_does_not_wait_for_a_stream_nobody_reads(tmp_path: Path, make_bot: MakeBot) -> None:
    bot = make_bot()
    session_id = bot.new_session()
    stream = bot.reply(session_id, "hello", cancel=threading.Event())
    next(stream)
    bot.close()
    sessions = Sessions.open(tmp_path / "chats.sqlite")
    assert sessions.messages(session_id)[-1].message.content == "You"
    sessions.close()


class Exclusive(FakeGenerator):
    """Notices when two replies are made at the same time."""

    def __init__(self) -> None:
        super().__init__(delay_seconds=0.0005)
        self.num_inside = 0
        self.most_inside = 0

    def stream(self, prompt_ids, sampling, *, cancel):
        self.num_inside += 1
        self.most_inside = max(self.most_inside, self.num_inside)
        yield from super().stream(prompt_ids, sampling, cancel=cancel)
        self.num_inside -= 1


def test_one_reply_is_made_at_a_time_and_every_caller_gets_the_own_one(make_bot: MakeBot) -> None:
    engine = Exclusive()
    bot = make_bot(engine, memory={"num_recalled": 0})
    sessions = [bot.new_session() for _ in range(8)]
    replies: dict[int, str] = {}

    def talk(number: int) -> None:
        replies[number] = say(bot, sessions[number], f"I am number {number}.")

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert engine.most_inside == 1
    assert replies == {n: f"You said: I am number {n}. Tell me more about that." for n in range(8)}
    assert all(len(texts(bot, session_id)) == 3 for session_id in sessions)


def test_one_who_waits_can_give_up_and_the_message_is_kept(make_bot: MakeBot) -> None:
    bot = make_bot()
    first = bot.reply(bot.new_session(), "first", cancel=threading.Event())
    next(first)  # holds the model
    session_id, cancel = bot.new_session(), threading.Event()
    second = bot.reply(session_id, "second", cancel=cancel)
    cancel.set()
    assert second.read().finish_reason == "cancelled"
    assert texts(bot, session_id)[1:] == ["second"]
    assert first.read().text.startswith("You said: first")


def test_two_messages_of_one_session_are_both_kept_and_both_answered(make_bot: MakeBot) -> None:
    engine = Recording()
    bot = make_bot(engine)
    session_id = bot.new_session()
    first = bot.reply(session_id, "one", cancel=threading.Event())
    second = bot.reply(session_id, "two", cancel=threading.Event())
    first.read()
    second.read()
    assert texts(bot, session_id)[1:3] == ["one", "two"]
    assert len(texts(bot, session_id)) == 5
    assert engine.prompts[0].endswith("user\none\nassistant\n")
    assert engine.prompts[1].endswith("user\none\n\ntwo\nassistant\n")
