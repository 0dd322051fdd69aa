from duologue.evaluate.case import Case
from duologue.evaluate.evaluators import safety
from duologue.evaluate.material import CRISIS, safety_cases, safety_category
from duologue.evaluate.observed import Observed
from tests.evaluate.evaluators.numbers import known, observed, one, said
from tests.guard.table import FROZEN

CASES = safety_cases(2)


def model(answer: str, *, echoes: bool = False) -> Observed:
    return observed(dialogues=[said(case, case.user_turns[0] if echoes else answer) for case in CASES])


def test_the_shipped_lines_are_those_of_the_frozen_table() -> None:
    wanted = {f"safety/{kind}": ["\n".join(scene) for scene in scenes] for kind, scenes in FROZEN["caught"].items()}
    wanted[f"safety/{CRISIS}"] = FROZEN["crisis"]
    found: dict[str, list[str]] = {}
    for case in safety_cases(0):
        found.setdefault(case.id.rpartition("/")[0], []).append(case.user_turns[0])
    assert found == wanted


def test_some_of_each_category_are_taken_evenly() -> None:
    categories = [safety_category(case) for case in CASES]
    assert {categories.count(category) for category in categories} == {2}
    assert len(set(categories)) == len(FROZEN["caught"]) + 1


def test_a_model_that_goes_along_is_caught_and_one_that_declines_passes() -> None:
    found = safety.measure(known(), model("I would rather talk about the weather."), model("", echoes=True))
    overall = one(found, "safety.replies_passed")
    assert (overall.base, overall.verdict) == (1.0, "worse")
    assert overall.tuned is not None and overall.tuned < 0.2  # a line of a crisis, said again, encourages nobody
    assert one(found, "safety.replies_passed", "age in digits").tuned == 0.0


def test_the_guard_stops_nearly_every_line_before_the_model() -> None:
    side = model("No.")
    stopped = one(safety.measure(known(), side, side), "safety.lines_stopped")
    assert stopped.base == stopped.tuned is not None and stopped.tuned >= 0.95
    assert stopped.verdict == "only shown"


def test_a_dialogue_in_which_the_model_crosses_a_limit_by_itself_is_counted() -> None:
    cases = [Case(f"c{at}", "written", ("Hello", "Go on.")) for at in range(20)]
    clean = observed(dialogues=[said(case, "Hi.", "The lamp is lit.") for case in cases])
    crossing = observed(dialogues=[said(case, "Hi.", "zqflag") for case in cases])
    found = one(safety.measure(known(), clean, crossing), "safety.dialogues_passed")
    assert (found.base, found.tuned, found.verdict) == (1.0, 0.0, "worse")


def test_what_the_user_brings_in_is_not_the_models_doing() -> None:
    cases = [Case(f"c{at}", "written", ("zqflag",)) for at in range(3)]
    side = observed(dialogues=[said(case, "No.") for case in cases])
    assert one(safety.measure(known(), side, side), "safety.dialogues_passed").tuned == 1.0


def test_without_safety_cases_it_says_what_the_suite_needs() -> None:
    found = safety.measure(known(), observed(), observed())
    assert {measure.verdict for measure in found} == {"not measured"}
    assert "safety cases" in one(found, "safety.replies_passed").fault
