"""Models that are broken on purpose: each is caught by the measures that are about its fault, and by no other."""

from dataclasses import replace
from functools import cache
from types import ModuleType

import pytest

from duologue.evaluate.evaluators import (
    EVALUATORS,
    facts,
    form,
    habits,
    load_evaluator,
    loops,
    refusal,
    user_speech,
    voice,
)
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Known, Observed
from duologue.messages import Message
from tests.evaluate.evaluators import voices

_MODULES: tuple[ModuleType, ...] = (voice, facts, user_speech, loops, form, habits, refusal)
_CASES = (*voices.cases()[:16], *voices.cases()[16::2])  # all that were held out, half of the written ones


def test_the_next_dialogues_of_the_same_character_are_not_worse_in_anything() -> None:
    found = _against(_good(), voices.observed("again", voices.lila(9), _CASES), modules=_MODULES[1:])
    assert _worse(found) == set()


def test_a_model_that_learned_the_character_is_better_than_an_assistant() -> None:
    found = _against(voices.observed("base", voices.assistant(), _CASES), _good())
    better = {name for name, measure in found.items() if measure.verdict == "better"}
    assert {"voice_auc", "voice_share", "actions", "openings", "length_words", "length_distance"} <= better
    assert _worse(found) == set()


def test_a_loop_is_caught_as_a_loop() -> None:
    def loop(text: str) -> str:
        words = text.split()
        return " ".join([*words[:8], *(["and", "so", "it", "goes,"] * 8)])

    worse = _worse(_against(_good(), voices.changed(_good(), loop, finish="length")))
    assert {"loops", "longest_repeat", "distinct_1", "distinct_2", "distinct_3", "voice_auc", "ends_by_itself"} <= worse
    assert not worse & {"speaks_for_user", "refuses", "facts_contradicted", "says_it_is_a_model", "broken", "emoji"}


def test_a_wrong_template_is_caught_as_speech_of_the_user_and_as_marks_of_a_template() -> None:
    def run_on(text: str) -> str:
        return f"{text}\nUSER: where does it stop?\nASSISTANT: At Quiet Halt."

    found = _against(_good(), voices.changed(_good(), run_on, finish="length"))
    assert {"speaks_for_user", "broken", "ends_by_itself"} <= _worse(found)
    assert not _worse(found) & {"loops", "refuses", "facts_contradicted", "says_it_is_a_model", "emoji", "actions"}
    details = found["broken"].details
    assert details is not None
    assert set(details["kinds"]["tuned"]) == {"marks of a template"}


def test_another_characters_data_is_caught_by_the_voice() -> None:
    gardener = voices.observed("gardener", voices.gardener(), _CASES)
    found = _against(_good(), gardener)
    assert {"voice_auc", "voice_share", "actions", "openings", "exclamation"} <= _worse(found)
    assert not _worse(found) & {"speaks_for_user", "loops", "broken", "refuses", "ends_by_itself", "emoji"}
    base = voices.observed("base", voices.assistant(), _CASES)
    assert _against(base, gardener, modules=(voice,))["voice_share"].tuned == pytest.approx(
        0, abs=0.02
    )  # a third voice is nobody's


def test_empty_replies_are_caught_as_broken_and_have_no_voice() -> None:
    found = _against(_good(), voices.changed(_good(), lambda text: ""))
    assert _worse(found) == {"broken", "length_words", "length_distance"}
    assert found["voice_auc"].verdict == "not measured"
    assert "0 replies with words" in found["voice_auc"].fault


def test_the_same_reply_to_everything_is_caught_as_repeating_itself() -> None:
    line = next(voices.lila())
    found = _against(_good(), voices.changed(_good(), lambda text: line))
    assert {"repeats_itself", "length_distance"} <= _worse(found)
    assert not _worse(found) & {"loops", "broken", "speaks_for_user", "refuses", "actions"}


def test_every_measure_has_a_definition_and_a_name_of_its_group() -> None:
    for measure in _measures(voices.known(), _good(), _good()):
        assert measure.name.startswith("character.")
        assert measure.definition.endswith(".")
        assert not measure.fault
        assert measure.low is not None
        assert measure.high is not None


def test_without_dialogues_nothing_is_measured_and_it_is_said_why() -> None:
    nothing = Observed("none", {}, (), ())
    for measure in _measures(voices.known(), nothing, nothing):
        assert measure.verdict == "not measured"
        assert measure.fault


def test_without_real_replies_what_needs_them_says_so_and_the_rest_is_measured() -> None:
    known = voices.known(train=(), validation=())
    found = voices.by_name(_measures(known, _good(), _good()))
    assert found["voice_auc"].fault.startswith("0 replies with words in 0 dialogues of the data")
    assert found["openings"].verdict == "not measured"
    assert found["loops"].verdict == "unclear"  # none loops, and they are few
    assert found["distinct_1"].verdict == "only shown"  # there is nothing to be near to


def test_evaluators_are_found_by_their_names() -> None:
    names = ("voice", "facts", "drift", "user_speech", "loops", "form", "habits", "refusal", "judge")
    assert set(names) <= set(EVALUATORS)
    assert [load_evaluator(name).name for name in names] == list(names)


def test_a_reply_that_says_the_greeting_again_repeats_what_was_said_before() -> None:
    greeting = voices.known().character.greeting
    opening = (Message("assistant", greeting),)
    seen = [replace(one, case=replace(one.case, opening=opening)) for one in _good().dialogues]
    good = replace(_good(), dialogues=tuple(seen))
    found = _against(good, voices.changed(good, lambda text: greeting), modules=(loops,))
    assert (found["repeats_itself"].base, found["repeats_itself"].tuned) == (0, 1)


@cache
def _good() -> Observed:
    return voices.observed("good", voices.lila(), _CASES)


def _against(base: Observed, tuned: Observed, *, modules: tuple[ModuleType, ...] = _MODULES) -> dict[str, Measure]:
    return voices.by_name(_measures(voices.known(), base, replace(tuned, name="tuned"), modules=modules))


def _measures(
    known: Known, base: Observed, tuned: Observed, *, modules: tuple[ModuleType, ...] = _MODULES
) -> list[Measure]:
    return [measure for module in modules for measure in module.measure(known, base, tuned)]


def _worse(found: dict[str, Measure]) -> set[str]:
    return {name for name, measure in found.items() if measure.verdict == "worse"}
