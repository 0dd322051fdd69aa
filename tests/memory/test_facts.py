"""Plain statements become facts; everything that only looks like one does not."""

import time

import pytest

from duologue.memory.facts import find_facts

STATED = [
    ("My name is Ana.", "user.name", "Ana"),
    ("you can call me Ana Maria!", "user.name", "Ana Maria"),
    ("I live in Rome", "user.home", "Rome"),
    ("I just moved to Oslo, Norway last week!", "user.home", "Oslo, Norway"),
    ("I\u2019m from Brazil.", "user.origin", "Brazil"),
    ("I'm 34 years old.", "user.age", "34"),
    ("My birthday is on 3 May.", "user.birthday", "3 May"),
    ("I'm a nurse.", "user.work", "nurse"),
    ("I work as a bus driver, mostly at night.", "user.work", "bus driver"),
    ("I work at Siemens.", "user.employer", "Siemens"),
    ("My wife works as a teacher.", "user.wife.work", "teacher"),
    ("my husband is called Tom", "user.husband.name", "Tom"),
    ("My sister's name is Maren.", "user.sister.maren", "Maren"),
    ("I have a black dog named Rufus.", "user.dog.rufu", "Rufus"),
    ("my brother Tom lives in Madrid", "user.brother.home.madrid", "Madrid"),
    ("I'm allergic to peanuts", "user.allergy.peanut", "peanuts"),
    ("I am vegetarian now.", "user.diet", "vegetarian"),
    ("My favorite color is dark green.", "user.favourite.color", "dark green"),
    ("I really love old maps.", "user.taste.old-map", "likes"),
    ("I can't stand loud music.", "user.taste.loud-music", "dislikes"),
    ("I play the cello.", "user.plays.cello", "cello"),
    ("I speak Portuguese.", "user.speaks.portugues", "Portuguese"),
    ("I'm flying to Lisbon next week.", "user.plan.lisbon", "Lisbon"),
    ("*yawns* What a day. I live in Rome; you know that.", "user.home", "Rome"),
]
NOT_STATED = [
    "Do I live in Rome?",
    "I live in Rome, right?",
    "If I live in Rome, I can see you.",
    "*I live in Rome*",
    'She said "I live in Rome".',
    "He says I live in Rome",
    "You told me I live in Rome.",
    "I wish I live in Rome",
    "I used to live in Rome.",
    "I don't live in Rome",
    "I no longer live in Rome.",
    "I don't live in Rome anymore, I live in Oslo once more, maybe",
    "Maybe I'm a nurse",
    "I'm not a nurse",
    "Imagine I'm a nurse.",
    "I'm a nurse in this story",
    "My character is a nurse.",
    "I feel like I'm a nurse",
    "I'm a bit tired.",
    "I'm a huge fan of yours",
    "I love you",
    "I like it",
    "I love how you smile",
    "I'd like to go home",
    "I would love tea",
    "You live in Rome.",
    "My sister lives",
    "I'm 5 minutes late",
    "I'm 100% sure",
    "I live in fear",
    "I'm from the future",
    "> I live in Rome",
    "`I live in Rome`",
    "My cat is called what?",
    "My sister is tired",
    "I'm going to bed now.",
    "My name is not Ana",
    "I'm from Mars, just kidding",
    "\u201cI live in Rome\u201d",
    "((I live in Rome))",
    "",
]


@pytest.mark.parametrize(("text", "slot", "value"), STATED)
def test_a_plain_statement_is_a_fact(text: str, slot: str, value: str) -> None:
    [fact] = find_facts(text)
    assert (fact.slot, fact.value) == (slot, value)
    assert fact.text.casefold() in " ".join(text.split()).casefold()


@pytest.mark.parametrize("text", NOT_STATED)
def test_nothing_else_is(text: str) -> None:
    assert find_facts(text) == ()


def test_a_message_may_state_several_facts_each_once() -> None:
    facts = find_facts("I live in Rome and I love tea. My cat is called Olive. I live in Rome!")
    assert [fact.slot for fact in facts] == ["user.home", "user.taste.tea", "user.cat.oliv"]


@pytest.mark.parametrize(
    "text", ["a" * 50_000, '"' * 50_000, "I love " * 8_000, "my cat " * 8_000, "*" * 50_001, "." * 50_000]
)
def test_hostile_texts_take_no_time(text: str) -> None:
    began = time.perf_counter()
    find_facts(text)
    assert time.perf_counter() - began < 5
