"""A question is read: its telling words, whom it is about, which days it asks for."""

from datetime import UTC, date, datetime

import pytest

from duologue.memory.question import MAX_WORDS, read_question
from duologue.memory.times import asked_days, has_time_words
from duologue.memory.words import plain_words, stem, stems

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def day(year: int, month: int, number: int) -> int:
    return date(year, month, number).toordinal()


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What is the name of my cat?", ("name", "cat")),
        ("Do you remember what I said?", ()),
        ("What's Lila's train called? It wasn't late.", ("lila", "train", "called", "late")),
        ("cat cat CAT", ("cat",)),
        ('"cat" NEAR(dog) text:* OR NOT -x', ("cat", "near", "dog", "text", "x")),
        ("naïve café", ("naive", "cafe")),
        ("\x00cat\x00", ("cat",)),
        ("… ?!", ()),
        ("What did we cook in May 2023?", ("cook",)),
    ],
)
def test_only_telling_words_are_asked_for(question: str, words: tuple[str, ...]) -> None:
    assert read_question(question).words == words


def test_a_long_message_asks_with_its_first_words() -> None:
    assert len(read_question(" ".join(f"word{number}" for number in range(1000))).words) == MAX_WORDS


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
    assert read_question(question).speaker == speaker


def test_a_speakers_name_asks_for_their_lines_and_is_no_search_word() -> None:
    question = read_question("When did Ana's boat sink, and did ana swim?", names=["ana marsh", "bo", ""])
    assert question.names == {"ana marsh"}
    assert question.stems == ("boat", "sink", "swim")
    assert question.meaning == "When did my boat sink, and did I swim?"
    assert question.asks_when


@pytest.mark.parametrize("text", ["Ana, where is my boat?", "Hey Ana! where is my boat?", "where is my boat, Ana?"])
def test_calling_someone_is_not_asking_about_them(text: str) -> None:
    question = read_question(text, names=["ana"])
    assert (question.names, question.stems, question.speaker) == (frozenset(), ("boat",), "user")


def test_a_name_that_is_also_a_small_word_is_one_only_when_written_large() -> None:
    assert read_question("what will happen?", names=["will"]).names == frozenset()
    assert read_question("what did Will say?", names=["will"]).names == {"will"}


@pytest.mark.parametrize(
    ("question", "days"),
    [
        ("What happened in May 2023?", [(day(2023, 5, 1), day(2023, 6, 11))]),
        ("What happened on 7 May 2023?", [(day(2023, 5, 6), day(2023, 5, 17))]),
        ("on May 7th, 2023?", [(day(2023, 5, 6), day(2023, 5, 17))]),
        ("What happened in December?", [(day(2025, 12, 1), day(2026, 1, 11)), (day(2026, 12, 1), day(2027, 1, 11))]),
        ("What did we do in 2024?", [(day(2024, 1, 1), day(2025, 1, 1))]),
        ("What did I say yesterday?", [(day(2026, 11, 21), day(2026, 11, 22))]),
        ("What did I say two weeks ago?", [(day(2026, 11, 1), day(2026, 11, 16))]),
        ("You may march on.", []),
        ("May I march?", []),
        ("on 31 February 2023", []),
        ("9999999 days ago", [(day(2026, 11, 22) - 300_000 - 1, day(2026, 11, 22) - 300_000 + 2)]),
    ],
)
def test_the_days_a_question_names(question: str, days: list[tuple[int, int]]) -> None:
    assert list(asked_days(question, now=NOW)) == days


def test_a_line_tells_a_time_or_not() -> None:
    assert has_time_words("We met last Friday") and has_time_words("It was 1998")
    assert not has_time_words("You may march on")


# M. F. Porter's own examples, and words whose forms must meet.
@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("caresses", "caress"),
        ("ponies", "poni"),
        ("agreed", "agre"),
        ("plastered", "plaster"),
        ("motoring", "motor"),
        ("hopping", "hop"),
        ("filing", "file"),
        ("happy", "happi"),
        ("relational", "relat"),
        ("conditional", "condit"),
        ("hopefulness", "hope"),
        ("triplicate", "triplic"),
        ("adjustment", "adjust"),
        ("adoption", "adopt"),
        ("controlling", "control"),
        ("naïf", "naïf"),
        ("x", "x"),
    ],
)
def test_stems_are_porters(word: str, expected: str) -> None:
    assert stem(word) == expected


def test_words_of_scripts_without_spaces_are_pairs() -> None:
    assert plain_words("我喜欢tea") == ["我喜", "喜欢", "tea"]
    assert stems("the cats' baskets") == ["cat", "basket"]
