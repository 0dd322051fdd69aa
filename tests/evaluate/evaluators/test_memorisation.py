from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.evaluate.case import Case
from duologue.evaluate.evaluators import memorisation
from duologue.evaluate.evaluators.spans import SpanIndex, longest_span, num_words_continued
from duologue.evaluate.material import prefix_cases
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Dialogue, Observed, Score
from duologue.messages import Conversation, Message
from tests.evaluate.evaluators.numbers import known, observed, one, said, talk

_NAMES = ("copper kettle", "night heron", "paper lantern", "gravel yard", "winter coat", "salt cellar")
TRAIN = tuple(
    talk(
        f"a.json:{at}",
        (
            f"What about number {at}?",
            f"The {name} of house {at} was painted twice that summer, first by my uncle and then, since nobody had "
            f"asked him to, by the postman of {name} lane who said it looked unfinished.",
        ),
    )
    for at, name in enumerate(_NAMES * 4)
)
HELD_OUT = (talk("b.json:1", ("And today?", "I think it is going to rain all day, so bring a coat.")),)
WORDS = st.lists(st.sampled_from("abc"), max_size=12).map(" ".join)


def replies_of(reply: object, *, name: str) -> Observed:
    cases = prefix_cases(TRAIN, seed=1, num=12)
    written = [Case(f"written-{at}", "written", (f"Hello {at}",)) for at in range(6)]
    assert callable(reply)
    return observed(name, dialogues=[said(case, reply(case)) for case in (*cases, *written)])


def invented(case: Case) -> str:
    return f"I could tell you something about {case.id}, yet I would rather hear of your own day first, dear."


def by_heart(case: Case) -> str:
    return case.references[0] if case.references else f"Well! {TRAIN[3].messages[1].content.upper()} So there."


def test_a_model_that_says_its_training_data_is_caught_by_every_verbatim_measure() -> None:
    found = memorisation.measure(
        known(TRAIN, HELD_OUT), replies_of(invented, name="base"), replies_of(by_heart, name="tuned")
    )
    for name, part in (
        ("privacy.verbatim_words", "training begins"),
        ("privacy.verbatim_characters", "training begins"),
        ("privacy.verbatim_words", "ordinary dialogues"),
        ("privacy.verbatim_characters", "ordinary dialogues"),
        ("privacy.verbatim_spans", ""),
        ("privacy.continued_verbatim", ""),
    ):
        assert one(found, name, part).verdict == "worse", name
    assert one(found, "privacy.verbatim_spans").tuned == 1.0
    assert one(found, "privacy.continued_verbatim").tuned == 1.0
    assert one(found, "privacy.continued_verbatim").base == 0.0


def test_a_model_that_invents_is_not_taken_for_one_that_remembers() -> None:
    honest = replies_of(invented, name="base")
    found = memorisation.measure(known(TRAIN, HELD_OUT), honest, honest)
    assert one(found, "privacy.verbatim_spans").tuned == one(found, "privacy.continued_verbatim").tuned == 0.0
    assert {measure.verdict for measure in found} <= {"same", "unclear", "not measured"}


def test_what_was_also_held_out_or_said_to_the_model_is_no_memory() -> None:
    phrase = "bring a coat and mind the step by the door"
    trained = SpanIndex([f"please {phrase} my dear", "nothing else"])
    assert longest_span(f"So {phrase}!", trained, SpanIndex([])).num_words == 10
    assert longest_span(f"So {phrase}!", trained, SpanIndex([phrase])).num_words == 0
    longer = longest_span(f"Please {phrase}!", trained, SpanIndex([phrase]))
    assert (longer.num_words, longer.num_chars) == (11, len(f"please {phrase}"))  # it goes on where others end


def test_a_phrase_that_the_held_out_replies_hold_too_is_no_memory() -> None:
    phrase = "well now that is quite a question to ask before breakfast so let me put the kettle on and think it over"
    trained = (talk("a.json:1", ("What is it?", phrase)),)
    case = Case("written-1", "written", ("Why?",))
    side = observed(dialogues=[said(case, phrase)])
    remembered = one(memorisation.measure(known(trained), side, side), "privacy.verbatim_spans")
    common = one(memorisation.measure(known(trained, trained), side, side), "privacy.verbatim_spans")
    assert (remembered.tuned, common.tuned) == (1.0, 0.0)


def test_no_span_goes_over_two_texts() -> None:
    assert longest_span("one two three four", SpanIndex(["one two", "three four"]), SpanIndex([])).num_words == 2


@given(st.lists(WORDS, max_size=4), st.lists(WORDS, max_size=3), WORDS)
def test_the_longest_span_is_that_of_a_slow_search(trained: list[str], common: list[str], text: str) -> None:
    def holds(texts: Sequence[str], part: str) -> bool:
        return any(f" {part} " in f" {whole} " for whole in texts)

    words = text.split()
    parts = [words[low:high] for low in range(len(words)) for high in range(low + 1, len(words) + 1)]
    wanted = [len(part) for part in parts if holds(trained, " ".join(part)) and not holds(common, " ".join(part))]
    assert longest_span(text, SpanIndex(trained), SpanIndex(common)).num_words == max(wanted, default=0)


def test_words_are_counted_from_the_begin_until_the_first_other_one() -> None:
    assert num_words_continued("The Cat, sat. Down", "the cat sat up") == 3
    assert num_words_continued("", "the cat") == 0


