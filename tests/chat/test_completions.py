"""Replies to conversations that the caller keeps: what their prompts hold."""

import threading

import pytest

from duologue.characters import Character, DepthPrompt, Lorebook, LoreEntry
from duologue.chat import Bot
from duologue.engine import Sampling
from duologue.engine.fake import FakeGenerator
from duologue.errors import GuardError
from duologue.messages import Message, Reply
from tests.chat.conftest import MakeBot
from tests.chat.made import FLAG, NYX, Recording, say

LAMP = Lorebook(name="Coast", entries=(LoreEntry(uid="1", keys=("lamp",), content="The lamp is called Juniper."),))
KEEPER = Character(
    "Nyx Harrow",
    description="A lighthouse keeper.",
    lorebook=LAMP,
    post_history_instructions="Answer in one line.",
    depth_prompt=DepthPrompt("It is raining.", depth=1, role="system"),
)


def of_character(bot: Bot, *messages: Message, **fields: object) -> Reply:
    sampling = Sampling(max_new_tokens=50)
    return bot.completions.of_character(messages, sampling, cancel=threading.Event(), **fields).read()


def user(text: str) -> Message:
    return Message("user", text)


def test_a_character_brings_its_card_the_lore_that_fires_and_its_last_words(make_bot: MakeBot) -> None:
    engine = Recording()
    of_character(make_bot(engine, character=KEEPER), user("Tell me about the lamp."))

    (prompt,) = engine.prompts
    for text in ("A lighthouse keeper.", "The lamp is called Juniper.", "It is raining.", "Answer in one line."):
        assert prompt.count(text) == 1


def test_lore_that_does_not_fire_stays_away(make_bot: MakeBot) -> None:
    engine = Recording()
    of_character(make_bot(engine, character=KEEPER), user("Hello"))

    assert "Juniper" not in engine.prompts[0]


def test_a_callers_system_message_takes_the_cards_place_and_lore_still_comes(make_bot: MakeBot) -> None:
    engine = Recording()
    of_character(make_bot(engine, character=KEEPER), Message("system", "You are a kettle."), user("Is the lamp lit?"))

    assert engine.prompts[0].startswith("system\nYou are a kettle.")
    assert "lighthouse" not in engine.prompts[0]
    assert "Juniper" in engine.prompts[0]


@pytest.mark.parametrize("way", ["of_character", "of_model", "of_text"])
def test_a_card_that_a_caller_leaves_out_still_belongs_to_the_scene(make_bot: MakeBot, way: str) -> None:
    young = Character("Nyx Harrow", description="A schoolgirl. She is 15 years old.")
    bot = make_bot(Recording(), character=young, guard={"rating": "adult"})
    old = make_bot(Recording(), guard={"rating": "adult"})

    def ask(bot: Bot, text: str) -> Reply:
        sampling, cancel = Sampling(max_new_tokens=50), threading.Event()
        if way == "of_text":
            return bot.completions.of_text(text, sampling, cancel=cancel, is_tuned=True).read()
        said = (Message("system", "You are a kettle."), user(text))
        tuned = {"is_tuned": True} if way == "of_model" else {}
        return getattr(bot.completions, way)(said, sampling, cancel=cancel, **tuned).read()

    with pytest.raises(GuardError) as caught:
        ask(bot, f"And now {FLAG}.")
    assert caught.value.reason == "content_policy"
    assert ask(bot, "And now a song.").finish_reason == "stop"
    assert ask(old, f"And now {FLAG}.").finish_reason == "stop"


def test_a_reply_is_looked_at_together_with_a_card_that_the_caller_has_replaced(make_bot: MakeBot) -> None:
    young = Character("Nyx Harrow", description="A schoolgirl. She is 15 years old.")
    bot = make_bot(FakeGenerator(reply=f"And now {FLAG}."), character=young, guard={"rating": "adult"})

    reply = of_character(bot, Message("system", "You are a kettle."), user("What now?"))

    assert reply.finish_reason == "content_filter"
    assert FLAG not in reply.text


