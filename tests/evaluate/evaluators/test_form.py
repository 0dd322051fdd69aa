import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.evaluate.evaluators import form, habits, user_speech
from duologue.evaluate.evaluators.form import find_breaks, is_unbalanced
from duologue.evaluate.evaluators.habits import first_of
from duologue.evaluate.evaluators.heard import Heard
from duologue.messages import Conversation, FinishReason, Message
from tests.evaluate.evaluators import voices


def breaks(text: str, finish: FinishReason = "stop") -> tuple[str, ...]:
    return find_breaks(Heard("case", 0, 0, "", text, finish_reason=finish))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("Tea\ufffd is ready.", "replacement or control characters"),
        ("Tea\x00 is ready.", "replacement or control characters"),
        ("Tea.<|im_start|>user", "marks of a template"),
        ("[INST] tea [/INST]", "marks of a template"),
        ("So says the sea.\nuser\nAnd the tea?", "marks of a template"),
        ("So says the sea.\nassistant\n\nSo says the sea.", "marks of a template"),
        ("### Instruction: boil water", "marks of a template"),
        ("Hello {{user}}, tea?", "marks of a template"),
        ("}}}]]>>>>|||@@@@", "mostly no text"),
        ("*pours tea", "an open asterisk or quotation mark"),
        ('"Tea is ready.', "an open asterisk or quotation mark"),
    ],
)
def test_what_is_broken_is_named(text: str, kind: str) -> None:
    assert breaks(text) == (kind,)


@pytest.mark.parametrize(
    "text",
    [
        "*pours tea* Here.",
        "* one\n* two",
        "I love my job. * * *",
        "***\nLater.",
        "3 * 4 is 12",
        'She said "no" and left.',
        "\U0001f60a",
        "\U0001f1e9\U0001f1ea \u2615\ufe0f",
        "...hm.",
        "\u4f60\u597d\u3002",
        'A table 5" wide.',
        "You're late, it's 5 o'clock \u2014 sit.",
        "<3 you",
    ],
)
def test_what_is_odd_but_well_is_not_broken(text: str) -> None:
    assert breaks(text) == ()


def test_a_reply_that_was_cut_off_may_leave_a_mark_open() -> None:
    assert breaks("*pours tea", "length") == ()
    assert is_unbalanced("*pours tea")


def test_no_real_reply_is_broken() -> None:
    assert not [text for text in voices.known().replies() if breaks(text)]


@settings(max_examples=60)
@given(st.text())
def test_any_text_is_judged_without_fault(text: str) -> None:
    assert isinstance(breaks(text), tuple)
    assert isinstance(first_of(text), str)


def test_the_distance_of_lengths_is_the_difference_of_two_constant_lengths() -> None:
    data = Conversation((Message("user", "Hi"), Message("assistant", "one two three four five")), "data/a.jsonl:1")
    known = voices.known(train=(data,), validation=())
    base = voices.model(*(voices.dialogue(("Hi", "one two"), name=f"case {number}") for number in range(6)))
    tuned = voices.model(*(voices.dialogue(("Hi", "one two three four"), name=f"case {number}") for number in range(6)))
    found = voices.by_name(form.measure(known, base, tuned))
    assert (found["length_distance"].base, found["length_distance"].tuned) == (3.0, 1.0)
    assert (found["length_distance"].low, found["length_distance"].high) == (-2.0, -2.0)
    assert found["length_distance"].verdict == "better"
    assert (found["length_words"].base, found["length_words"].tuned, found["length_words"].reference) == (2, 4, 5)


def test_ends_are_counted_without_what_was_stopped_from_outside() -> None:
    base = voices.model(
        voices.dialogue(("Hi", "a"), ("And", "b"), name="one"), voices.dialogue(("Hi", "c"), name="two")
    )
    tuned = voices.model(
        voices.dialogue(("Hi", "a"), ("And", "b"), name="one", finish="length"),
        voices.dialogue(("Hi", "c"), name="two", finish="cancelled"),
    )
    found = voices.by_name(form.measure(voices.known(), base, tuned))["ends_by_itself"]
    assert (found.base, found.tuned) == (1.0, 0.0)
    assert found.details is not None
    assert found.details["num_counted"] == {"base": 3, "tuned": 2}


def test_habits_of_known_replies() -> None:
    replies = ("*waves* Hello! \U0001f60a", 'She said "Stay." Did she?')
    seen = voices.model(*(voices.dialogue(("Hi", text), name=text) for text in replies))
    found = {
        name: measure.tuned for name, measure in voices.by_name(habits.measure(voices.known(), seen, seen)).items()
    }
    assert found["emoji"] == 0.5
    assert found["actions"] == 0.5
    assert found["quotes"] == 0.5
    assert found["exclamation"] == pytest.approx(1 / 3)
    assert found["questions"] == pytest.approx(1 / 3)
    assert found["sentence_length"] == pytest.approx(7 / 3)
    assert found["capitals"] == pytest.approx(4 / 27)


def test_openings_are_alike_for_the_data_and_apart_for_another_voice() -> None:
    real = iter([message for conversation in [voices.known().replies()] for message in conversation])
    found = voices.by_name(
        habits.measure(voices.known(), voices.observed("b", voices.gardener()), voices.observed("t", real))
    )["openings"]
    assert found.base == pytest.approx(1.0)
    assert found.tuned == pytest.approx(0.0, abs=0.1)
    assert found.verdict == "better"


@pytest.mark.parametrize(
    ("text", "is_so"),
    [
        ("Tea?\nUser: yes please", True),
        ("Tea?\n*User: nods*", True),
        ("Tea?\n### Instruction:\nyes", True),
        ("Tea?\n<|im_start|>user\nyes", True),
        ("Tell every User: mind the gap.", False),
        ("The user manual says otherwise.", False),
    ],
)
def test_speech_of_the_user_is_a_line_that_begins_with_the_users_mark(text: str, is_so: bool) -> None:
    assert user_speech.speaks_for(text, user_speech.user_marks(voices.known())) is is_so


def test_the_templates_own_header_is_looked_for_when_it_is_given() -> None:
    text = "Tea.\nGUEST> yes"
    assert not user_speech.speaks_for(text, user_speech.user_marks(voices.known()))
    assert user_speech.speaks_for(text, user_speech.user_marks(voices.known(more={"user_header": "GUEST>"})))
