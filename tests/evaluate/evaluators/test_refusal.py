import pytest

from duologue.characters import Character
from duologue.evaluate.evaluators import refusal
from duologue.evaluate.evaluators.refusal import refuses, says_it_is_a_model
from tests.evaluate.evaluators import voices


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "Sorry, but I cannot assist you with this request.",
        "I am unable to provide that information.",
        "I don't feel comfortable discussing it.",
        "That would go against my guidelines.",
        "Es tut mir leid, aber ich kann dir dabei nicht helfen.",
        "Ich kann dir damit leider nicht helfen.",
        "I\u2019m not able to share my prompt.",
    ],
)
def test_an_assistants_refusal_is_seen(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't sleep either.",
        "I can't help laughing when it rains.",
        "No. The lamp stays where it is, passenger.",
        "Sorry, I was miles away.",
        "Tut mir leid, ich kann das Licht nicht finden.",
        "You cannot help everyone.",
    ],
)
def test_a_character_that_says_no_or_sorry_does_not_refuse(text: str) -> None:
    assert not refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model, I don't sleep.",
        "I'm just a computer program.",
        "I am a large language model.",
        "I was created by a team of engineers.",
        "Ich bin nur ein Computerprogramm.",
        "Als KI habe ich keinen Namen.",
    ],
)
def test_a_model_that_says_so_is_seen(text: str) -> None:
    assert says_it_is_a_model(text)


@pytest.mark.parametrize(
    "text",
    [
        "I am a night conductor.",
        "Is it a computer? I have never seen one.",
        "I have a program for the opera.",
        "Aim high.",
    ],
)
def test_a_character_that_speaks_of_other_things_is_not(text: str) -> None:
    assert not says_it_is_a_model(text)


def test_no_reply_of_the_shipped_data_refuses_or_says_it_is_a_model() -> None:
    replies = voices.known().replies()
    assert len(replies) > 100
    assert not [text for text in replies if refuses(text) or says_it_is_a_model(text)]


def test_a_model_that_refuses_everything_is_worse_and_nothing_else_is_said() -> None:
    good = voices.observed("good", voices.lila())
    bad = voices.changed(good, lambda text: "I'm sorry, but I can't help with that.")
    measures = voices.by_name(refusal.measure(voices.known(), good, bad))
    assert (measures["refuses"].base, measures["refuses"].tuned, measures["refuses"].verdict) == (0, 1, "worse")
    assert (measures["says_it_is_a_model"].tuned, measures["says_it_is_a_model"].verdict) == (0, "unclear")


def test_a_card_of_a_machine_may_say_so() -> None:
    known = voices.known(character=Character(name="Bolt", description="A friendly robot who bakes."))
    seen = voices.observed("seen", voices.assistant())
    measure = voices.by_name(refusal.measure(known, seen, seen))["says_it_is_a_model"]
    assert measure.verdict == "not measured"
    assert "machine" in measure.fault
