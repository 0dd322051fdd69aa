"""What a GGUF file says of its model, beside llama.cpp's own lists; long texts and whole replies, token by token."""

import gguf
import numpy as np
import pytest
import torch
from tokenizers import processors
from transformers import AutoModelForCausalLM

from duologue.engine import write_gguf
from duologue.errors import EngineError
from tests.engine.llama_cpp import opened
from tests.engine.test_gguf_out import CASES, LINEAR, YARN, make_model, some_ids, tokenizer_of
from tests.engine.tiny_models import TEMPLATE, byte_level_tokenizer, logprobs, save, tiny_config, tiny_model

ONE_OF_EACH = ["llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "phi3, longrope"]
# What convert_hf_to_gguf.py writes for every one of these families.
ALWAYS = {
    *("context_length", "embedding_length", "block_count", "feed_forward_length", "rope.freq_base"),
    *("attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon"),
}
# Beyond the window, and beyond the length that scaled positions were trained with.
LONG = {
    "llama 3.1": CASES["llama 3.1"],
    "llama, linear": CASES["llama, linear"],
    "llama, yarn": ("llama", {"rope_parameters": YARN}),
    "llama, tied": CASES["llama, tied"],
    "mistral, window not reached": ("mistral", {"sliding_window": 512}),
    "mistral, linear": ("mistral", {"sliding_window": None, "rope_parameters": LINEAR}),
    "qwen2": CASES["qwen2"],
    "qwen2, tied": ("qwen2", {"tie_word_embeddings": True}),
    "qwen2, yarn": CASES["qwen2, yarn"],
    "qwen3, yarn": ("qwen3", {"rope_parameters": YARN}),
    "gemma": CASES["gemma"],
    "gemma2": CASES["gemma2"],
    "gemma3": CASES["gemma3"],
    "gemma3, linear": (
        "gemma3_text",
        {
            "num_hidden_layers": 7,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        },
    ),
    "phi3, window not reached": ("phi3", {"sliding_window": 511}),
    "phi4-mini": CASES["phi4-mini"],
}
USUAL = ["llama 3.1", "gemma3, linear"]
NUM_TOKENS, NUM_SAID = 200, 8


def written(folder):
    warnings = []
    write_gguf(
        folder, folder / "m.gguf", form="f16", on_event=lambda event: warnings.append(event.values.get("text", ""))
    )
    return gguf.GGUFReader(folder / "m.gguf"), [text for text in warnings if text]


def known_keys(names=gguf.Keys):
    for value in vars(names).values():
        if isinstance(value, str) and "." in value:
            yield value
        elif isinstance(value, type):
            yield from known_keys(value)


@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_every_key_and_tensor_is_one_that_llama_cpp_has_for_the_family(tmp_path, case):
    model_type, changes = CASES[case]
    make_model(tmp_path, model_type, tokenizer=tokenizer_of(case), **changes)
    reader, _ = written(tmp_path)
    name = reader.fields["general.architecture"].contents()
    keys = {key for key in reader.fields if not key.startswith("GGUF.")}
    assert keys - {key.replace("{arch}", name) for key in known_keys()} == set()
    assert {f"{name}.{key}" for key in ALWAYS} <= keys
    (arch,) = [each for each, called in gguf.MODEL_ARCH_NAMES.items() if called == name]
    patterns = [gguf.TENSOR_NAMES[tensor] for tensor in gguf.MODEL_TENSORS[arch]]
    layers = range(reader.fields[f"{name}.block_count"].contents())
    known = {pattern.format(bid=layer) for pattern in patterns for layer in layers}
    stems = {tensor.name.rpartition(".")[0] for tensor in reader.tensors}
    assert stems - known == set()


@pytest.mark.parametrize("case", [pytest.param(case, marks=[] if case in USUAL else pytest.mark.slow) for case in LONG])
def test_long_texts_and_whole_replies_are_those_of_transformers(tmp_path, case):
    model_type, changes = LONG[case]
    model = make_model(tmp_path, model_type, tokenizer=tokenizer_of(case), **changes)
    write_gguf(tmp_path, tmp_path / "m.gguf", form="f32", on_event=lambda _: None)
    ids = some_ids(model.config.vocab_size, length=NUM_TOKENS)
    with torch.no_grad():
        said = model.generate(torch.tensor([ids]), max_new_tokens=NUM_SAID, do_sample=False, use_cache=False)
    expected = said[0, NUM_TOKENS:].tolist()
    with opened(tmp_path / "m.gguf", context_tokens=512) as llama_cpp:
        got = llama_cpp.logprobs(ids, num_tokens=model.config.vocab_size)
        greedy = llama_cpp.greedy_ids(ids, num_tokens=NUM_SAID)
    tolerance = 1e-2 if case.startswith("gemma") else 1e-3  # as in test_gguf_out, over five times as many tokens
    assert np.abs(got - logprobs(model, ids)).max() < tolerance
    assert greedy == expected[: len(greedy)]
    assert len(greedy) == NUM_SAID or expected[len(greedy) - 1] == model.config.eos_token_id


def test_tokens_without_a_row_are_left_out_and_counted(tmp_path):
    tokenizer = byte_level_tokenizer("llama-bpe")
    num_rows = len(tokenizer)
    tokenizer.add_tokens(["<spare_1>", "<spare_2>"])
    tokenizer.pad_token = "<spare_2>"
    save(tiny_model(tiny_config("llama", vocab_size=num_rows, num_hidden_layers=1)), tokenizer, tmp_path)
    reader, warnings = written(tmp_path)
    assert len(reader.fields["tokenizer.ggml.tokens"].contents()) == num_rows
    assert "tokenizer.ggml.padding_token_id" not in reader.fields
    assert any("2 added tokens have no row" in text for text in warnings)


def test_an_end_that_the_model_has_no_row_for_is_refused(tmp_path):
    tokenizer = byte_level_tokenizer("llama-bpe")
    num_rows = len(tokenizer)
    tokenizer.add_special_tokens({"eos_token": "<the_end>"})
    save(tiny_model(tiny_config("llama", vocab_size=num_rows, num_hidden_layers=1)), tokenizer, tmp_path)
    with pytest.raises(EngineError, match=rf"eos token has the id {num_rows} and the model {num_rows} rows"):
        written(tmp_path)
    assert not list(tmp_path.glob("m.gguf*"))


@pytest.mark.parametrize(
    ("single", "bos", "eos"), [("$A", False, False), ("<s> $A", True, False), ("<s> $A </s>", True, True)]
)
def test_what_the_tokenizer_adds_by_itself_is_what_the_file_says(tmp_path, single, bos, eos):
    tokenizer = byte_level_tokenizer("gpt-2")
    marks = [(mark, tokenizer.convert_tokens_to_ids(mark)) for mark in ("<s>", "</s>") if mark in single]
    if marks:
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=marks)
    save(tiny_model(tiny_config("llama", vocab_size=len(tokenizer), num_hidden_layers=1)), tokenizer, tmp_path)
    reader, _ = written(tmp_path)
    assert reader.fields["tokenizer.ggml.add_bos_token"].contents() is bos
    assert reader.fields["tokenizer.ggml.add_eos_token"].contents() is eos
    with opened(tmp_path / "m.gguf") as llama_cpp:
        assert llama_cpp.encode("the sea", add_special=True) == tokenizer.encode("the sea")


