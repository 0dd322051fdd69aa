"""Shapes of models from the table and from a local folder."""

import json

import pytest

from duologue.errors import PlanError
from duologue.plan import known_facts

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


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{not json", "not readable JSON"),
        ("[1, 2]", "no JSON object"),
        ({"n_embd": 768, "n_layer": 12}, "no whole number for hidden_size, num_hidden_layers"),
        ({**CONFIG, "num_local_experts": 8}, "mixture of experts"),
        ({**CONFIG, "text_config": 3}, "no JSON object"),
    ],
)
def test_a_config_that_describes_no_plannable_model_is_refused_with_its_path(tmp_path, config, message):
    with pytest.raises(PlanError, match=message) as caught:
        known_facts(write(tmp_path, config))
    assert caught.value.where.endswith("config.json")
