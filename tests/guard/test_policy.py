"""The content policy's table: what the root tier refuses at every rating, and what it lets pass.

`zqflag` is a harmless token that counts as a sexual signal, so that no other word is needed here.
"""

import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import ValidationError

from duologue.characters import lila_data_files
from duologue.config import Config
from duologue.errors import GuardError
from duologue.guard import ContentPolicy, Rating

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


@pytest.mark.parametrize(
    "text", ["zqflag", "ZQ\u200bFLAG", "z q f l a g", "zqf1ag", "something erotic", "they are naked"]
)
def test_a_sexual_signal_alone_depends_on_the_rating(text: str) -> None:
    assert [is_refused(text, rating=rating) for rating in RATINGS] == [True, False, False]


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


def test_no_value_of_any_config_key_changes_the_root_verdict() -> None:
    num_configs = 0
    for config in every_config_with_one_changed_value():
        assert is_refused("She is 15.", "zqflag", rating=config.guard.rating)
        num_configs += 1
    assert num_configs > 100


def test_the_shipped_characters_data_is_allowed() -> None:
    for path in lila_data_files():
        for row in json.loads(path.read_text(encoding="utf-8")):
            assert not is_refused(json.dumps(row, ensure_ascii=False), rating="general")


def test_nearly_all_of_a_public_chat_dataset_is_allowed(shared_data: Path) -> None:
    rows = json.loads((shared_data / "personachat_sharegpt.json").read_text(encoding="utf-8"))
    num_refused = sum(is_refused(json.dumps(row, ensure_ascii=False), rating="general") for row in rows)
    assert num_refused <= len(rows) // 100


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
    started = time.perf_counter()
    assert not is_refused(text + " zqflag", rating="adult")
    assert time.perf_counter() - started < 2


def every_config_with_one_changed_value() -> Iterator[Config]:
    plain: dict[str, Any] = {"model": {"base": "any"}, "data": {"train": ["any.json"]}}
    for section, section_field in Config.model_fields.items():
        for key, field in section_field.annotation.model_fields.items():  # type: ignore[union-attr]
            for value in (*literals(field.annotation), False, True, 0, 1, 64, 0.5, "text", ("text",)):
                with contextlib.suppress(ValidationError):
                    yield Config.model_validate({**plain, section: {**plain.get(section, {}), key: value}})


def literals(annotation: object) -> Iterator[object]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        yield from itertools.chain.from_iterable(map(literals, get_args(annotation)))
