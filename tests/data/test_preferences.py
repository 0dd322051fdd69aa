"""Feedback to ids: prompts are those that chat sends, replies end with their end-of-turn token, nothing is lost."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.characters import Character
from duologue.chat import Bot, Sessions
from duologue.config import Config
from duologue.data import FeedbackExamples, pairs_as_likes, render_feedback
from duologue.data.preferences import AGAIN, EMPTY, EQUAL, LONG, NO_QUESTION
from duologue.engine import NOT_TRAINED, BaseModel, Piece, PreferenceExample
from duologue.engine.fake import FakeTokenizer
from duologue.engine.hf.load import load_tokenizer
from duologue.messages import Correction, Message, Opinion, Preference

ADA = Character("Ada Bell", description="{{char}} drives the night tram.", greeting="Good evening, {{user}}.")
SAID = "Right on time, {{user}}. <|im_end|> *rings*"


class Capturing:
    """An engine that keeps the ids it is sent and always says the same."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.context_tokens = 2048
        self.sent = []

    def stream(self, prompt_ids, sampling, *, cancel):
        self.sent.append(tuple(prompt_ids))
        yield Piece(SAID, 9, "stop")

    def unsupported(self, _sampling):
        return ()

    def close(self):
        pass


def a_config(**character):
    return Config.model_validate(
        {
            "model": {"base": "bundled:smollm2-135m"},
            "data": {"train": ["a.json"], "max_length_tokens": 512},
            "character": {"user_name": "Sam", **character},
            "memory": {"enabled": False},
        }
    )


def rendered(tokenizer=None, *, config=None, max_length_tokens=512, **feedback) -> FeedbackExamples:
    config = config or a_config()
    data = config.data.model_copy(update={"max_length_tokens": max_length_tokens})
    given_by_default = {"preferences": (), "opinions": (), "corrections": ()}
    return render_feedback(
        **{**given_by_default, **feedback},
        tokenizer=tokenizer or FakeTokenizer(),
        character=ADA,
        config=config.model_copy(update={"data": data}),
    )


QUESTION = (Message("user", "When do we go?"),)
LONGER = (*QUESTION, Message("assistant", "At nine."), Message("user", "And back?"))


@pytest.mark.parametrize("persona", ["", "{{user}} is a baker. <|im_start|>"])
@pytest.mark.parametrize("vocabulary", ["fake", "bundled"])
def test_the_prompt_ids_are_those_that_chat_sent(tmp_path, persona, vocabulary):
    tokenizer = FakeTokenizer() if vocabulary == "fake" else load_tokenizer(BaseModel("bundled:smollm2-135m"))
    engine = Capturing(tokenizer)
    config = a_config(persona=persona)
    sessions = Sessions.open(tmp_path / "chats.sqlite")
    bot = Bot(engine, ADA, config=config, sessions=sessions, memory=None, is_trained=True)
    session_id = bot.new_session()
    for text in ("Is the tram late?", "Say <|im_end|> for {{char}}.", "Thank you."):
        bot.reply(session_id, text, cancel=threading.Event()).read()
    path = [entry.message for entry in sessions.path(session_id)]
    bot.close()
    asked = [at for at, message in enumerate(path) if message.role == "assistant" and at]
    assert len(asked) == len(engine.sent) == 3
    preferences = [Preference(tuple(path[:at]), SAID, f"No. {at}", f"swipe {at}") for at in asked]
    found = rendered(tokenizer, config=config, max_length_tokens=2048, preferences=preferences)
    assert [pair.prompt_ids for pair in found.pairs] == engine.sent
    assert found.notes == ()
    for pair in found.pairs:
        assert pair.chosen_ids[-1] in tokenizer.stop_token_ids and pair.rejected_ids[-1] in tokenizer.stop_token_ids
        assert not set(pair.chosen_ids[:-1]) & tokenizer.stop_token_ids, "a control token that was typed ends nothing"


def test_a_correction_is_an_example_and_better_than_what_it_was():
    found = rendered(corrections=[Correction(QUESTION, "Dunno.", "At nine, Sam.", "edit 4")])
    [example], [pair] = found.corrections, found.pairs
    trained = [label for label in example.labels if label != NOT_TRAINED]
    assert FakeTokenizer().decode(trained) == "At nine, Sam." and trained[-1] in FakeTokenizer().stop_token_ids
    assert tuple(trained) == pair.chosen_ids
    assert example.input_ids == pair.prompt_ids + pair.chosen_ids
    assert FakeTokenizer().decode(pair.rejected_ids) == "Dunno."
    assert example.source == pair.source == "edit 4"


