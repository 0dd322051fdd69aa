"""A bot refuses before it stores, replies from card and conversation, and completes without keeping anything."""

import threading

import pytest

from duologue.characters import Character
from duologue.engine import Sampling
from duologue.engine.fake import FakeGenerator
from duologue.errors import DataError, GuardError
from duologue.messages import Message
from tests.chat.conftest import MakeBot
from tests.chat.made import FLAG, Clock, Recording, remembered, say, texts


def test_a_reply_is_streamed_stored_and_measured(make_bot: MakeBot) -> None:
    bot = make_bot(clock=Clock(step=0.01))
    session_id = bot.new_session()
    stream = bot.reply(session_id, "Is the lamp lit?", cancel=threading.Event())
    pieces = list(stream)
    reply = stream.reply
    assert (
        "".join(piece.text for piece in pieces) == reply.text == "You said: Is the lamp lit? Tell me more about that."
    )
    assert [piece.finish_reason for piece in pieces] == [None] * (len(pieces) - 1) + ["stop"]
    stored = bot.sessions.messages(session_id)
    assert [(entry.message, entry.finish_reason) for entry in stored] == [
        (Message("assistant", "Sam, come in. Nyx Harrow has made tea."), "stop"),
        (Message("user", "Is the lamp lit?"), ""),
        (Message("assistant", reply.text), "stop"),
    ]
    assert (reply.finish_reason, reply.num_reply_tokens) == ("stop", pieces[-1].num_tokens)
    assert reply.num_prompt_tokens > 20
    assert 0 < reply.first_token_seconds < reply.total_seconds
    assert reply.tokens_per_second > 0


def test_the_prompt_holds_card_greeting_and_the_conversation(make_bot: MakeBot) -> None:
    engine = Recording()
    bot = make_bot(engine)
    session_id = bot.new_session()
    first = say(bot, session_id, "one")
    say(bot, session_id, "two")
    assert engine.prompts[-1] == (
        "system\nYou are Nyx Harrow. A lighthouse keeper.\n"
        "assistant\nSam, come in. Nyx Harrow has made tea.\n"
        f"user\none\nassistant\n{first}\nuser\ntwo\nassistant\n"
    )


def test_a_session_made_without_a_greeting_gets_it_before_its_first_message(make_bot: MakeBot) -> None:
    bot = make_bot()
    session_id = bot.sessions.create(character=bot.model_id)
    say(bot, session_id, "hello")
    assert texts(bot, session_id)[:2] == ["Sam, come in. Nyx Harrow has made tea.", "hello"]


def test_the_sampling_is_that_of_the_configuration(make_bot: MakeBot) -> None:
    bot = make_bot(generation={"max_new_tokens": 5, "temperature": 0.3, "top_k": 7, "min_p": 0.0})
    assert bot.sampling() == Sampling(max_new_tokens=5, temperature=0.3, top_k=7, min_p=0.0)
    reply = bot.reply(bot.new_session(), "hello", cancel=threading.Event()).read()
    assert (reply.num_reply_tokens, reply.finish_reason) == (5, "length")


@pytest.mark.parametrize(("wanted", "expected"), [("auto", 4096), (64, 64), (100_000, 8192)])
def test_the_context_is_the_configured_one_within_what_the_model_can(
    make_bot: MakeBot, wanted: str | int, expected: int
) -> None:
    assert make_bot(generation={"context_tokens": wanted}).context_tokens == expected


def test_a_long_conversation_forgets_its_beginning_and_goes_on(make_bot: MakeBot) -> None:
    engine = Recording()
    bot = make_bot(engine, generation={"context_tokens": 200, "max_new_tokens": 50})
    session_id = bot.new_session()
    replies = [
        bot.reply(session_id, f"this is message number {number}", cancel=threading.Event()).read()
        for number in range(20)
    ]
    assert all(reply.num_prompt_tokens + 50 <= 200 for reply in replies)
    assert replies[0].num_forgotten_messages == 0
    assert replies[-1].num_forgotten_messages > 20
    assert "message number 0" not in engine.prompts[-1]
    assert "You are Nyx Harrow" in engine.prompts[-1]
    assert len(texts(bot, session_id)) == 41  # forgotten by the model, not by the session


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\u200b", "empty"),
        ("x" * 101, "too_long"),
        ("bell\x07", "control_characters"),
        ("half \ud800", "invalid_unicode"),
        (f"{FLAG} please", "content_policy"),
    ],
)
def test_a_refused_message_leaves_nothing(make_bot: MakeBot, text: str, reason: str) -> None:
    bot = make_bot(guard={"max_input_chars": 100})
    session_id = bot.new_session()
    with pytest.raises(GuardError) as caught:
        bot.reply(session_id, text, cancel=threading.Event())
    assert caught.value.reason == reason
    assert len(texts(bot, session_id)) == 1  # the greeting
    assert remembered(bot) == []


def test_a_message_too_long_for_the_context_leaves_nothing(make_bot: MakeBot) -> None:
    bot = make_bot(generation={"context_tokens": 128})
    session_id = bot.new_session()
    with pytest.raises(GuardError) as caught:
        bot.reply(session_id, "word " * 200, cancel=threading.Event())
    assert caught.value.reason == "too_long_for_context"
    assert len(texts(bot, session_id)) == 1


