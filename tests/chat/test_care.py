"""Someone in a crisis is answered with care at once, whatever the policy, the model or the line says."""

import threading
import time

import pytest

from duologue.characters import Character
from duologue.chat import Cast, Member, is_urgent
from duologue.engine import Sampling
from duologue.engine.fake import FakeGenerator
from duologue.errors import EngineError, GuardError
from duologue.guard import caring_answer
from duologue.messages import Message
from tests.chat.conftest import MakeBot
from tests.chat.made import FLAG, NYX, Recording, say, texts

CRISIS = "I want to kill myself."
CARE = caring_answer("international")


class Silent(FakeGenerator):
    """Fails the test when it is asked anything."""

    def stream(self, prompt_ids, sampling, *, cancel):
        raise EngineError("a model was asked")


def test_the_answer_is_a_stored_reply_and_no_model_is_asked(make_bot: MakeBot) -> None:
    bot = make_bot(Silent())
    session_id = bot.new_session()
    stream = bot.reply(session_id, CRISIS, cancel=threading.Event())
    pieces = list(stream)
    assert "".join(piece.text for piece in pieces) == CARE
    assert pieces[-1].finish_reason == "stop"
    assert (stream.reply.text, stream.reply.finish_reason, stream.reply.num_prompt_tokens) == (CARE, "stop", 0)
    assert texts(bot, session_id)[-2:] == [CRISIS, CARE]


def test_the_helplines_are_those_of_the_configured_region(make_bot: MakeBot) -> None:
    bot = make_bot(Silent(), guard={"crisis_region": "us"})
    assert "988" in say(bot, bot.new_session(), CRISIS)


def test_the_talk_goes_on_afterwards_and_the_model_sees_what_was_said(make_bot: MakeBot) -> None:
    engine = Recording()
    bot = make_bot(engine)
    session_id = bot.new_session()
    say(bot, session_id, CRISIS)
    assert say(bot, session_id, "Thank you. Tell me about the sea.").startswith("You said: Thank you.")
    assert CRISIS in engine.prompts[-1]


def test_the_answer_does_not_wait_for_a_reply_that_runs(make_bot: MakeBot) -> None:
    bot = make_bot()
    running = bot.reply(bot.new_session(), "hello", cancel=threading.Event())
    next(running)  # holds the model
    assert say(bot, bot.new_session(), CRISIS) == CARE
    assert running.read().text.startswith("You said: hello")


def test_neither_a_stop_nor_another_version_asks_the_model(make_bot: MakeBot) -> None:
    bot, cancel = make_bot(Silent()), threading.Event()
    session_id = bot.new_session()
    cancel.set()
    assert bot.reply(session_id, CRISIS, cancel=cancel).read().text == CARE
    assert bot.regenerate(session_id, cancel=threading.Event()).read().text == CARE
    with pytest.raises(GuardError, match="this answer is whole"):
        bot.continue_reply(session_id, cancel=threading.Event())


def test_an_edited_message_is_answered_as_well(make_bot: MakeBot) -> None:
    bot = make_bot()
    session_id = bot.new_session()
    say(bot, session_id, "hello")
    message_id = bot.sessions.path(session_id)[-2].id
    assert bot.edit_and_reply(session_id, message_id, CRISIS, cancel=threading.Event()).read().text == CARE


def test_it_is_no_block_even_where_the_policy_would_refuse_the_words(make_bot: MakeBot) -> None:
    bot = make_bot()
    session_id = bot.new_session()
    with pytest.raises(GuardError):
        say(bot, session_id, f"{FLAG}.")
    assert say(bot, session_id, f"{FLAG} happened to me and {CRISIS}") == CARE
    assert say(bot, session_id, "Can we talk about the sea?").startswith("You said: Can we talk")
    message_id = bot.sessions.path(session_id)[-2].id
    bot.editor.edit(session_id, message_id, "Can we talk about the lake?")


def test_at_other_ratings_what_was_said_of_an_age_still_counts_afterwards(make_bot: MakeBot) -> None:
    bot = make_bot(guard={"rating": "adult"})
    session_id = bot.new_session()
    assert say(bot, session_id, f"I am 15 and {CRISIS}") == CARE
    with pytest.raises(GuardError) as caught:
        say(bot, session_id, f"And now {FLAG}.")
    assert caught.value.reason == "content_policy"


