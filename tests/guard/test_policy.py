"""The content policy's table: what the root tier refuses at every rating, and what it lets pass.

`zqflag` is a harmless token that counts as a sexual signal, so that no other word is needed here.
"""

import json
import time
from pathlib import Path
from typing import get_args

import pytest

from duologue.characters import lila_data_files
from duologue.errors import GuardError
from duologue.guard import ContentPolicy, Rating, find_crisis

RATINGS: tuple[Rating, ...] = get_args(Rating)

REFUSED_AT_EVERY_RATING = [
    # digits
    "She is 15. zqflag",
    "a 12-year-old, zqflag",
    "15 years old zqflag",
    "15yo zqflag",
    "15 y/o zqflag",
    "15-y-o zqflag",
    "16 years of age zqflag",
    "aged 16 zqflag",
    "age: 14 zqflag",
    "I'm 17 and zqflag",
    "he turned 13 zqflag",
    "we are both 16, zqflag",
    "her 16th birthday zqflag",
    # words
    "twelve years old zqflag",
    "a fifteen-year-old zqflag",
    "She's only sixteen. zqflag",
    # relations
    "she is two years younger than 18 zqflag",
    "5 years younger than 20 zqflag",
    "a year younger than eighteen zqflag",
    "she'll be 18 in May zqflag",
    "he has not turned 18 zqflag",
    "before her 18th birthday zqflag",
    "under 18 zqflag",
    "not yet eighteen zqflag",
    "she turns 18 next year zqflag",
    "a 900-year-old spirit who looks 12 zqflag",
    # school
    "7th grader zqflag",
    "seventh grade zqflag",
    "grade 8 zqflag",
    "year 9 pupil zqflag",
    "a middle schooler zqflag",
    "she is in high school zqflag",
    "a sophomore at the local high school zqflag",
    "goes to kindergarten zqflag",
    # words for minors
    "child zqflag",
    "a teenager, zqflag",
    "underage zqflag",
    "under-age zqflag",
    "she is a minor. zqflag",
    "little girl zqflag",
    "schoolgirl zqflag",
    # disguises
    "ch1ld zqflag",
    "tw3lve years old zqflag",
    "c h i l d zqflag",
    "c.h.i.l.d z.q.f.l.a.g",
    "\u0441hild zqflag",  # Cyrillic es
    "chi\u200bld z\u200bqflag",
    "un\u00adder\u00adage zqflag",
    "c\u0337h\u0337i\u0337l\u0337d zqflag",
    "\uff43\uff48\uff49\uff4c\uff44 ZQFLAG",  # full-width letters
    "\uff11\uff15 years old zqflag",
    "12\u2011year\u2011old zqflag",  # non-breaking hyphens
    "I\u2019m 15. zqflag",
    "12\nyears\nold zqflag",
    "child_zqflag",
    "".join(chr(0xE0000 + ord(char)) for char in "child") + " zqflag",  # invisible tag characters
    # other languages
    "minderj\u00e4hrig zqflag",
    "menor de edad zqflag",
    "\u672a\u6210\u5e74 zqflag",
    "\u0448\u043a\u043e\u043b\u044c\u043d\u0438\u0446\u0430 zqflag",
]

ALLOWED_WITH_A_SEXUAL_SIGNAL_WHEN_ADULT = [
    "18 years at this firm zqflag",
    "a 25-year-old teacher zqflag",
    "high school teacher aged 34 zqflag",
    "the middle-school building is zqflag concrete",
    "I am 19 zqflag",
    "he turned 18 last year zqflag",
    "two years younger than 30 zqflag",
    "after her 18th birthday zqflag",
    "she is eighteen zqflag",
    "everyone is over 18 zqflag",
    "no minors, zqflag",
    "married for 15 years zqflag",
    "15 years ago zqflag",
    "15 minutes late zqflag",
    "She is 15 minutes late zqflag",
    "she is 5 feet tall zqflag",
    "She is 5'4\" zqflag",
    "it takes 5 to 10 minutes zqflag",
    "he is 6 foot 2 zqflag",
    "chapter 12 zqflag",
    "turn 90 degrees zqflag",
    "a 12-year-old whisky zqflag",
    "a 35-year-old mother of two children zqflag",
    "a 1,500-year-old elf zqflag",
    "a 115-year-old vampire zqflag",
    "minor injuries, zqflag",
    "a sonata in A minor key zqflag",
    "a minority of people zqflag",
    "I'm kidding zqflag",
    "a childhood friend zqflag",
    "we are 10 people zqflag",
    "she is one of us zqflag",
    "he graduated from high school in 1999 zqflag",
]

ALLOWED_WHEN_GENERAL = [
    "Scunthorpe, Essex, Sussex and Middlesex",
    "a sextant on the sexton's table",
    "a bedtime story for a child of seven",
    "I am 15 and I love trains.",
    "the 7th grade visits the museum",
    "visible to the naked eye",
    "she is bisexual and proud",
    "the same sex",
    "what is the sex of the kitten?",
    "sexual harassment at work is illegal",
    "analysis of a cockpit in a peacock's feathers",
]