def test_a_scene_is_more_than_its_newest_message(make_bot: MakeBot) -> None:
    bot = make_bot(guard={"rating": "adult"})
    session_id = bot.new_session()
    say(bot, session_id, "My little sister is a schoolchild.")
    with pytest.raises(GuardError) as caught:
        bot.reply(session_id, f"Now {FLAG}.", cancel=threading.Event())
    assert caught.value.reason == "content_policy"


def test_nobody_talks_in_a_session_of_somebody_else(make_bot: MakeBot) -> None:
    bot = make_bot()
    session_id = bot.new_session(user="ana")
    for start in (
        lambda: bot.reply(session_id, "hello", cancel=threading.Event(), user="bea"),
        lambda: bot.regenerate(session_id, cancel=threading.Event(), user="bea"),
        lambda: bot.reply("unknown", "hello", cancel=threading.Event()),
    ):
        with pytest.raises(DataError, match="there is no session"):
            start()
    assert len(texts(bot, session_id)) == 1


def test_a_completion_stores_and_remembers_nothing(make_bot: MakeBot) -> None:
    engine = Recording()
    bot = make_bot(engine)
    say(bot, bot.new_session(), "My boat is called Petrel.")
    before = remembered(bot)
    messages = [Message("user", "Hi"), Message("assistant", ""), Message("user", "What is my boat called?")]
    reply = bot.completions.of_character(messages, Sampling(max_new_tokens=50), cancel=threading.Event()).read()
    assert reply.text.startswith("You said: Hi")
    assert reply.recalled == ()
    assert "Petrel" not in engine.prompts[-1]
    assert remembered(bot) == before
    assert len(bot.sessions.list_sessions(character=bot.model_id)) == 1


def test_a_system_message_of_the_caller_replaces_the_card(make_bot: MakeBot) -> None:
    engine = Recording()
    messages = [Message("system", "You are a kettle."), Message("user", "Who are you?")]
    make_bot(engine).completions.of_character(messages, Sampling(), cancel=threading.Event()).read()
    assert engine.prompts == ["system\nYou are a kettle.\nuser\nWho are you?\nassistant\n"]


def test_a_reply_takes_at_most_half_of_the_context(make_bot: MakeBot) -> None:
    bot = make_bot(FakeGenerator(reply="word " * 9000), generation={"context_tokens": 128})
    reply = bot.completions.of_character(
        [Message("user", "hello")], Sampling(max_new_tokens=4096), cancel=threading.Event()
    ).read()
    assert (reply.num_reply_tokens, reply.finish_reason) == (64, "length")


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "empty"),
        ([Message("assistant", "hello")], "empty"),
        ([Message("user", "hi"), Message("assistant", " ")], "empty"),
        ([Message("user", "  ")], "empty"),
        ([Message("system", "x" * 70_000), Message("user", "hi")], "too_long"),  # could never fit 4,096 tokens
        ([Message("user", "x" * 9000), Message("assistant", "a"), Message("user", "hi")], "too_long"),
        ([Message("user", "word " * 1500), Message("assistant", "a"), Message("user", "word " * 1550)], None),
        ([Message("user", "a " * 3990)], "too_long_for_context"),
        ([Message("user", f"{FLAG}"), Message("assistant", "no"), Message("user", "go on")], "content_policy"),
    ],
)
def test_what_a_completion_refuses(make_bot: MakeBot, messages: list[Message], reason: str | None) -> None:
    bot = make_bot()
    if reason is None:
        reply = bot.completions.of_character(messages, Sampling(), cancel=threading.Event()).read()
        assert reply.num_forgotten_messages == 0 or reply.num_prompt_tokens <= 4096
        return
    with pytest.raises(GuardError) as caught:
        bot.completions.of_character(messages, Sampling(), cancel=threading.Event())
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("name", "expected"), [("Lila Quill", "lila-quill"), ("  Ñandú & Co.  ", "and-co"), ("夜", "character")]
)
def test_a_name_becomes_a_model_id(make_bot: MakeBot, name: str, expected: str) -> None:
    assert make_bot(character=Character(name)).model_id == expected


def test_where_the_model_can_two_chats_are_answered_at_once_and_one_chat_in_order(make_bot: MakeBot) -> None:
    both = threading.Barrier(2, timeout=20)

    class Meeting(Recording):
        meets = True

        def stream(self, prompt_ids, sampling, *, cancel):
            if self.meets:
                both.wait()  # passes only when two replies are being made
            yield from super().stream(prompt_ids, sampling, cancel=cancel)

    engine = Meeting()
    bot = make_bot(engine, num_replies=4)
    chats = [bot.new_session(), bot.new_session()]
    threads = [threading.Thread(target=say, args=(bot, chat, "Let us meet.")) for chat in chats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not both.broken
    assert all(texts(bot, chat)[-1].startswith("You said") for chat in chats)

    engine.meets = False
    first = bot.reply(chats[0], "One.", cancel=threading.Event())
    next(iter(first))
    second = bot.reply(chats[0], "Two.", cancel=threading.Event())
    waiting = threading.Thread(target=second.read)
    waiting.start()
    num_prompts = len(engine.prompts)
    waiting.join(0.3)
    assert (waiting.is_alive(), len(engine.prompts)) == (True, num_prompts)
    first.read()
    waiting.join()
    assert len(engine.prompts) == num_prompts + 1
