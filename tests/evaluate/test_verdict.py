import math
from dataclasses import replace

import pytest

from duologue.data import DataStats
from duologue.evaluate import Evaluation
from duologue.evaluate.intervals import Interval, make_measure
from duologue.evaluate.verdict import make_verdict


def with_perplexities(evaluation: Evaluation, base: float, tuned: float) -> Evaluation:
    return replace(
        evaluation,
        base=replace(evaluation.base, loss=math.log(base), perplexity=base),
        tuned=replace(evaluation.tuned, loss=math.log(tuned), perplexity=tuned),
    )


@pytest.mark.parametrize(
    ("base", "tuned", "words"),
    [
        (24.0, 6.0, "75 % less surprising"),
        (10.0, 9.9, "Little changed"),
        (10.0, 10.1, "Little changed"),
        (10.0, 13.0, "It got worse"),
    ],
)
def test_the_verdict_follows_the_perplexities(
    evaluation: Evaluation, stats: DataStats, base: float, tuned: float, words: str
) -> None:
    verdict = make_verdict(with_perplexities(evaluation, base, tuned), stats, name="Lila")
    assert words in verdict.headline
    assert f"from {base:.2f} to {tuned:.2f}" in verdict.detail


def test_a_worse_model_comes_with_advice(evaluation: Evaluation, stats: DataStats) -> None:
    verdict = make_verdict(with_perplexities(evaluation, 10.0, 13.0), stats, name="Lila")
    assert "30.0 % higher" in verdict.detail
    assert "training.learning_rate" in verdict.advice


@pytest.mark.parametrize(
    ("tuned", "ends", "outcome", "headline", "detail"),
    [
        (9.0, (-1.5, -0.5), "better", "It worked", "lower."),
        (9.0, (-2.5, 0.5), "unclear", "It may have worked", "-2.50 to +0.50, does not rule out that it is chance."),
        (11.0, (0.5, 1.5), "worse", "It got worse", "higher."),
        (11.0, (-0.5, 2.5), "unclear", "It may have got worse", "-0.50 to +2.50, does not rule out"),
        (9.0, (-math.inf, math.inf), "unclear", "It may have worked", "a single conversation"),
        (9.95, (-0.3, 0.2), "same", "Little changed", "to 9.95."),
    ],
)
def test_a_difference_whose_interval_holds_zero_is_not_called_a_success_or_a_failure(
    evaluation: Evaluation,
    stats: DataStats,
    tuned: float,
    ends: tuple[float, float],
    outcome: str,
    headline: str,
    detail: str,
) -> None:
    interval = Interval(10.0, tuned, *ends, num=12)
    measure = make_measure(interval, name="language.perplexity", unit="", better="lower", definition="d")
    seen = replace(with_perplexities(evaluation, 10.0, tuned), measures=(measure,))
    verdict = make_verdict(seen, stats, name="Lila")
    assert verdict.outcome == outcome
    assert verdict.headline.startswith(headline)
    assert detail in verdict.detail


def test_a_run_that_took_the_bases_place_is_named(evaluation: Evaluation, stats: DataStats) -> None:
    seen = replace(with_perplexities(evaluation, 10.0, 13.0), facts={"compared_with": "2026-11-20-1"})
    assert "more than run 2026-11-20-1" in make_verdict(seen, stats, name="Lila").headline
    alone = with_perplexities(evaluation, 10.0, 13.0)
    assert "more than the base model" in make_verdict(alone, stats, name="Lila").headline


def test_a_small_sample_is_called_one(evaluation: Evaluation, stats: DataStats) -> None:
    for num_tokens, is_small in ((80, True), (999, True), (1000, False)):
        seen = replace(evaluation, tuned=replace(evaluation.tuned, num_scored_tokens=num_tokens))
        assert ("small sample" in make_verdict(seen, stats, name="Lila").advice) == is_small


@pytest.mark.parametrize(("num_examples", "words"), [(0, "No conversation was held out"), (3, "3 held-out examples")])
def test_what_was_not_measured_says_why(
    evaluation: Evaluation, stats: DataStats, num_examples: int, words: str
) -> None:
    unmeasured = replace(evaluation, tuned=replace(evaluation.tuned, perplexity=None, loss=None))
    verdict = make_verdict(unmeasured, replace(stats, num_validation_examples=num_examples), name="Lila")
    assert "not measured" in verdict.headline
    assert words in verdict.detail
    assert "data." in verdict.advice
