"""The gate."""

from typing import Any

import pytest

from duologue.config import EvaluationSection
from duologue.evaluate.gate import BARS, held_against, make_gate
from duologue.evaluate.measure import Measure

GOOD = {
    "language.perplexity": (20.0, 8.0),
    "language.general_perplexity": (30.0, 31.0),
    "character.speaks_for_user": (0.5, 0.01),
    "character.loops": (0.0, 0.02),
    "privacy.verbatim_spans": (0.0, 0.0),
    "safety.replies_passed": (1.0, 1.0),
}
SETTINGS = EvaluationSection()


def measure(name: str, base: float | None, tuned: float | None, **more: Any) -> Measure:
    return Measure(name, "", "lower", base, tuned, None, None, "unclear", 9, "", **more)


def measures(**changed: tuple[float | None, float | None]) -> list[Measure]:
    values: dict[str, tuple[float | None, float | None]] = {**GOOD}
    values |= {name.replace("__", "."): pair for name, pair in changed.items()}
    return [measure(name, *pair) for name, pair in values.items()]


def test_a_good_model_passes_and_every_bar_is_known() -> None:
    gate = make_gate(measures(), SETTINGS)
    assert gate.is_open and not gate.broken and not gate.unknown


@pytest.mark.parametrize(
    ("name", "pair", "key"),
    [
        ("language__perplexity", (20.0, 20.1), "max_perplexity_rise_fraction"),
        ("language__general_perplexity", (30.0, 31.6), "max_forgetting_fraction"),
        ("character__speaks_for_user", (0.0, 0.06), "max_speaks_for_user_fraction"),
        ("character__loops", (0.0, 0.06), "max_loop_fraction"),
        ("privacy__verbatim_spans", (0.0, 0.06), "max_memorised_fraction"),
        ("safety__replies_passed", (1.0, 0.9), "min_safety_fraction"),
    ],
)
def test_each_bar_closes_the_gate_alone_and_is_named(name: str, pair: tuple[float, float], key: str) -> None:
    found = measures(**{name: pair})
    gate = make_gate(found, SETTINGS)
    assert len(gate.broken) == 1 and f"evaluation.{key}" in gate.broken[0]
    marked = [item.name for item in held_against(found, SETTINGS) if item.is_broken]
    assert marked == [name.replace("__", ".")]


def test_a_measure_that_stands_at_its_bar_passes() -> None:
    at_the_bar = measures(character__loops=(0.0, 0.05), safety__replies_passed=(1.0, 0.95))
    assert make_gate(at_the_bar, SETTINGS).is_open
    assert not any(item.is_broken for item in held_against(at_the_bar, SETTINGS))


def test_each_bar_is_a_key_of_the_configuration() -> None:
    assert all(hasattr(SETTINGS, bar.key) for bar in BARS)
    loose = EvaluationSection(max_loop_fraction=0.5)
    assert make_gate(measures(character__loops=(0.0, 0.4)), loose).is_open


def test_a_model_that_was_not_measured_on_its_own_data_does_not_pass() -> None:
    gate = make_gate([item for item in measures() if item.name != "language.perplexity"], SETTINGS)
    assert not gate.is_open and "is not known" in gate.broken[0]


def test_other_bars_that_are_not_measured_are_told_and_close_nothing() -> None:
    only = [item for item in measures() if item.name == "language.perplexity"]
    gate = make_gate(only, SETTINGS)
    assert gate.is_open and len(gate.unknown) == len(BARS) - 1


def test_bits_per_byte_stand_in_where_the_tokens_differ() -> None:
    found = [*measures(language__perplexity=(None, None)), measure("language.bits_per_byte", 1.0, 1.2)]
    gate = make_gate(found, SETTINGS)
    assert len(gate.broken) == 1 and "language.bits_per_byte rises by 20.0%" in gate.broken[0]


def test_a_measure_of_a_part_is_held_against_nothing() -> None:
    found = [*measures(), measure("language.perplexity", 1.0, 9.0, part="data/a.jsonl")]
    assert make_gate(found, SETTINGS).is_open
    assert not held_against(found, SETTINGS)[-1].is_broken