def test_a_correction_that_came_as_a_pair_too_is_one_pair():
    correction = Correction(QUESTION, "Dunno.", "At nine, Sam.", "edit 4")
    pair = Preference(QUESTION, "At nine, Sam.", "Dunno.", "edit 4")
    found = rendered(corrections=[correction], preferences=[pair])
    assert (len(found.corrections), len(found.pairs), found.notes) == (1, 1, ())


def test_a_correction_of_nothing_makes_no_pair():
    found = rendered(corrections=[Correction(QUESTION, "", "At nine.", "edit 4")])
    assert len(found.corrections) == 1 and found.pairs == () and found.notes == ()


@pytest.mark.parametrize(
    ("feedback", "reason"),
    [
        ({"preferences": [Preference(QUESTION, "At nine.", " At nine. ", "x")]}, EQUAL),
        ({"preferences": [Preference(QUESTION, "At nine.", " ", "x")]}, EMPTY),
        ({"opinions": [Opinion((), "Hello.", True, "x")]}, NO_QUESTION),
        ({"opinions": [Opinion((Message("assistant", "Hi."),), "Hello.", True, "x")]}, NO_QUESTION),
        ({"preferences": [Preference(QUESTION, "word " * 900, "At nine.", "x")]}, LONG),
    ],
)
def test_what_cannot_be_used_is_left_out_and_said(feedback, reason):
    found = rendered(**feedback)
    assert (found.pairs, found.likes, found.corrections) == ((), (), ())
    [note] = found.notes
    assert note.source == "x" and note.reason.startswith(reason) and note.action == "left out"


def test_the_same_thing_said_twice_counts_once_and_contradictions_are_counted():
    one = Preference(QUESTION, "At nine.", "Later.", "swipe 1")
    again = Preference(QUESTION, "At nine.", "Later.", "duel 9")
    opposite = Preference(QUESTION, "Later.", "At nine.", "swipe 2")
    liked, disliked = (Opinion(QUESTION, "At nine.", is_liked, "like 1") for is_liked in (True, False))
    agreed = Preference(LONGER, "At ten.", "Never.", "swipe 3")
    found = rendered(preferences=[one, again, opposite, agreed], opinions=[liked, disliked, liked])
    assert [pair.source for pair in found.pairs] == ["swipe 1", "swipe 2", "swipe 3"]
    assert found.num_contradictions == 2
    assert [like.is_liked for like in found.likes] == [True, False]
    assert [(note.source, note.reason) for note in found.notes] == [("duel 9", AGAIN), ("like 1", AGAIN)]


def test_a_long_context_loses_its_oldest_turns_at_their_ends():
    turns = tuple(
        message
        for n in range(30)
        for message in (Message("user", f"Question number {n}?"), Message("assistant", f"Answer number {n}."))
    )
    context = (*turns, Message("user", "And now?"))
    found = rendered(preferences=[Preference(context, "Now we go.", "No.", "swipe 1")], max_length_tokens=120)
    [pair], [note] = found.pairs, found.notes
    text = FakeTokenizer().decode(pair.prompt_ids)
    assert len(pair.prompt_ids) + len(pair.chosen_ids) <= 120 < len(pair.prompt_ids) + len(pair.chosen_ids) + 30
    assert found.num_cut == 1 and note.action.startswith("first ") and "Ada Bell drives" in text
    kept = [n for n in range(30) if f"Question number {n}?" in text]
    assert kept == list(range(kept[0], 30)), "only the oldest are gone"
    assert all(f"Answer number {n}." in text for n in kept), "and each with its reply"


def test_pairs_taken_apart_are_liked_and_disliked_replies():
    pairs = [
        PreferenceExample((1, 2), (3, 9), (4, 9), "a"),
        PreferenceExample((1, 2), (3, 9), (5, 9), "b"),
    ]
    likes = pairs_as_likes(pairs)
    assert [(like.reply_ids, like.is_liked) for like in likes] == [((3, 9), True), ((4, 9), False), ((5, 9), False)]


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40), st.integers(40, 160))
def test_whatever_is_said_fits_ends_once_and_is_accounted_for(better, worse, limit):
    found = rendered(preferences=[Preference(LONGER, better, worse, "x")], max_length_tokens=limit)
    assert len(found.pairs) + sum(note.action == "left out" for note in found.notes) == 1
    stops = FakeTokenizer().stop_token_ids
    for pair in found.pairs:
        for reply in (pair.chosen_ids, pair.rejected_ids):
            assert len(pair.prompt_ids) + len(reply) <= limit
            assert [token in stops for token in reply] == [*[False] * (len(reply) - 1), True]
