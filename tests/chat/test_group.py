"""Who replies in a chat of several, and what each of them is told."""

import random
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.characters import Character, parse_lorebook
from duologue.chat import Cast, Member
from duologue.chat.group import Voices, mentioned, next_speakers
from duologue.errors import DataError
from tests.chat.conftest import MakeBot
from tests.chat.made import Recording, texts

NAMES = [("Nyx Harrow", "Nyx Harrow"), ("Ada Bell", "The Mender"), ("Tom", "Tom")]
NYX = Character("Nyx Harrow", description="A lighthouse keeper.", greeting="{{char}} nods.", talkativeness=0.0)
ADA = Character("Ada Bell", description="A clock mender.", talkativeness=0.0)


def voices(*talkativeness: float, spoken: tuple[int, ...] = ()) -> Voices:
    return Voices(NAMES, talkativeness or (0.0, 0.0, 0.0), spoken)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tom, have you seen Ada?", (2, 1)),
        ("where is the mender", (1,)),
        ("nyx! NYX!", (0,)),
        ("Tomorrow, perhaps.", ()),
        ("", ()),
    ],
)
def test_a_character_is_mentioned_by_any_whole_word_of_a_name(text: str, expected: tuple[int, ...]) -> None:
    assert mentioned(text, NAMES) == expected


def test_in_natural_order_those_who_are_named_reply_first_then_those_who_chime_in() -> None:
    for seed in range(50):
        chosen = next_speakers("natural", voices(1.0, 0.0, 0.0), "Tom?", roll=random.Random(seed))
        assert chosen == (2, 0)


def test_in_natural_order_somebody_always_replies() -> None:
    lonely = {next_speakers("natural", voices(0.0, 0.0, 1e-9), "hm", roll=random.Random(seed)) for seed in range(30)}
    assert lonely == {(2,)}  # the only one who talks at all
    silent = {next_speakers("natural", voices(), "hm", roll=random.Random(seed)) for seed in range(60)}
    assert silent == {(0,), (1,), (2,)}


def test_talkativeness_is_the_chance_to_chime_in() -> None:
    rolls = [next_speakers("natural", voices(0.3, 1.0, 1.0), "hm", roll=random.Random(seed)) for seed in range(2000)]
    assert 0.25 < sum(0 in chosen for chosen in rolls) / len(rolls) < 0.35


def test_everyone_replies_in_the_order_of_the_list_and_nobody_in_manual_order() -> None:
    assert next_speakers("list", voices(), "Tom?", roll=random.Random(0)) == (0, 1, 2)
    assert next_speakers("manual", voices(), "Tom?", roll=random.Random(0)) == ()


def test_the_pool_is_those_who_have_not_spoken_since_the_user() -> None:
    for seed in range(30):
        assert next_speakers("pooled", voices(spoken=(0, 2)), "", roll=random.Random(seed)) == (1,)
        assert next_speakers("pooled", voices(spoken=(0, 2, 1)), "", roll=random.Random(seed))[0] != 1


@given(
    order=st.sampled_from(["natural", "list", "pooled"]),
    talkativeness=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    text=st.text(max_size=40) | st.sampled_from(["Tom and Nyx", "Ada"]),
    spoken=st.lists(st.integers(0, 2), max_size=4),
    seed=st.integers(0, 99),
)
def test_nobody_speaks_twice_and_somebody_speaks(order, talkativeness, text, spoken, seed) -> None:
    chosen = next_speakers(order, Voices(NAMES, talkativeness, spoken), text, roll=random.Random(seed))
    assert 1 <= len(chosen) == len(set(chosen)) <= 3


def a_group(order: str = "list") -> Cast:
    return Cast((Member.of(NYX), Member.of(ADA)), order)


def test_everyone_gets_the_prompt_of_their_own_card_with_the_names_of_the_others(make_bot: MakeBot) -> None:
    engine = Recording(reply="Aye.")
    bot = make_bot(engine, character=a_group())
    session_id = bot.new_session()
    bot.reply(session_id, "Hello you two.", cancel=threading.Event()).read()
    second = bot.next_reply(session_id, cancel=threading.Event())
    assert second is not None
    assert second.speaker == "Ada Bell"
    second.read()
    assert bot.next_reply(session_id, cancel=threading.Event()) is None
    path = bot.sessions.path(session_id)
    assert [(entry.message.role, entry.speaker) for entry in path[1:]] == [
        ("user", ""),
        ("assistant", "Nyx Harrow"),
        ("assistant", "Ada Bell"),
    ]
    assert engine.prompts[0].startswith("system\nYou are Nyx Harrow. A lighthouse keeper.\n\nAlso here: Ada Bell.")
    assert engine.prompts[1].startswith("system\nYou are Ada Bell. A clock mender.\n\nAlso here: Nyx Harrow.")
    assert engine.prompts[1].endswith(
        "user\nNyx Harrow: Nyx Harrow nods.\n\nSam: Hello you two.\n\nNyx Harrow: Aye.\nassistant\n"
    )