def test_a_template_that_knows_tools_renders_a_plain_chat_in_llama_cpp_alike(tmp_path):
    with_tools = "{% if tools %}{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}{% endif %}" + TEMPLATE
    tokenizer = byte_level_tokenizer("llama-bpe")
    tokenizer.chat_template = with_tools
    save(tiny_model(tiny_config("llama", vocab_size=len(tokenizer), num_hidden_layers=1)), tokenizer, tmp_path)
    reader, _ = written(tmp_path)
    assert reader.fields["tokenizer.chat_template"].contents() == with_tools
    messages = [{"role": "user", "content": "Where is the harbour?"}]
    with opened(tmp_path / "m.gguf") as llama_cpp:
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert llama_cpp.count_prompt(messages) == len(ids)


def test_of_several_templates_the_one_that_chats_is_written(tmp_path):
    tokenizer = byte_level_tokenizer("llama-bpe")
    tokenizer.chat_template = {"default": TEMPLATE, "tool_use": "{{ tools }}"}
    save(tiny_model(tiny_config("llama", vocab_size=len(tokenizer), num_hidden_layers=1)), tokenizer, tmp_path)
    reader, _ = written(tmp_path)
    assert reader.fields["tokenizer.chat_template"].contents() == TEMPLATE


def test_transformers_reads_the_settings_back(tmp_path):
    model = make_model(tmp_path, "qwen2", rope_parameters={"rope_type": "default", "rope_theta": 250000.0})
    write_gguf(tmp_path, tmp_path / "m.gguf", form="f32", on_event=lambda _: None)
    theirs = AutoModelForCausalLM.from_pretrained(str(tmp_path), gguf_file="m.gguf", dtype=torch.float32).config
    ours = model.config
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size"):
        assert getattr(theirs, name) == getattr(ours, name), name
    assert theirs.rope_parameters["rope_theta"] == 250000.0
    assert theirs.rms_norm_eps == pytest.approx(ours.rms_norm_eps)
