"""Shapes of models from the table and from a local folder."""

import json

import pytest

from duologue.errors import PlanError
from duologue.plan import known_facts
from duologue.plan.models import facts_called, known_models
from duologue.plan.shapes import num_params

CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "tie_word_embeddings": True,
    "max_position_embeddings": 512,
}


def write(folder, config) -> str:
    (folder / "config.json").write_text(json.dumps(config) if not isinstance(config, str) else config)
    return str(folder)


@pytest.mark.parametrize(
    "name",
    [
        "bundled:smollm2-135m",
        "meta-llama/Llama-2-7b-chat-hf",
        "meta-llama/Llama-2-13b-chat-hf",
        "chargoddard/Yi-34B-200K-Llama",
        "meta-llama/Llama-3.1-8B-Instruct",
        "mistralai/Mistral-7B-v0.1",
        "mistralai/Mistral-7B-Instruct-v0.3",
    ],
)
def test_the_models_of_the_recipes_are_known_without_a_network(name):
    facts = known_facts(name)
    assert facts is not None
    assert facts.name == name
    assert facts.hidden_size % facts.num_heads == 0
    assert facts.num_heads % facts.num_kv_heads == 0


def test_a_hub_name_is_found_in_any_case_and_kept_as_written():
    facts = known_facts("Meta-Llama/llama-2-7B-chat-HF")
    assert facts is not None
    assert (facts.name, facts.num_layers) == ("Meta-Llama/llama-2-7B-chat-HF", 32)


def test_a_model_nobody_knows_is_left_to_the_engine():
    assert known_facts("someone/some-model") is None
    assert known_facts("missing-folder/model.gguf") is None


def test_a_local_folder_is_read_from_its_config(tmp_path):
    (tmp_path / "model-1.safetensors").write_bytes(b"x" * 30)
    (tmp_path / "model-2.safetensors").write_bytes(b"x" * 12)
    facts = known_facts(write(tmp_path, CONFIG))
    assert facts is not None
    assert (facts.hidden_size, facts.num_layers, facts.num_kv_heads, facts.head_dim) == (64, 2, 2, 16)
    assert facts.has_tied_embeddings
    assert (facts.context_tokens, facts.weights_bytes) == (512, 42)


def test_what_a_config_leaves_out_has_its_usual_value(tmp_path):
    rest = ("num_key_value_heads", "tie_word_embeddings", "max_position_embeddings")
    facts = known_facts(write(tmp_path, {key: value for key, value in CONFIG.items() if key not in rest}))
    assert facts is not None
    assert (facts.num_kv_heads, facts.has_tied_embeddings, facts.context_tokens) == (4, False, 2048)


def test_a_model_that_also_sees_pictures_is_read_by_its_text_part(tmp_path):
    facts = known_facts(write(tmp_path, {"model_type": "both", "text_config": CONFIG}))
    assert facts is not None
    assert facts.vocab_size == 1000


def test_a_mixture_is_read_with_the_width_of_one_expert(tmp_path):
    mixture = {"num_experts": 16, "num_experts_per_tok": 4, "moe_intermediate_size": 32, "model_type": "qwen3_moe"}
    facts = known_facts(write(tmp_path, {**CONFIG, **mixture}))
    assert facts is not None
    assert (facts.num_experts, facts.num_experts_per_token, facts.intermediate_size) == (16, 4, 32)
    assert facts.has_query_key_norm


@pytest.mark.parametrize(
    ("kind", "mlp", "norm", "norms"),
    [
        ("llama", "gated", "rms", 2),
        ("gpt_neox", "plain", "layer", 2),
        ("phi", "plain", "layer", 1),
        ("gemma2", "gated", "rms", 4),
    ],
)
def test_the_kind_of_block_follows_from_the_type_of_model(tmp_path, kind, mlp, norm, norms):
    facts = known_facts(write(tmp_path, {**CONFIG, "model_type": kind}))
    assert facts is not None
    assert (facts.mlp_kind, facts.norm_kind, facts.num_norms) == (mlp, norm, norms)


@pytest.mark.parametrize(("name", "billions"), known_models().items())
def test_every_shape_of_the_table_has_its_published_number_of_parameters(name, billions):
    facts = known_facts(name)
    assert facts is not None
    assert num_params(facts) / 1e9 == pytest.approx(billions, rel=0.003)


@pytest.mark.parametrize(
    ("said", "layers", "vocab"),
    [
        ("Llama 2 7B", 32, 32000),
        ("llama-3.2-3b", 28, 128256),
        ("NousResearch/Llama-2-70b-hf", 80, 32000),
        ("StableLM Alpha 3B", 16, 50688),
        ("gemma2-9b", 42, 256000),
        ("Yi 34B", 60, 64000),
        ("Mistral-7B-Instruct-v0.2", 32, 32000),
        ("Llama 3.3 70B", 80, 128256),
    ],
)
def test_a_model_is_found_under_the_name_a_publication_gives_it(said, layers, vocab):
    facts = facts_called(said)
    assert facts is not None
    assert (facts.num_layers, facts.vocab_size) == (layers, vocab)


@pytest.mark.parametrize("said", ["", "Llama 2 8B", "Mystery 7B", "llama"])
def test_another_size_or_family_is_not_taken_for_a_model_of_the_table(said):
    assert facts_called(said) is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{not json", "not readable JSON"),
        ("[1, 2]", "no JSON object"),
        ({"n_embd": 768, "n_layer": 12}, "no whole number for hidden_size, num_hidden_layers"),
        ({**CONFIG, "num_local_experts": 8}, "mixture of 8 experts sends each token to None"),
        ({**CONFIG, "num_experts": 8, "num_experts_per_tok": 9}, "mixture of 8 experts sends each token to 9"),
        ({**CONFIG, "hidden_size": 0}, "hidden_size = 0"),
        ({**CONFIG, "hidden_size": True}, "no whole number for hidden_size"),
        ({**CONFIG, "num_hidden_layers": -2, "vocab_size": 10**9}, "num_hidden_layers = -2, vocab_size = 1000000000"),
        ({**CONFIG, "num_key_value_heads": 3}, "num_key_value_heads = 3 does not divide num_attention_heads = 4"),
        ({**CONFIG, "head_dim": "wide"}, "head_dim = 'wide'"),
        ({**CONFIG, "text_config": 3}, "no JSON object"),
    ],
)
def test_a_config_that_describes_no_plannable_model_is_refused_with_its_path(tmp_path, config, message):
    with pytest.raises(PlanError, match=message) as caught:
        known_facts(write(tmp_path, config))
    assert caught.value.where.endswith("config.json")