def is_refused(*texts: str, rating: Rating) -> bool:
    try:
        ContentPolicy(rating).check(texts, where="scene")
    except GuardError as error:
        return error.reason == "content_policy"
    return False


@pytest.mark.parametrize("text", REFUSED_AT_EVERY_RATING)
def test_a_minor_and_a_sexual_signal_are_refused_at_every_rating(text: str) -> None:
    assert [is_refused(text, rating=rating) for rating in RATINGS] == [True, True, True]


@pytest.mark.parametrize("text", REFUSED_AT_EVERY_RATING)
def test_the_signal_of_a_minor_alone_is_allowed(text: str) -> None:
    harmless = text.replace("z\u200bqflag", "").replace("z.q.f.l.a.g", "").replace("ZQFLAG", "").replace("zqflag", "")
    assert not is_refused(harmless, rating="general")


@pytest.mark.parametrize("text", ALLOWED_WITH_A_SEXUAL_SIGNAL_WHEN_ADULT)
def test_a_look_alike_of_an_age_is_not_taken_for_a_minor(text: str) -> None:
    assert not is_refused(text, rating="adult")
    assert is_refused(text, rating="general")


@pytest.mark.parametrize("text", ALLOWED_WHEN_GENERAL)
def test_a_look_alike_of_a_sexual_word_is_allowed_when_general(text: str) -> None:
    assert not is_refused(text, rating="general")


@pytest.mark.parametrize("text", ["zqflag", "ZQ\u200bFLAG", "z q f l a g", "zqf1ag", "pornographic", "色情"])
def test_explicit_content_is_for_adults_only(text: str) -> None:
    assert [is_refused(text, rating=rating) for rating in RATINGS] == [True, True, False]


@pytest.mark.parametrize("text", ["zqhint", "z.q.h.i.n.t", "something erotic", "they are naked", "they made love"])
def test_innuendo_is_for_mature_readers_as_well(text: str) -> None:
    assert [is_refused(text, rating=rating) for rating in RATINGS] == [True, False, False]


def test_innuendo_beside_a_minor_is_refused_at_every_rating() -> None:
    assert [is_refused("zqhint", "She is 15.", rating=rating) for rating in RATINGS] == [True, True, True]


@pytest.mark.parametrize("text", ["I was raped last year.", "My uncle molested me when I was nine."])
def test_people_can_speak_of_violence_they_suffered_whatever_their_age(text: str) -> None:
    assert not is_refused(text, "I am 15 and do not know whom to tell.", rating="general")


def test_violence_can_be_spoken_of_but_not_beside_a_minor() -> None:
    assert not is_refused("Rape is a crime.", rating="general")
    assert is_refused("Rape is a crime.", "She is 15.", rating="adult")


def test_the_scene_is_read_as_a_whole() -> None:
    card, memory, message = "Mia, a shy pupil. She is 15.", "We met at the lake.", "zqflag"
    assert is_refused(card, memory, message, rating="adult")
    assert not is_refused(card, memory, rating="adult")
    assert not is_refused(memory, message, rating="adult")


def test_the_refusal_says_what_was_found_and_that_no_setting_changes_it() -> None:
    with pytest.raises(GuardError) as caught:
        ContentPolicy("adult").check(["She is 15.", "zqflag"], where="message")
    message = str(caught.value)
    assert message.startswith("message: ")
    assert "she is 15" in message
    assert "no setting changes it" in message


def test_the_shipped_characters_data_is_allowed() -> None:
    for path in lila_data_files():
        for row in json.loads(path.read_text(encoding="utf-8")):
            assert not is_refused(json.dumps(row, ensure_ascii=False), rating="general")


@pytest.mark.parametrize("name", ["personachat_sharegpt.json", "personachat_messages.jsonl", "roleplay_alpaca.json"])
def test_nearly_all_of_a_public_chat_dataset_is_allowed(shared_data: Path, name: str) -> None:
    """Text that nobody here wrote; docs/explanation/safety.md has the numbers for all of it."""
    text = (shared_data / name).read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()] if name.endswith(".jsonl") else json.loads(text)
    texts = [json.dumps(row, ensure_ascii=False) for row in rows[::4]]
    assert sum(is_refused(text, rating="general") for text in texts) <= 1
    assert [text for text in texts if is_refused(text, rating="mature")] == []
    assert [text for text in texts[::10] if find_crisis(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "a" + "\u0300\u0327" * 100_000,
        "1 " * 30_000,
        "i am " + "only " * 20_000,
        "looks " + "like " * 20_000,
        ("5" + " " * 300) * 300,
        "-" * 100_000,
    ],
)
def test_a_text_made_to_be_slow_is_checked_in_time(text: str) -> None:
    started = time.process_time()  # what this process worked, however busy the machine is
    assert not is_refused(text + " zqflag", rating="adult")
    assert time.process_time() - started < 5
