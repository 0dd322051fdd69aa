"""The search: what it finds fits, nothing it tried is better, limits leave out, and the recipes are its results."""

from dataclasses import replace
from itertools import pairwise

import pytest

from duologue.config import load_recipe, make_config
from duologue.plan import Limits, even_stats, find_recipes, known_facts, longest_example, without_display
from duologue.plan.forecast import forecast
from duologue.plan.gpus import all_gpus
from duologue.plan.memory import plan_memory
from duologue.plan.resolve import lora_settings
from duologue.plan.search import BASES, _leanest
from duologue.plan.shapes import num_params
from tests.plan.machines import config_with, facts_of, machine

SMALL = ("Qwen/Qwen3-8B", "mistralai/Mistral-7B-Instruct-v0.3", "Qwen/Qwen3-1.7B", "bundled:smollm2-135m")
CARDS = {"best-24gb": "RTX 4090", "best-16gb": "RTX 4080", "best-12gb": "RTX 3060", "best-8gb": ""}


def data(length):
    return even_stats(length, num_tokens=614_400, validation_fraction=0.1)


def found(gpu="RTX 4080", *, bases=SMALL, **limits):
    return find_recipes(
        config_with(), data, machine=without_display(machine(gpu)), limits=Limits(**limits), bases=bases
    )


def planned(choice, gpu):
    config = make_config(config_with().model_dump(mode="json"), overrides=choice.overrides, where="test")
    return forecast(
        config, data(choice.max_length_tokens), facts_of(choice.base), machine=without_display(machine(gpu))
    )


@pytest.fixture(scope="module")
def all_of_it():
    return found()


def test_every_base_is_known_with_its_licence():
    for base, licence in BASES.items():
        assert known_facts(base) is not None, base
        assert licence in ("Apache-2.0", "MIT")


def test_each_choice_is_what_its_own_overrides_are_planned_as(all_of_it):
    for choice in all_of_it.choices[::7]:
        then = planned(choice, "RTX 4080")
        assert then.memory.verdict == "fits"
        assert then.memory.high_gib == choice.high_gib
        assert then.time.total_minutes / 60 == pytest.approx(choice.hours)
        assert then.settings.quantization == choice.quantization
        assert then.settings.micro_batch_size == choice.micro_batch_size


def test_no_choice_is_beaten_by_another(all_of_it):
    for one in all_of_it.choices:
        for other in all_of_it.choices:
            is_as_good = (
                all(a >= b for a, b in zip(other.quality, one.quality, strict=True)) and other.hours <= one.hours
            )
            assert not is_as_good or (other.quality, other.hours) == (one.quality, one.hours)


def test_the_best_by_the_stand_in_comes_first(all_of_it):
    qualities = [choice.quality for choice in all_of_it.choices]
    assert qualities == sorted(qualities, reverse=True)
    assert all_of_it.choices[0].base == "Qwen/Qwen3-8B"
    firsts = all_of_it.best_of_each_base()
    assert len({choice.base for choice in firsts}) == len(firsts)
    assert firsts[0] == all_of_it.choices[0]


def test_searching_twice_finds_the_same(all_of_it):
    assert found() == all_of_it


def test_limits_leave_out_and_say_how_many(all_of_it):
    hours = sorted(choice.hours for choice in all_of_it.choices)
    middle = hours[len(hours) // 2]
    quick = found(deadline_hours=middle)
    assert quick.choices
    assert all(choice.hours <= middle for choice in quick.choices)
    assert quick.num_over_deadline > 0
    cheap = found(max_usd=0.03)
    assert all(choice.usd <= 0.03 for choice in cheap.choices)
    assert cheap.num_over_price > 0
    long = found(min_context_tokens=4096)
    assert long.choices
    assert all(choice.max_length_tokens >= 4096 for choice in long.choices)
    assert found(deadline_hours=1e-6).choices == ()


def test_an_odd_shortest_length_is_planned_as_it_is():
    lengths = {choice.max_length_tokens for choice in found("A100 80GB", min_context_tokens=9000).choices}
    assert lengths == {9000}


def test_more_memory_never_finds_a_smaller_model():
    sizes = [found(gpu).choices[0].num_params for gpu in ("RTX 3080 10GB", "RTX 3060", "RTX 4080", "RTX 4090")]
    assert all(small <= large for small, large in pairwise(sizes))


def test_a_display_takes_its_share_of_a_card_of_the_table_only():
    card = machine("RTX 4090")
    assert card.available_bytes - without_display(card).available_bytes == 2**30
    server = machine("A100 80GB")
    assert without_display(server) == server
    assert card.gpu is not None
    detected = replace(card, gpu=replace(card.gpu, driver_version="580.1"))
    assert without_display(detected) == detected


@pytest.mark.parametrize("base", ["meta-llama/Llama-2-13b-chat-hf", "chargoddard/Yi-34B-200K-Llama"])
def test_the_longest_example_fits_and_the_next_does_not(base):
    config, card = config_with("lora.rank=16"), without_display(machine("RTX 4090"))
    facts = facts_of(base)
    longest = longest_example(config, facts, machine=card)

    def verdict(length):
        stats = even_stats(length, num_tokens=8 * length, validation_fraction=0.1)
        return plan_memory(_leanest(facts, lora_settings(config), stats), card).verdict

    if longest:
        assert verdict(longest) == "fits"
    if longest + 64 <= facts.context_tokens:
        assert verdict(longest + 64) != "fits"


def test_assumed_data_is_the_same_text_at_every_length():
    for length in (16, 512, 1024, 8192):
        stats = data(length)
        assert stats.num_tokens == pytest.approx(614_400, rel=0.02)
        assert stats.max_tokens == length == stats.lengths[-1]
        assert list(stats.lengths) == sorted(stats.lengths)
        assert sum(stats.lengths) == stats.num_tokens


@pytest.mark.parametrize("recipe", CARDS)
def test_a_best_recipe_fits_its_card_beside_a_display_and_no_larger_class_of_model_does(recipe):
    config = load_recipe(recipe)
    card, length = card_of(recipe), config.data.max_length_tokens
    facts = facts_of(config.model.base)
    then = forecast(config, data(length), facts, machine=card)
    assert then.memory.verdict == "fits"
    assert then.memory.high_gib > 0.85 * card.available_bytes / 2**30, "the card is used"
    first = find_recipes(config, data, machine=card, limits=Limits(min_context_tokens=length)).choices[0]
    assert num_params(facts) <= first.num_params <= 1.1 * num_params(facts)
    assert BASES[config.model.base]


@pytest.mark.parametrize(("recipe", "gpu"), [(name, gpu) for name, gpu in CARDS.items() if gpu])
def test_a_best_recipe_fits_every_card_of_its_size(recipe, gpu):
    config = load_recipe(recipe)
    wanted = machine(gpu).available_bytes
    stats, facts = data(config.data.max_length_tokens), facts_of(config.model.base)
    for card in all_gpus():
        there = machine(card.name)
        if there.available_bytes >= wanted and there.has_bfloat16:
            assert forecast(config, stats, facts, machine=without_display(there)).memory.verdict == "fits", card.name


def card_of(recipe):
    """The card a recipe is for; no 8 GB card is in the table, so that one is a smaller RTX 3060."""
    if CARDS[recipe]:
        return without_display(machine(CARDS[recipe]))
    whole = machine("RTX 3060")
    return without_display(replace(whole, available_bytes=whole.available_bytes * 8 // 12))
