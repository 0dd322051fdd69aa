"""PEFT adapters written as GGUF: llama.cpp with base and LoRA against PEFT on the same base."""

import json

import gguf
import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from duologue.engine import Adapter, BaseModel, write_gguf, write_lora_gguf
from duologue.engine.hf.load import load_model, load_tokenizer, quiet
from duologue.errors import EngineError
from tests.engine.llama_cpp import opened
from tests.engine.tiny_models import byte_level_tokenizer, logprobs, save, tiny_config, tiny_model

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
BUNDLED = "bundled:smollm2-135m"


def silent(_):
    pass


def make_base(folder, model_type="llama", **changes):
    tokenizer = byte_level_tokenizer("llama-bpe")
    model = tiny_model(tiny_config(model_type, vocab_size=len(tokenizer), **changes))
    save(model, tokenizer, folder / "base")
    return model


def make_adapter(model, folder, *, targets=tuple(ALL), **settings):
    """A random LoRA whose effect is large."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules=list(targets), **settings)
    with quiet():
        peft_model = get_peft_model(model, config)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in peft_model.named_parameters():
            if "lora_" in name and "magnitude" not in name:
                parameter.copy_(torch.randn_like(parameter) * 0.06)
    peft_model.save_pretrained(str(folder / "adapter"), save_embedding_layers=False)
    return Adapter(folder / "adapter", BaseModel(str(folder / "base")))


def with_adapter(adapter):
    base = AutoModelForCausalLM.from_pretrained(adapter.base.name, dtype=torch.float32, attn_implementation="eager")
    return adapted(base, adapter)


def adapted(base, adapter):
    with quiet():
        return PeftModel.from_pretrained(base, str(adapter.folder)).eval()


def ask(file, ids, *, num_tokens, lora=None):
    with opened(file, lora=lora) as llama_cpp:
        return llama_cpp.logprobs(ids, num_tokens=num_tokens)


@pytest.mark.parametrize(
    ("model_type", "targets", "settings"),
    [
        ("llama", ALL, {}),
        ("llama", ["q_proj", "k_proj", "lm_head"], {"use_rslora": True}),
        ("llama", ALL, {"rank_pattern": {"k_proj": 2}, "alpha_pattern": {"q_proj": 32}}),
        ("qwen3", ALL, {}),
        ("gemma2", ALL, {}),
        ("phi3", FUSED, {}),
    ],
)
def test_base_and_lora_answer_as_peft_does(tmp_path, model_type, targets, settings):
    model = make_base(tmp_path, model_type)
    ids = np.random.default_rng(0).integers(6, model.config.vocab_size, 30).tolist()
    bare = logprobs(model, ids)
    adapter = make_adapter(model, tmp_path, targets=targets, **settings)
    write_gguf(tmp_path / "base", tmp_path / "base.gguf", form="f32", on_event=silent)
    events = []
    write_lora_gguf(adapter, tmp_path / "lora.gguf", on_event=events.append)
    assert events[-1].values["done"] == events[-1].values["total"] == (tmp_path / "lora.gguf").stat().st_size
    expected = logprobs(with_adapter(adapter), ids)
    got = ask(tmp_path / "base.gguf", ids, num_tokens=len(bare), lora=tmp_path / "lora.gguf")
    assert np.abs(expected - bare).max() > 0.2
    assert np.abs(got - expected).max() < (5e-3 if model_type == "gemma2" else 1e-4)


@pytest.mark.slow
def test_the_bundled_model_answers_with_a_lora_as_peft_does(tmp_path):
    base = BaseModel(BUNDLED)
    model = load_model(base)
    model.save_pretrained(str(tmp_path / "base"))
    load_tokenizer(base).save(tmp_path / "base")
    write_gguf(tmp_path / "base", tmp_path / "base.gguf", form="f16", on_event=silent)
    tokenizer = load_tokenizer(base)
    ids = tokenizer.encode("<|im_start|>user\nWhere is the harbour of 1987?<|im_end|>\n<|im_start|>assistant\n")
    bare = logprobs(model, ids)
    adapter = Adapter(make_adapter(model, tmp_path, targets=("q_proj", "v_proj")).folder, base)
    write_lora_gguf(adapter, tmp_path / "lora.gguf", on_event=silent)
    expected = logprobs(adapted(load_model(base), adapter), ids)
    with opened(tmp_path / "base.gguf", lora=tmp_path / "lora.gguf") as llama_cpp:
        assert llama_cpp.encode("Where is the harbour of 1987?") == tokenizer.encode("Where is the harbour of 1987?")
        got = llama_cpp.logprobs(ids, num_tokens=len(bare))

    def divergence(other):
        return float((np.exp(expected) * (expected - other)).sum())

    assert divergence(bare) > 0.1
    assert divergence(got) < 1e-3


def test_the_file_says_what_it_is(tmp_path):
    adapter = make_adapter(make_base(tmp_path), tmp_path, use_rslora=True)
    write_lora_gguf(adapter, tmp_path / "lora.gguf", on_event=silent)
    reader = gguf.GGUFReader(tmp_path / "lora.gguf")
    fields = {key: field.contents() for key, field in reader.fields.items()}
    assert (fields["general.type"], fields["adapter.type"]) == ("adapter", "lora")
    assert fields["adapter.lora.alpha"] == pytest.approx(8 * 4 / 4**0.5)  # llama.cpp divides by the rank, not its root
    assert {tensor.name for tensor in reader.tensors} >= {"blk.1.attn_q.weight.lora_a", "blk.0.ffn_down.weight.lora_b"}
    assert len(reader.tensors) == 2 * len(ALL) * 2


def refusal(adapter, folder):
    with pytest.raises(EngineError) as refused:
        write_lora_gguf(adapter, folder / "lora.gguf", on_event=silent)
    assert not list(folder.glob("lora.gguf*"))
    return refused.value.sentence()


def test_a_dora_is_refused(tmp_path):
    adapter = make_adapter(make_base(tmp_path), tmp_path, use_dora=True)
    assert "the adapter is a DoRA (14 layers" in refusal(adapter, tmp_path)


def test_weights_saved_whole_are_refused(tmp_path):
    adapter = make_adapter(make_base(tmp_path), tmp_path, targets=["q_proj"], modules_to_save=["lm_head"])
    text = refusal(adapter, tmp_path)
    assert "brings 1 weights whole ('lm_head.weight')" in text
    assert "Export the merged model instead" in text


def test_a_trained_embedding_is_refused(tmp_path):
    adapter = make_adapter(make_base(tmp_path), tmp_path, targets=["q_proj", "embed_tokens"])
    assert "embed_tokens" in refusal(adapter, tmp_path)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
def test_an_output_that_is_also_the_embedding_is_refused(tmp_path):
    model = make_base(tmp_path, tie_word_embeddings=True)
    adapter = make_adapter(model, tmp_path, targets=["q_proj", "lm_head"])
    assert "'lm_head.weight'" in refusal(adapter, tmp_path)


def test_an_adapter_of_another_base_is_refused(tmp_path):
    (tmp_path / "wide").mkdir()
    (tmp_path / "phi").mkdir()
    adapter = make_adapter(make_base(tmp_path / "wide", intermediate_size=256), tmp_path / "wide")
    make_base(tmp_path)
    other = BaseModel(str(tmp_path / "base"))
    text = refusal(Adapter(adapter.folder, other), tmp_path)
    assert "is changed as a weight of shape [256, 256]; expected [256, 512]" in text
    fused = make_adapter(make_base(tmp_path / "phi", "phi3"), tmp_path / "phi", targets=FUSED)
    assert "4 of the adapter's 8 layers are none that llama.cpp can change" in refusal(
        Adapter(fused.folder, other), tmp_path
    )


def test_an_adapter_with_renamed_keys_is_never_a_silent_nothing(tmp_path):
    adapter = make_adapter(make_base(tmp_path), tmp_path)
    file = adapter.folder / "adapter_model.safetensors"
    save_file({key.replace("self_attn", "inner.self_attn"): value for key, value in load_file(file).items()}, file)
    assert "8 of the adapter's 14 layers" in refusal(adapter, tmp_path)
    save_file({}, file)
    assert "changes no weight" in refusal(adapter, tmp_path)


def test_a_base_that_llama_cpp_does_not_know_is_refused(tmp_path):
    adapter = make_adapter(make_base(tmp_path), tmp_path)
    file = tmp_path / "base" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_type": "gpt_neox"}))
    assert "'gpt_neox'" in refusal(adapter, tmp_path)
