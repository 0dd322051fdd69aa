"""A tiny model with the bundled tokenizer: the same code paths as a large one, in a second."""

import pytest

from duologue.engine import BaseModel


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> str:
    """A random Llama with two blocks, saved as a local folder with safetensors."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from duologue.engine.hf.load import load_tokenizer

    folder = tmp_path_factory.mktemp("tiny-model")
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=49152,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    load_tokenizer(BaseModel("bundled:smollm2-135m")).save(folder)
    return str(folder)
