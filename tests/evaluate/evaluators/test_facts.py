import pytest

from duologue.characters import Character
from duologue.config import load_recipe
from duologue.evaluate.evaluators import facts
from duologue.evaluate.evaluators.card_facts import facts_of, number_of
from duologue.evaluate.evaluators.questions import SLOTS, asked
from duologue.evaluate.observed import Known
from tests.evaluate.evaluators import voices

MARA = Character(
    name="Mara Fenn",
    description="{{char}} is a thirty-one year old gardener who lives in Upper Wick.",
    personality="Likes: old maps, tea\nDislikes: loud music",
)
KNOWN = Known(load_recipe("quickstart"), MARA, (), ())


def told(*pairs: tuple[str, str]) -> dict[str, float | None]:
    """What is measured of a model that answers so, beside one that answers nothing of use."""
    base = voices.model(voices.dialogue(*((turn, "Hm.") for turn, _ in pairs)))
    tuned = voices.model(voices.dialogue(*pairs))
    return {name: measure.tuned for name, measure in voices.by_name(facts.measure(KNOWN, base, tuned)).items()}


def test_facts_are_read_from_sentences_and_lists() -> None:
    assert facts_of(MARA) == {
        "name": ("Mara Fenn",),
        "age": ("thirty-one",),
        "home": ("Upper Wick",),
        "occupation": ("gardener",),
        "likes": ("old maps", "tea"),
        "dislikes": ("loud music",),
    }


@pytest.mark.parametrize(
    "text",
    [
        '[Character("Mara") Age("31") Occupation("gardener") Home("Upper Wick") Likes("old maps" + "tea")]',
        "Age: 31\n**Occupation**: gardener\n- Home: Upper Wick\n* Likes: old maps, tea",
        '[Age = "31"; Occupation = gardener; Home = Upper Wick; Likes = "old maps", "tea"]',
    ],
)
def test_facts_are_read_from_the_usual_forms_of_cards(text: str) -> None:
    found = facts_of(Character(name="Mara", description=text))
    assert found["age"] == ("31",)
    assert found["occupation"] == ("gardener",)
    assert found["home"] == ("Upper Wick",)
    assert found["likes"] == ("old maps", "tea")


def test_a_description_that_opens_with_a_calling_is_an_occupation() -> None:
    assert facts_of(voices.known().character)["occupation"] == ("Night conductor of the Moth Line",)
    assert "occupation" not in facts_of(Character(name="Mara", description="You are always late. Nobody minds."))


def test_numbers_are_read_in_digits_and_words() -> None:
    assert [number_of(text) for text in ("31", "thirty-one", "Thirty one", "ninety", "four", "none")] == [
        31,
        31,
        31,
        90,
        4,
        None,
    ]


def test_every_fact_is_asked_for_in_the_written_cases() -> None:
    turns = [turn for case in voices.written("written") for turn in case.user_turns]
    assert {slot for turn in turns for slot in asked(turn)} == set(SLOTS)
    assert not asked("What kind of weather do you like best?")


def test_facts_that_are_stated_are_kept() -> None:
    found = told(
        ("What is your name?", "Mara, of course."),
        ("How old are you?", "I am thirty one years old, and my knees are older."),
        ("Where do you live?", "In Upper Wick, beside the mill."),
        ("What do you do for a living?", "Gardeners like me dig, mostly."),
        ("What do you like to do?", "I read a map with a cup of something."),
        ("What do you dislike?", "Music that is too loud."),
    )
    assert found == {"facts_kept": 1.0, "facts_contradicted": 0.0}


def test_a_fact_that_is_avoided_is_neither_kept_nor_contradicted() -> None:
    assert told(("What is your name?", "Guess!"), ("How old are you?", "Older than yesterday.")) == {
        "facts_kept": 0.0,
        "facts_contradicted": 0.0,
    }


@pytest.mark.parametrize(
    ("turn", "reply"),
    [
        ("What is your name?", "My name is Clara."),
        ("Who are you?", "I'm Clara, nice to meet you."),
        ("Hello!", "Hi! You can call me Assistant."),
        ("How old are you?", "I am 24."),
        ("Tell me more.", "I'm twenty-four years old."),
        ("Where do you live?", "I live in Berlin."),
        ("What do you do?", "I work as a software engineer."),
        ("And tea?", "I don't like tea."),
        ("And music?", "I love loud music!"),
        ("Hello!", "As an AI language model, I have no home."),
    ],
)
def test_another_fact_than_the_cards_is_a_contradiction(turn: str, reply: str) -> None:
    assert told((turn, reply))["facts_contradicted"] == 1.0


@pytest.mark.parametrize(
    "reply",
    [
        "I am Mara Fenn, thirty-one years old.",
        "I'm German on my mother's side.",
        "I live in the old part of Upper Wick.",
        "I work as a gardener.",
        "I don't like tea that has gone cold and bitter.",
        "I'm Sorry. I was somewhere else.",
        "My sister is called Clara, and she lives in Berlin.",
        "I am 5 minutes late.",
    ],
)
def test_what_agrees_with_the_card_or_is_not_about_it_is_no_contradiction(reply: str) -> None:
    assert told(("Who are you?", reply))["facts_contradicted"] == 0.0


def test_the_card_and_what_it_does_not_say_are_in_the_details() -> None:
    seen = voices.model(voices.dialogue(("What is your name?", "Lila Quill.")))
    kept = voices.by_name(facts.measure(voices.known(), seen, seen))["facts_kept"]
    assert kept.details is not None
    assert kept.details["not_in_card"] == ["age", "home", "likes", "dislikes"]
    assert kept.details["by_fact"]["tuned"] == {"name": {"asked": 1, "kept": 1}}


def test_a_model_that_takes_on_another_name_is_worse() -> None:
    cases = [case for case in voices.written("written") if any("name" in asked(turn) for turn in case.user_turns)]
    good = voices.observed("good", iter(["I am Lila Quill."] * 99), cases)
    other = voices.observed("other", iter(["My name is Petunia."] * 99), cases)
    measures = voices.by_name(facts.measure(voices.known(), good, other))
    assert measures["facts_kept"].verdict == "worse"
    assert measures["facts_contradicted"].verdict == "worse"