def test_a_callers_whole_card_may_be_longer_than_a_users_message(make_bot: MakeBot) -> None:
    engine = Recording()
    card = "The keeper counts gulls. " * 480  # 12,000 characters
    of_character(make_bot(engine), Message("system", card), user("Hello"))

    assert card.strip() in engine.prompts[0]


def test_memories_are_those_of_the_user_that_is_named(make_bot: MakeBot) -> None:
    engine = Recording()
    bot = make_bot(engine)
    say(bot, bot.new_session(), "My boat is called Petrel.")
    bot.settle()
    question = user("What is my boat called?")
    replies = [
        of_character(bot, question, user="local"),
        of_character(bot, question, user="somebody else"),
        of_character(bot, question),
        of_character(bot, question, user="local", has_memory=False),
    ]

    assert ["Petrel" in prompt for prompt in engine.prompts[-4:]] == [True, False, False, False]
    assert [bool(reply.recalled) for reply in replies] == [True, False, False, False]


def test_a_reply_that_was_begun_stands_last_below_everything_else(make_bot: MakeBot) -> None:
    engine = Recording()
    bot = make_bot(engine, character=KEEPER)
    say(bot, bot.new_session(), "My boat is called Petrel.")
    bot.settle()
    begun = Message("assistant", "You said: What")
    reply = of_character(bot, user("What is my boat called? And the lamp?"), begun, user="local")

    prompt = engine.prompts[-1]
    assert prompt.endswith("assistant\nYou said: What")
    for text in ("Petrel", "Juniper", "It is raining.", "Answer in one line."):
        assert prompt.index(text) < prompt.index("You said: What")
    assert reply.text.startswith("You said: What ")


def test_a_reply_at_the_end_can_be_answered_with_another(make_bot: MakeBot) -> None:
    engine = Recording()
    of_character(make_bot(engine), user("Hello"), Message("assistant", "Hello, Sam."), goes_on=False)

    assert engine.prompts[0].endswith("[Sam says nothing. Go on.]\nassistant\n")


def test_an_engine_that_cannot_go_on_says_so(make_bot: MakeBot) -> None:
    class Fresh(Recording):
        def unsupported(self, sampling: Sampling) -> tuple[str, ...]:
            return ("continues",)

    with pytest.raises(GuardError) as caught:
        of_character(make_bot(Fresh()), user("Hello"), Message("assistant", "Well,"))

    assert caught.value.reason == "unsupported"


def test_the_model_alone_gets_the_messages_and_nothing_else(make_bot: MakeBot) -> None:
    engine = Recording()
    bot = make_bot(engine, character=KEEPER)
    messages = [Message("system", "Be brief, {{char}}."), user("The lamp?")]
    bot.completions.of_model(messages, Sampling(max_new_tokens=50), cancel=threading.Event()).read()

    assert engine.prompts == ["system\nBe brief, {{char}}.\nuser\nThe lamp?\nassistant\n"]


def test_the_model_alone_gets_a_raw_text_as_it_is(make_bot: MakeBot) -> None:
    engine = Recording()
    bot = make_bot(engine, character=NYX)
    reply = bot.completions.of_text("Once upon", Sampling(max_new_tokens=50), cancel=threading.Event()).read()

    assert engine.prompts == ["Once upon"]
    assert reply.num_prompt_tokens == len(engine.tokenizer.encode("Once upon"))


@pytest.mark.parametrize(("text", "reason"), [(" ", "empty"), ("word " * 5000, "too_long_for_context")])
def test_a_raw_text_that_is_empty_or_does_not_fit_is_refused(make_bot: MakeBot, text: str, reason: str) -> None:
    with pytest.raises(GuardError) as caught:
        make_bot().completions.of_text(text, Sampling(), cancel=threading.Event())

    assert caught.value.reason == reason
