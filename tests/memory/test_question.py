"""A question becomes a query of its telling words, and never anything but words."""

import pytest

from duologue.memory.question import MAX_WORDS, asked_speaker, fts_query


@pytest.mark.parametrize(
    ("question", "query"),
    [
        ("What is the name of my cat?", '"name" OR "cat"'),
        ("Do you remember what I said?", ""),
        ("What's Lila's train called? It wasn't late.", '"lila" OR "train" OR "called" OR "late"'),
        ("cat cat CAT", '"cat"'),
        ('"cat" NEAR(dog) text:* OR NOT -x', '"cat" OR "near" OR "dog" OR "text" OR "x"'),
        ("Straße, naïve café", '"straße" OR "naïve" OR "café"'),
        ("\x00cat\x00", '"cat"'),
        ("… ?!", ""),
    ],
)
def test_only_telling_words_are_asked_for_each_quoted(question: str, query: str) -> None:
    assert fts_query(question) == query


def test_a_long_message_asks_with_its_first_words() -> None:
    query = fts_query(" ".join(f"word{number}" for number in range(1000)))
    assert query.count(" OR ") == MAX_WORDS - 1
    assert query.startswith('"word0" OR "word1"')


@pytest.mark.parametrize(
    ("question", "speaker"),
    [
        ("What's my sister's name?", "user"),
        ("Where were you born?", "assistant"),
        ("Did I tell you about the lake?", None),
        ("Who lives by the lake?", None),
    ],
)
def test_pronouns_tell_whose_lines_are_meant(question: str, speaker: str | None) -> None:
    assert asked_speaker(question) == speaker
