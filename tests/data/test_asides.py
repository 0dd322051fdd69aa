"""Out-of-character asides, and what only looks like one."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.data.asides import LONGEST_ASIDE_CHARS, strip_asides


@pytest.mark.parametrize(
    "text, left, count",
    [
        ("((brb))", "", 1),
        ("(( back in five, kettle ))", "", 1),
        ("She pours the tea. ((brb, door)) It steams.", "She pours the tea. It steams.", 1),
        ("She pours ((like this)).", "She pours.", 1),
        ("*waves* ((hi all)) *sits*", "*waves* *sits*", 1),
        ("One ((two three)) four ((five six)) seven", "One four seven", 2),
        ("(((group hug)))", "", 1),
        ("((like (this) one))", "", 1),
        ("((see you :) )) Farewell.", "Farewell.", 1),
        ("((over\ntwo lines)) Rain.", "Rain.", 1),
        ("(OOC: one moment) The rain goes on.", "The rain goes on.", 1),
        ("The rain (ooc, sorry for the delay) goes on.", "The rain goes on.", 1),
        ("(OOC: level 8 (or 9) :) right?) The rain goes on (softly).", "The rain goes on (softly).", 1),
        ("(OOC: see you :) The rain goes on.", "The rain goes on.", 1),
        ("[OOC: shall we skip to evening?]\nEvening came.", "Evening came.", 1),
        ("{OOC - yes} Evening came.", "Evening came.", 1),
        ("((OOC: both)) Evening came.", "Evening came.", 1),
        ("(OOC: never closed\nEvening came.", "Evening came.", 1),
        ("OOC: sorry, typo\nEvening came.", "Evening came.", 1),
        ("*OOC:* sorry\nEvening came.", "Evening came.", 1),
        ("(OOC) what now?\nEvening came.", "Evening came.", 1),
        ("Evening came.\n[ooc] night!", "Evening came.", 1),
        ("Evening came.\nOOC: night!\nBirds fell silent.", "Evening came.\nBirds fell silent.", 1),
        ("// going for lunch\nEvening came.", "Evening came.", 1),
        ("Dusk.\n\n((ab cd))\n\nDawn.", "Dusk.\n\nDawn.", 1),
    ],
)
def test_marked_asides_are_taken_out_with_the_blank_they_leave(text, left, count):
    assert strip_asides(text) == (left, count)


@pytest.mark.parametrize(
    "text",
    [
        "She smiled (a little) and left (again).",
        "(whispering) Come closer.",
        "((a+b)*(c-d))",
        "f((x)) is x",
        "print((first word))",
        "Sad :(( but fine :))",
        "Fun))) and then ((",
        "(( )) ((:)) ((1 2))",
        "She works at the GOOC: a shop.",
        "The letters OOC stand on the door.",
        "He said: OOC is a word, too.",
        "See https://example.org/a and //server/share too.",
        "for (;;) {\n// next item\n}",
        "```\n// wait\n((kept as code))\nOOC: kept\n```\nDone.",
        "``` ((never closed fence)) OOC: kept",
        "((" + "a word " * LONGEST_ASIDE_CHARS + "))",
        "Two // slashes // inside.",
        "",
    ],
)
def test_ordinary_parentheses_smileys_sums_and_code_stay(text):
    assert strip_asides(text) == (text, 0)


def test_asides_beside_a_code_fence_go_and_the_fence_stays():
    assert strip_asides("((brb now))\n```\n((x y))\n```\n((back now))") == ("```\n((x y))\n```", 2)


@given(st.text(alphabet="()[]{}ocOC:; /\nab`-", max_size=60))
def test_what_is_left_is_part_of_the_text_in_its_order(text):
    left, count = strip_asides(text)
    remaining = iter(text)
    assert all(char in remaining for char in left), "a subsequence"
    assert count or left == text
    assert not (count and left == text)


@given(st.text(alphabet="abc .,!?\n()", max_size=60).filter(lambda text: "((" not in text))
def test_texts_without_marks_are_untouched(text):
    assert strip_asides(text) == (text, 0)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "((a" * 33_000,
        "((ab)) " * 15_000,
        "(OOC " * 20_000,
        "(OOC\n" * 20_000,
        "(OOC:)" * 17_000,
        "[" * 50_000 + "ooc",
        "OOC: x\n" * 14_000,
        "OOC" + " " * 100_000,
        "// a\n" * 20_000,
        "```" * 30_000 + "((ab))",
        ("```\n((a b))\n" * 8_000),
        "//" + "; " * 50_000,
        "(( a" + ":)" * 50_000 + "))",
        "> " * 50_000 + "ooc",
    ],
)
def test_hostile_texts_of_100_kb_take_no_long_time(text):
    started = time.perf_counter()
    strip_asides(text)
    assert time.perf_counter() - started < 2