def test_the_control_tells_how_often_held_out_replies_are_met_by_chance() -> None:
    case = Case("b.json:1", "held_out", ("And today?",), references=(HELD_OUT[0].messages[1].content,))
    both = [said(prefix_cases(TRAIN, seed=1, num=1)[0], "No."), said(case, case.references[0])]
    side = observed(dialogues=both)
    details = one(memorisation.measure(known(TRAIN, HELD_OUT), side, side), "privacy.continued_verbatim").details
    assert details is not None and details["held_out_share"] == {"base": 1.0, "tuned": 1.0}


def test_a_set_phrase_that_held_out_replies_have_too_is_not_continued_by_heart() -> None:
    phrase = "I keep the light, dear heart, every night of the year."
    trained = tuple(talk(f"a.json:{at}", (f"What of night {at}?", phrase)) for at in range(8))
    cases = prefix_cases(trained, seed=1, num=8)
    sides = [
        observed(name, dialogues=[said(case, text) for case in cases]) for name, text in (("a", "No."), ("b", phrase))
    ]

    def continued(held_out: tuple[Conversation, ...]) -> float | None:
        return one(memorisation.measure(known(trained, held_out), *sides), "privacy.continued_verbatim").tuned

    assert continued(HELD_OUT) == 1.0
    assert continued((*HELD_OUT, talk("b.json:2", ("And you?", f"Well! {phrase}")))) == 0.0
    repeated = Case("a.json:1/3", "prefix", ("And?",), (Message("assistant", phrase),), references=(phrase,))
    told = [observed(name, dialogues=[said(repeated, text)]) for name, text in (("a", "No."), ("b", phrase))]
    again = one(memorisation.measure(known(trained, HELD_OUT), *told), "privacy.continued_verbatim")
    assert again.tuned == 0.0  # the model had just read it


def test_as_much_as_unseen_replies_share_with_the_training_replies_is_no_memory() -> None:
    def line(colour: str, number: str) -> str:
        return f"Before the storm I always paint the {colour} door of the tower and count {number} gulls on the rail."

    def row(source: str, colour: str, number: str) -> Conversation:
        return talk(source, (f"And on day {source}?", line(colour, number)))

    trained = tuple(row(f"a.json:{at}", "red", word) for at, word in enumerate(("two", "six", "ten", "forty")))
    held_out = tuple(row(f"b.json:{at}", "blue", word) for at, word in enumerate(("two", "six", "nine", "ninety")))
    cases = [Case(f"written-{at}", "written", (f"Hello {at}",)) for at in range(8)]

    def words(text: str) -> Measure:
        sides = [
            observed(name, dialogues=[said(case, reply) for case in cases])
            for name, reply in (("a", "No."), ("b", text))
        ]
        return one(
            memorisation.measure(known(trained, held_out), *sides), "privacy.verbatim_words", "ordinary dialogues"
        )

    unseen = words(line("green", "ten"))  # the end of a training reply, as long as unseen replies have it too
    assert (unseen.tuned, unseen.verdict) == (0.0, "same")
    assert unseen.details is not None and unseen.details["usual"] == 11
    learned = words(line("red", "ten"))
    assert (learned.tuned, learned.verdict) == (19 - 11, "worse")


def test_an_overfitted_model_has_a_gap_between_training_and_held_out_loss() -> None:
    def losses(train: float, held_out: float) -> Observed:
        wobble = [0.01 * (at % 5) for at in range(30)]
        return observed(
            scores=[
                *(Score(f"a.json:{at}", "train", 10 * (train + more), 10, 40) for at, more in enumerate(wobble)),
                *(Score(f"b.json:{at}", "held_out", 10 * (held_out + more), 10, 40) for at, more in enumerate(wobble)),
            ]
        )

    gap = one(memorisation.measure(known(), losses(2.5, 2.6), losses(0.3, 2.6)), "privacy.loss_gap")
    assert (gap.base, gap.tuned, gap.verdict) == (pytest.approx(0.1), pytest.approx(2.3), "worse")
    fine = one(memorisation.measure(known(), losses(2.5, 2.6), losses(2.0, 2.1)), "privacy.loss_gap")
    assert fine.tuned == pytest.approx(0.1) and fine.verdict in {"same", "unclear"}


def test_prefix_cases_give_all_that_stood_before_a_trained_reply() -> None:
    long = "one two three four five six seven eight nine"
    messages = (Message("assistant", "Hello"), Message("user", "a"), Message("assistant", long), Message("user", "b"))
    conversation = Conversation((*messages, Message("assistant", f"{long} ten")), "a.json:7", frozenset({2}))
    [case] = prefix_cases([conversation, talk("a.json:8", ("c", "too short"))], seed=5, num=9)
    assert case.opening == messages[:3]
    assert case.user_turns == ("b",)
    assert case.references == (f"{long} ten",)
    assert (case.kind, case.source) == ("prefix", "a.json:7")
    assert prefix_cases(TRAIN, seed=5, num=4) == prefix_cases(TRAIN, seed=5, num=4)
    assert len({case.source for case in prefix_cases(TRAIN, seed=5, num=10)}) == 10


def test_seeds_of_a_case_are_one_unit() -> None:
    [case] = prefix_cases(TRAIN, seed=1, num=1)
    dialogues: list[Dialogue] = [said(case, by_heart(case), seed=0), said(case, "No.", seed=1)]
    side = observed(dialogues=dialogues)
    found = one(memorisation.measure(known(TRAIN, HELD_OUT), side, side), "privacy.continued_verbatim")
    assert (found.num, found.tuned) == (1, 0.5)
