"""Parameter counts against numbers worked out by hand."""

from dataclasses import replace

import pytest

from duologue.engine import LoraSettings, ModelFacts
from duologue.errors import PlanError
from duologue.plan import known_facts
from duologue.plan.shapes import (
    check_shape,
    num_adapted_layers,
    num_adapter_params,
    num_linear_params,
    num_other_params,
    num_params,
)


def facts(name: str) -> ModelFacts:
    found = known_facts(name)
    assert found is not None
    return found


LLAMA_13B = facts("meta-llama/Llama-2-13b-chat-hf")
YI_34B = facts("chargoddard/Yi-34B-200K-Llama")
SMOLLM = facts("bundled:smollm2-135m")


def test_llama_2_13b_has_its_published_number_of_parameters():
    # 40 x (4 x 5120^2 + 3 x 5120 x 13824), two tables of 32000 x 5120, 81 norms
    assert num_linear_params(LLAMA_13B) == 12_687_769_600
    assert num_other_params(LLAMA_13B) == 2 * 32000 * 5120 + 81 * 5120
    assert num_params(LLAMA_13B) == 13_015_864_320


def test_grouped_key_value_heads_are_counted_with_their_own_width():
    assert num_params(YI_34B) == 34_388_917_248  # 34.39B


def test_tied_embeddings_are_counted_once():
    assert num_params(SMOLLM) == 134_515_008
    untied = replace(SMOLLM, has_tied_embeddings=False)
    assert num_params(untied) - num_params(SMOLLM) == 49152 * 576


@pytest.mark.parametrize(
    ("model", "rank", "modules", "expected"),
    [
        # rank x layers x (4 x 2h + 3 x (h + ff)) with h = 5120, ff = 13824
        (LLAMA_13B, 32, "all-linear", 32 * 40 * (8 * 5120 + 3 * 18944)),
        (LLAMA_13B, 32, ("q_proj", "v_proj"), 32 * 40 * 4 * 5120),
        (LLAMA_13B, 32, ("q_proj", "k_proj", "v_proj", "o_proj"), 32 * 40 * 8 * 5120),
        (YI_34B, 64, "all-linear", 491_520_000),
        (SMOLLM, 16, "all-linear", 4_884_480),
    ],
)
def test_an_adapter_has_rank_times_inputs_and_outputs(model, rank, modules, expected):
    assert num_adapter_params(model, LoraSettings(rank=rank, alpha=16, target_modules=modules)) == expected


def test_an_adapter_on_the_last_half_of_the_layers_is_half_as_large():
    half = LoraSettings(rank=16, alpha=32, num_layers=15)
    assert num_adapted_layers(SMOLLM, half) == 15
    assert num_adapter_params(SMOLLM, half) * 2 == 4_884_480


def test_a_module_named_twice_counts_once():
    once = LoraSettings(rank=8, alpha=8, target_modules=("q_proj",))
    twice = LoraSettings(rank=8, alpha=8, target_modules=("q_proj", "q_proj"))
    assert num_adapter_params(SMOLLM, twice) == num_adapter_params(SMOLLM, once)


def test_more_adapted_layers_than_the_model_has_are_refused_with_both_numbers():
    with pytest.raises(PlanError, match=r"asks for 40 layers, but the model has 30"):
        check_shape(SMOLLM, LoraSettings(rank=8, alpha=8, num_layers=40))


@pytest.mark.parametrize("modules", [("c_attn",), ()])
def test_target_modules_the_planner_does_not_know_are_refused_with_the_known_ones(modules):
    with pytest.raises(PlanError, match="q_proj, k_proj"):
        check_shape(SMOLLM, LoraSettings(rank=8, alpha=8, target_modules=modules))


@pytest.mark.parametrize("name", ["num_layers", "hidden_size", "vocab_size", "head_dim"])
def test_a_model_with_a_size_of_zero_is_refused_by_name(name):
    with pytest.raises(PlanError, match=f"{name} = 0"):
        check_shape(replace(SMOLLM, **{name: 0}), LoraSettings(rank=8, alpha=8))
