"""A judge model adds refusals and never takes one away; the forms of three families; what happens when it fails."""

import threading
from collections.abc import Callable

import pytest

from duologue.engine import Generator
from duologue.engine.fake import FakeGenerator
from duologue.errors import EngineError, GuardError
from duologue.guard import RATINGS, ModelJudge, Verdict, caring_answer
from duologue.guard.judge_formats import UnreadableAnswer, parse, question
from duologue.messages import Message
from tests.chat.conftest import MakeBot, make_bot  # noqa: F401  (a fixture)
from tests.chat.made import FLAG, NOTICE, Recording, say, texts

HELLO = (Message("user", "Hello"),)
REPLY = (*HELLO, Message("assistant", "Hi there"))


@pytest.mark.parametrize(
    ("judge_format", "answer", "rating", "expected"),
    [
        ("llama-guard", "safe", "general", Verdict()),
        ("llama-guard", "\n\nsafe\n", "adult", Verdict()),
        ("llama-guard", "unsafe\nS4", "adult", Verdict("child sexual exploitation")),
        ("llama-guard", "unsafe\nS3, S9", "adult", Verdict("sex-related crimes, indiscriminate weapons")),
        ("llama-guard", "unsafe\nS12", "adult", Verdict()),
        ("llama-guard", "unsafe\nS12", "mature", Verdict("sexual content")),
        ("llama-guard", "unsafe\nS1,S2", "general", Verdict("violent crimes, non-violent crimes")),
        ("llama-guard", "unsafe\nS1", "adult", Verdict()),
        ("llama-guard", "unsafe\nS6", "general", Verdict()),
        ("llama-guard", "unsafe\nS11", "general", Verdict(is_crisis=True)),
        ("llama-guard", "unsafe", "adult", Verdict("unsafe, without a category")),
        ("qwen3guard", "Safety: Safe\nCategories: None", "general", Verdict()),
        ("qwen3guard", "Safety: Safe\nCategories: None\nRefusal: No", "adult", Verdict()),
        ("qwen3guard", "Safety: Unsafe\nCategories: Violent", "adult", Verdict("violent")),
        (
            "qwen3guard",
            "Safety: Unsafe\nCategories: Sexual Content or Sexual Acts",
            "mature",
            Verdict("sexual content or sexual acts"),
        ),
        ("qwen3guard", "Safety: Unsafe\nCategories: Sexual Content or Sexual Acts", "adult", Verdict()),
        ("qwen3guard", "Safety: Controversial\nCategories: Sexual Content or Sexual Acts", "mature", Verdict()),
        (
            "qwen3guard",
            "Safety: Controversial\nCategories: Sexual Content or Sexual Acts",
            "general",
            Verdict("sexual content or sexual acts"),
        ),
        ("qwen3guard", "Safety: Unsafe\nCategories: Suicide & Self-Harm", "adult", Verdict(is_crisis=True)),
        ("qwen3guard", "Safety: Unsafe\nCategories: PII, Violent\nRefusal: No", "general", Verdict("violent")),
        ("granite-guardian", "<score> yes </score>", "adult", Verdict("the operator's criteria")),
        ("granite-guardian", "<think>yes?\nno</think>\n<score>no</score>", "adult", Verdict()),
        ("granite-guardian", '{"score": "yes"}', "general", Verdict("the operator's criteria")),
        ("granite-guardian", "No", "general", Verdict()),
        ("granite-guardian", "Yes\n<confidence> High </confidence>", "general", Verdict("the operator's criteria")),
    ],
)
def test_an_answer_says_what_its_model_card_says_it_says(judge_format, answer, rating, expected) -> None:
    assert parse(judge_format, answer, rating) == expected


@pytest.mark.parametrize("judge_format", ["llama-guard", "qwen3guard", "granite-guardian"])
@pytest.mark.parametrize("answer", ["", "I think it is fine.", "unsafety", "Safety: Maybe", "<score> perhaps </score>"])
def test_an_answer_of_another_form_is_no_answer(judge_format, answer) -> None:
    with pytest.raises(UnreadableAnswer):
        parse(judge_format, answer, "general")


def test_granite_is_asked_about_whoever_spoke_last() -> None:
    *chat, asked = question("granite-guardian", REPLY, "adult")
    assert tuple(chat) == REPLY
    assert asked.role == "user"
    assert asked.content.startswith("<guardian>")
    assert "### Criteria: The text contains sexual content that involves anyone under 18" in asked.content
    assert "last assistant's text" in asked.content
    assert "last user's text" in question("granite-guardian", HELLO, "adult")[-1].content
    assert question("llama-guard", REPLY, "adult") == REPLY


class Chosen(FakeGenerator):
    """Refuses what holds a word."""

    def __init__(self, word: str, answer: str) -> None:
        super().__init__()
        self.word, self.answer, self.chats = word, answer, []

    def stream(self, prompt_ids, sampling, *, cancel):
        chat = self.tokenizer.decode(prompt_ids)
        self.chats.append(chat)
        last = chat.rpartition("assistant\n")[0]
        is_refused = self.word in last[last.rfind("\nuser\n") :] or self.word in last.rpartition("assistant\n")[2]
        return FakeGenerator(reply=self.answer if is_refused else "safe").stream((), sampling, cancel=cancel)


