"""Assumed data, refused data, and data under a lower length limit."""

from dataclasses import replace

import pytest

from duologue.config import load_recipe
from duologue.data import DataStats
from duologue.errors import DataError
from duologue.plan import example_stats
from duologue.plan.example_data import check_stats, cut_stats

STATS = DataStats(4, 1, 220, 100, 30, 100, (10, 30, 80, 100))


@pytest.mark.parametrize("recipe", ["quickstart", "original", "optimized"])
def test_the_assumed_data_agrees_with_itself_and_with_the_recipe(recipe):
    config = load_recipe(recipe)
    stats = example_stats(config)
    assert stats.num_train_examples + stats.num_validation_examples == 1000
    assert stats.num_validation_examples == round(1000 * config.data.validation_fraction)
    assert stats.num_train_examples == len(stats.lengths)
    assert stats.num_tokens == sum(stats.lengths)
    assert stats.lengths == tuple(sorted(stats.lengths))
    assert stats.max_tokens == stats.lengths[-1] == config.data.max_length_tokens
    assert stats.num_tokens / stats.num_train_examples == pytest.approx(0.6 * config.data.max_length_tokens, rel=0.01)
    assert stats.num_trained_tokens == pytest.approx(stats.num_tokens / 2, abs=1)


def test_almost_all_data_held_out_still_leaves_an_example():
    assert example_stats(load_recipe("original", overrides=["data.validation_fraction=0.9999"])).num_train_examples == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_train_examples": 0, "lengths": ()}, "the training split is empty"),
        ({"num_tokens": 0, "max_tokens": 0}, "no tokens"),
        ({"num_trained_tokens": 0}, "no token of the training split is a target"),
    ],
)
def test_data_that_trains_nothing_is_refused_with_the_next_step(change, message):
    with pytest.raises(DataError, match=message) as caught:
        check_stats(replace(STATS, **change))
    assert "duologue data check" in caught.value.action


def test_a_lower_limit_cuts_long_examples_into_equal_parts_and_loses_no_token():
    cut = cut_stats(STATS, max_length_tokens=45)
    assert cut.lengths == (10, 30, 33, 33, 34, 40, 40)
    assert (cut.num_train_examples, cut.max_tokens) == (7, 40)
    assert sum(cut.lengths) == cut.num_tokens == STATS.num_tokens
