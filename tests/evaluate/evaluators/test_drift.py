from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from duologue.evaluate.evaluators import drift
from duologue.evaluate.observed import Observed
from tests.evaluate.evaluators import voices


def long_model(name: str, said: Callable[[int], str]) -> Observed:
    """Return a model that says `said(turn)` in the long cases, with turns counted from 0."""

    def replies() -> Iterator[str]:
        while True:
            yield from (said(turn) for turn in range(40))

    return voices.observed(name, replies(), voices.cases(long=True))


def with_short(long: Observed, short: Observed) -> Observed:
    return replace(long, dialogues=(*long.dialogues, *short.dialogues))


def test_a_reply_that_grows_by_a_word_each_turn_grows_by_ten_words_in_ten_turns() -> None:
    base = long_model("base", lambda turn: "one two three")
    tuned = long_model("tuned", lambda turn: " ".join(["word"] * (turn + 1)))
    found = voices.by_name(drift.measure(voices.known(), base, tuned))["drift_length"]
    assert found.base == pytest.approx(0)
    assert found.tuned == pytest.approx(10)
    assert found.low == pytest.approx(10)
    assert found.verdict == "worse"
    assert found.details is not None
    assert found.details["tuned"]["early"] == {
        "mean": 5.5,
        "standard_error": pytest.approx(0.6589, abs=1e-3),
        "num": 20,
    }
    assert found.details["tuned"]["late"]["mean"] == 35.5
    assert found.details["tuned"]["by_turn"][39] == [40, 40.0]


def test_the_slope_is_that_of_a_regression_with_a_level_for_each_dialogue_however_long_each_is() -> None:
    lengths = {"short": 20, "middle": 27, "whole": 40}
    draw = np.random.default_rng(3)
    levels = (0, 90, 30)
    words = {
        name: draw.integers(1, 60, size=turns) + level
        for (name, turns), level in zip(lengths.items(), levels, strict=True)
    }

    def said(counts: dict[str, np.ndarray]) -> Observed:
        return voices.model(
            *(
                voices.dialogue(
                    *((f"Turn {at}?", " ".join(["word"] * num)) for at, num in enumerate(row)), name=name, long=True
                )
                for name, row in counts.items()
            )
        )

    steady = said({name: np.full(turns, 7) for name, turns in lengths.items()})
    found = voices.by_name(drift.measure(voices.known(), steady, said(words)))["drift_length"]

    turns = np.concatenate([np.arange(num) for num in lengths.values()]) / 10
    dummies = np.repeat(np.eye(len(lengths)), list(lengths.values()), axis=0)
    fitted, *_ = np.linalg.lstsq(np.column_stack([turns, dummies]), np.concatenate(list(words.values())), rcond=None)
    assert found.base == pytest.approx(0)
    assert found.tuned == pytest.approx(fitted[0])

    growing = said({name: np.arange(1, num + 1) for name, num in lengths.items()})
    grown = voices.by_name(drift.measure(voices.known(), steady, growing))["drift_length"]
    assert (grown.tuned, grown.low, grown.high) == pytest.approx((10, 10, 10))


def test_a_character_that_wears_off_is_caught_by_the_voice_and_one_that_stays_is_not() -> None:
    steady, other = voices.lila(), voices.assistant()
    base = with_short(long_model("base", lambda turn: next(other)), voices.observed("base", voices.assistant(5)))
    short = voices.observed("tuned", voices.lila(6))
    stays = with_short(long_model("stays", lambda turn: next(steady)), short)
    fades = with_short(long_model("fades", lambda turn: next(steady) if turn < 15 else next(other)), short)
    kept = voices.by_name(drift.measure(voices.known(), base, stays))["drift_voice"]
    lost = voices.by_name(drift.measure(voices.known(), base, fades))["drift_voice"]
    assert kept.verdict in ("same", "unclear")
    assert lost.verdict == "worse"
    assert lost.details is not None
    assert lost.details["tuned"]["early"]["mean"] > 0 > lost.details["tuned"]["late"]["mean"]


def test_replies_that_grow_alike_and_poor_are_caught_by_repeats_and_variety_alone() -> None:
    said = voices.lila()
    line = next(said)

    def dull(turn: int) -> str:
        return next(said) if turn < 12 else f"{line} {'the lamp ' * min(turn, 20)}"

    base = long_model("base", lambda turn: next(said))
    found = voices.by_name(drift.measure(voices.known(), base, long_model("dull", dull)))
    assert found["drift_repeats"].verdict == "worse"
    assert found["drift_distinct"].verdict == "worse"
    assert found["drift_voice"].verdict == "not measured"  # too few dialogues to learn a voice from
    assert "are needed" in found["drift_voice"].fault


def test_short_dialogues_show_no_drift() -> None:
    seen = voices.observed("short", voices.lila())
    for measure in drift.measure(voices.known(), seen, seen):
        assert measure.verdict == "not measured"
        assert "20 turns" in measure.fault


def test_the_long_cases_have_forty_turns_and_ask_for_facts_early_and_late() -> None:
    from duologue.evaluate.evaluators.questions import asked

    cases = list(voices.written("long"))
    assert len(cases) == 2
    for case in cases:
        assert len(case.user_turns) == 40
        slots = [(turn, slot) for turn, text in enumerate(case.user_turns) for slot in asked(text)]
        for slot in ("name", "home", "occupation"):
            turns = [turn for turn, found in slots if found == slot]
            assert min(turns) < 10 and max(turns) >= 30