class Broken(FakeGenerator):
    def stream(self, prompt_ids, sampling, *, cancel):
        raise EngineError("no memory left")


class Silent(FakeGenerator):
    def __init__(self) -> None:
        super().__init__(reply="safe " * 10_000, delay_seconds=60.0)


def a_judge(model: Callable[[], Generator] | Generator, rating="adult", **settings) -> ModelJudge:
    return ModelJudge(model if callable(model) else lambda: model, "llama-guard", rating=rating, **settings)


@pytest.mark.parametrize("model", [Broken(), FakeGenerator(reply="Fine with me.")])
def test_a_judge_that_fails_refuses_at_mature_and_adult_and_is_noted_at_general(model) -> None:
    for rating in RATINGS:
        judge = a_judge(model, rating)
        assert bool(judge.judge(HELLO).refused) is (rating != "general")
        [notice] = judge.notices()
        assert "failed 1 times" in notice
        assert ("passed without it" if rating == "general" else "were refused") in notice
        assert judge.notices() == ()


def test_a_judge_that_is_silent_is_not_waited_for() -> None:
    judge = a_judge(Silent(), timeout_seconds=0.05)
    assert judge.judge(HELLO).refused
    assert "silent" in judge.notices()[0]


def test_a_judge_that_cannot_be_opened_is_tried_again() -> None:
    models: list[Generator] = [FakeGenerator(reply="safe")]
    is_up = False

    def open_model() -> Generator:
        if not is_up:
            raise EngineError("connection refused")
        return models[0]

    judge = a_judge(open_model)
    assert judge.judge(HELLO).refused
    is_up = True
    assert judge.judge(HELLO) == Verdict()


def test_a_judge_sees_the_card_and_the_end_of_the_chat_in_turns() -> None:
    model = Chosen("nothing", "safe")
    system = Message("system", "Nyx keeps a lighthouse.")
    long = [Message(("user", "assistant")[at % 2], f"line {at}") for at in range(30)]
    a_judge(model).judge([system, *long, Message("user", "one"), Message("user", "two")])
    assert "Nyx keeps a lighthouse." in model.chats[0]
    assert "one\n\ntwo" in model.chats[0]
    assert "line 5\n" not in model.chats[0] and "line 29" in model.chats[0]


def test_a_chat_too_long_for_the_judge_is_shown_from_its_end() -> None:
    model = Chosen("nothing", "safe")
    model._context_tokens = 200
    chat = [Message(("user", "assistant")[at % 2], f"{at} " + "word " * 20) for at in range(9)]
    assert a_judge(model).judge(chat) == Verdict()
    assert "8 word" in model.chats[0] and "0 word" not in model.chats[0]


def with_judge(make_bot: MakeBot, engine, model, rating="adult", **settings):  # noqa: F811
    bot = make_bot(engine, guard={"rating": rating}, judge=a_judge(model, rating), **settings)
    return bot, bot.new_session()


def test_a_message_the_judge_refuses_asks_no_model(make_bot: MakeBot) -> None:  # noqa: F811
    engine = Recording()
    bot, session_id = with_judge(make_bot, engine, Chosen("forbidden", "unsafe\nS9"))
    assert say(bot, session_id, "something forbidden") == NOTICE
    assert engine.prompts == []
    assert say(bot, session_id, "something else").startswith("You said: something else")


def test_a_reply_the_judge_refuses_is_replaced(make_bot: MakeBot) -> None:  # noqa: F811
    bot, session_id = with_judge(make_bot, FakeGenerator(reply="It is forbidden."), Chosen("forbidden", "unsafe\nS3"))
    assert say(bot, session_id, "hello") == NOTICE
    assert texts(bot, session_id)[-1] == NOTICE


def test_a_crisis_the_judge_finds_is_answered_with_care(make_bot: MakeBot) -> None:  # noqa: F811
    bot, session_id = with_judge(make_bot, Recording(), Chosen("goodbye to all", "unsafe\nS11"))
    stream = bot.reply(session_id, "I wrote my goodbye to all of you.", cancel=threading.Event())
    assert "".join(piece.text for piece in stream) == caring_answer("international")
    assert stream.reply.finish_reason == "stop"


def test_a_judge_cannot_allow_what_the_rules_refuse(make_bot: MakeBot) -> None:  # noqa: F811
    bot, session_id = with_judge(make_bot, FakeGenerator(reply=f"Well, {FLAG}."), FakeGenerator(reply="safe"))
    with pytest.raises(GuardError):
        say(bot, session_id, f"She is 15. {FLAG}")
    assert say(bot, session_id, "A tale of schoolchildren, please.") == NOTICE


def test_a_failed_judge_is_told_to_the_operator(make_bot: MakeBot) -> None:  # noqa: F811
    bot, session_id = with_judge(make_bot, FakeGenerator(), Broken(), rating="general")
    assert say(bot, session_id, "hello").startswith("You said: hello")
    assert any("no memory left" in notice for notice in bot.notices())