def test_nobody_in_a_group_speaks_for_the_others(make_bot: MakeBot) -> None:
    bot = make_bot(Recording(reply="I agree.\nSam: And I say so too."), character=a_group())
    session_id = bot.new_session()
    assert bot.reply(session_id, "Hello.", cancel=threading.Event()).read().text == "I agree."


def test_whoever_is_asked_for_replies(make_bot: MakeBot) -> None:
    bot = make_bot(Recording(reply="Aye."), character=a_group("manual"))
    session_id = bot.new_session()
    bot.say(session_id, "Hello.")
    assert bot.next_reply(session_id, cancel=threading.Event()) is None
    stream = bot.next_reply(session_id, cancel=threading.Event(), speaker="ada")
    assert stream is not None
    stream.read()
    assert bot.sessions.path(session_id)[-1].speaker == "Ada Bell"
    with pytest.raises(DataError, match="nobody here is called 'Zed'"):
        bot.reply(session_id, "Zed?", cancel=threading.Event(), speaker="Zed")
    assert texts(bot, session_id)[-1] == "Aye."  # nothing was stored


def test_another_version_of_a_reply_is_by_the_same_character(make_bot: MakeBot) -> None:
    bot = make_bot(Recording(reply="Aye."), character=a_group())
    session_id = bot.new_session()
    bot.reply(session_id, "Hello.", cancel=threading.Event(), speaker="Ada Bell").read()
    bot.regenerate(session_id, cancel=threading.Event()).read()
    last = bot.sessions.path(session_id)[-1]
    assert (last.speaker, last.swipe, last.num_swipes) == ("Ada Bell", 2, 2)


def test_what_one_character_was_told_alone_another_does_not_know(make_bot: MakeBot, tmp_path: Path) -> None:
    engine = Recording(reply="Aye.")
    bot = make_bot(engine, character=a_group("manual"))
    first = bot.new_session()
    bot.reply(first, "My boat is called Petrel.", cancel=threading.Event(), speaker="Nyx Harrow").read()
    bot.settle()
    second = bot.new_session()
    ada = bot.reply(second, "What is my boat called?", cancel=threading.Event(), speaker="Ada Bell").read()
    assert ada.recalled == ()
    stream = bot.next_reply(second, cancel=threading.Event(), speaker="Nyx Harrow")
    assert stream is not None
    assert "My boat is called Petrel." in [line.text for line in stream.read().recalled]


def test_everyones_replies_can_be_read_as_one_stream(make_bot: MakeBot) -> None:
    bot = make_bot(Recording(reply="Aye."), character=a_group())
    session_id = bot.new_session()
    chain = bot.replies(session_id, "Hello.", cancel=threading.Event())
    assert "".join(piece.text for piece in chain) == "Aye.\n\nAda Bell: Aye."
    assert [entry.speaker for entry in bot.sessions.path(session_id)[2:]] == ["Nyx Harrow", "Ada Bell"]
    assert chain.reply.text == "Aye."


def test_stopping_one_reply_stops_those_that_would_follow(make_bot: MakeBot) -> None:
    bot, cancel = make_bot(Recording(reply="one two three"), character=a_group()), threading.Event()
    session_id = bot.new_session()
    chain = bot.replies(session_id, "Hello.", cancel=cancel)
    next(chain)
    cancel.set()
    list(chain)
    assert [entry.speaker for entry in bot.sessions.path(session_id)[2:]] == ["Nyx Harrow"]


def test_each_character_has_lore_of_their_own(make_bot: MakeBot) -> None:
    book = parse_lorebook(
        {"entries": [{"keys": ["fog"], "content": "The horn is Bertha.", "enabled": True, "insertion_order": 1}]},
        where="test",
    )
    engine = Recording(reply="Aye.")
    bot = make_bot(engine, character=Cast((Member.of(NYX, more=[book]), Member.of(ADA)), "list"))
    session_id = bot.new_session()
    list(bot.replies(session_id, "What of the fog?", cancel=threading.Event()))
    assert ["Bertha" in prompt for prompt in engine.prompts] == [True, False]