def test_a_message_too_long_for_the_model_is_answered(make_bot: MakeBot) -> None:
    bot = make_bot(guard={"max_input_tokens": 3})
    session_id = bot.new_session()
    with pytest.raises(GuardError, match="at most 3"):
        say(bot, session_id, "one two three four five six seven")
    assert say(bot, session_id, f"one two three four five. {CRISIS}") == CARE


@pytest.mark.parametrize(
    ("text", "stored"),
    [(f"{CRISIS} {'x' * 9000}", None), (f"\u202e{CRISIS}\x00", CRISIS), (f"{CRISIS}\ud800", CRISIS)],
    ids=["long", "hidden", "half"],
)
def test_a_message_that_would_be_refused_for_its_form_is_answered_and_kept(make_bot: MakeBot, text, stored) -> None:
    bot = make_bot(Silent())
    session_id = bot.new_session()
    assert say(bot, session_id, text) == CARE
    assert texts(bot, session_id)[-2] == (stored or text)
    message_id = bot.sessions.path(session_id)[-2].id
    stream = bot.edit_and_reply(session_id, message_id, f"{text} Please.", cancel=threading.Event())
    assert stream.read().text == CARE


def test_a_long_talk_is_read_at_both_ends_in_no_time() -> None:
    filler = "I don't want to talk about it. " * 30_000
    started = time.monotonic()
    assert is_urgent(f"{CRISIS} {filler}")
    assert is_urgent(f"{filler} {CRISIS}")
    assert not is_urgent(filler)
    assert time.monotonic() - started < 5


def test_in_a_group_one_answers_and_nobody_follows(make_bot: MakeBot) -> None:
    cast = Cast((Member.of(NYX), Member.of(Character("Bo"))), "list")
    bot = make_bot(Silent(), character=cast)
    session_id = bot.new_session()
    list(bot.replies(session_id, CRISIS, cancel=threading.Event()))
    assert texts(bot, session_id)[-2:] == [CRISIS, CARE]
    assert bot.next_reply(session_id, cancel=threading.Event()) is None


@pytest.mark.parametrize("way", ["of_character", "of_model"])
def test_a_conversation_that_the_caller_keeps_is_answered_in_the_same_way(make_bot: MakeBot, way: str) -> None:
    bot = make_bot(Silent())
    complete = getattr(bot.completions, way)
    said = [Message("system", "You are a pirate."), Message("user", "hi"), Message("assistant", "Ahoy")]
    stream = complete([*said, Message("user", CRISIS)], Sampling(), cancel=threading.Event())
    assert (stream.read().text, stream.reply.finish_reason) == (CARE, "stop")


def test_only_the_newest_message_is_answered_so(make_bot: MakeBot) -> None:
    bot = make_bot()
    said = [Message("user", CRISIS), Message("assistant", CARE), Message("user", "Thank you.")]
    reply = bot.completions.of_character(said, Sampling(), cancel=threading.Event()).read()
    assert reply.text.startswith("You said: Thank you.")


@pytest.mark.parametrize("rating", ["general", "adult"])
def test_a_reply_that_tells_the_reader_to_end_their_life_is_replaced_by_a_helpline(make_bot, rating) -> None:
    bot = make_bot(FakeGenerator(reply="Hm. You should kill yourself. And more."), guard={"rating": rating})
    session_id = bot.new_session()
    stream = bot.reply(session_id, "What do you think of me?", cancel=threading.Event())
    assert stream.read().finish_reason == "content_filter"
    assert "findahelpline.com" in stream.reply.text
    assert "kill yourself" not in " ".join(texts(bot, session_id))


@pytest.mark.parametrize("way", ["of_character", "of_model"])
def test_a_callers_message_is_limited_in_tokens_too(make_bot: MakeBot, way: str) -> None:
    bot = make_bot(guard={"max_input_tokens": 3})
    with pytest.raises(GuardError, match="at most 3"):
        getattr(bot.completions, way)([Message("user", "a b c d e f g")], Sampling(), cancel=threading.Event())
