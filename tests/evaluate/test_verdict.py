import math
from dataclasses import replace

import pytest

from duologue.data import DataStats
from duologue.evaluate import Evaluation
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
