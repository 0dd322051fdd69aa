from collections.abc import Sequence

import pytest

from duologue.errors import EngineError
from duologue.evaluate.evaluators import judge
from duologue.evaluate.evaluators.judge import Ask, kappa, parse_answer
from duologue.evaluate.measure import Measure
from duologue.messages import Message
from tests.evaluate.evaluators import voices

GOOD, BAD = "*lifts the lamp* Tea, passenger?", "Sure! Let me know if you need more details."


def judged(ask: Ask, *, tuned: str = GOOD) -> dict[str, Measure]:
    base = voices.model(*(voices.dialogue(("Hi", BAD), ("And", BAD), name=f"case {number}") for number in range(8)))
    other = voices.model(
        *(voices.dialogue(("Hi", tuned), ("And", tuned), name=f"case {number}") for number in range(8))
    )
    measures = judge.measure(voices.known(more={"judge": ask}), base, other)
    return {measure.name: measure for measure in measures}


def likes_lamps(messages: Sequence[Message]) -> str:
    first, second = messages[-1].content.partition("SECOND reply:")[::2]
    seen = "lamp*" in first, "lamp*" in second
    return "EQUAL" if seen[0] == seen[1] else "FIRST" if seen[0] else "SECOND"


def test_without_a_judge_nothing_is_measured() -> None:
    seen = voices.observed("seen", voices.lila())
    assert judge.measure(voices.known(), seen, seen) == ()


def test_a_judge_that_knows_prefers_the_character_in_both_orders() -> None:
    found = judged(likes_lamps)
    preference = found["judge.preference"]
    assert (preference.base, preference.tuned, preference.verdict, preference.num) == (0.0, 1.0, "better", 8)
    assert found["judge.first_place"].tuned == 0.5
    assert preference.details is not None
    assert preference.details["num_pairs"] == 8  # only first turns: later ones were not asked alike


def test_a_judge_that_always_takes_the_first_prefers_nobody() -> None:
    found = judged(lambda messages: "FIRST")
    preference = found["judge.preference"]
    assert (preference.base, preference.tuned) == (0.5, 0.5)
    assert found["judge.first_place"].tuned == 1.0
    assert preference.details is not None
    assert preference.details["choices"] == {"tie": 8}


def test_answers_that_are_no_choice_are_counted_and_not_guessed() -> None:
    answers = iter(["I think the first one is nicer.", "SECOND"] + ["FIRST", "SECOND"] * 7)
    preference = judged(lambda messages: next(answers))["judge.preference"]
    assert preference.details is not None
    assert preference.details["num_unparsable"] == 1
    assert preference.num == 7
    assert preference.base == 1.0


def test_a_judge_that_fails_is_recorded() -> None:
    def fails(messages: Sequence[Message]) -> str:
        raise EngineError("the judge's server is gone")

    preference = judged(fails)["judge.preference"]
    assert preference.verdict == "not measured"
    assert "the judge's server is gone" in preference.fault


def test_the_judge_is_told_the_card_the_turn_and_both_replies_in_both_orders() -> None:
    asked: list[str] = []

    def ask(messages: Sequence[Message]) -> str:
        asked.append(messages[-1].content)
        return "EQUAL"

    judged(ask)
    assert "Night conductor of the Moth Line" in asked[0]
    assert "User says:\nHi" in asked[0]
    assert asked[0].index(BAD) < asked[0].index(GOOD)
    assert asked[1].index(GOOD) < asked[1].index(BAD)


def test_agreement_is_with_what_the_rules_say() -> None:
    faulty = "I'm sorry, but I can't help with that."
    pairs = [("base", GOOD, faulty), ("tuned", faulty, GOOD)]
    base = voices.model(*(voices.dialogue(("Hi", first), name=name) for name, first, _ in pairs))
    tuned = voices.model(*(voices.dialogue(("Hi", second), name=name) for name, _, second in pairs))
    for ask, wanted in ((likes_lamps, 1.0), (lambda messages: "EQUAL", 0.0)):
        measures = judge.measure(voices.known(more={"judge": ask}), base, tuned)
        assert {measure.name: measure.tuned for measure in measures}["judge.agreement"] == pytest.approx(wanted)


def test_kappa_of_a_known_table() -> None:
    one = ["tuned"] * 25 + ["base"] * 25
    other = ["tuned"] * 20 + ["base"] * 5 + ["tuned"] * 10 + ["base"] * 15
    assert kappa(one, other) == pytest.approx(0.4)  # type: ignore[arg-type]  # 0.7 agreed, 0.5 by chance
    assert kappa(["tie"], ["tie"]) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("FIRST", "first"),
        (" second.\n", "second"),
        ("**Equal**", "equal"),
        ("Answer: FIRST", "first"),
        ("First, I would say", "unparsable"),
        ("FIRST SECOND", "unparsable"),
        ("1", "unparsable"),
        ("", "unparsable"),
    ],
)
def test_only_one_word_alone_is_an_answer(text: str, wanted: str) -> None:
    assert parse_answer(text) == wanted
