"""Models written to GGUF: what llama.cpp computes with them against transformers."""

import json
import resource
import signal
from dataclasses import replace

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from duologue.engine import GGUF_FORMS, gguf_size_bytes, write_gguf
from duologue.engine.hf.gguf_out.families import FAMILIES
from duologue.engine.hf.gguf_out.kinds import Kind, Mix
from duologue.errors import EngineError
from tests.engine.llama_cpp import opened
from tests.engine.tiny_models import (
    byte_level_tokenizer,
    logprobs,
    save,
    sentencepiece_tokenizer,
    tiny_config,
    tiny_model,
)

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0 + at / 40 for at in range(32)],
    "long_factor": [2.0 + at / 10 for at in range(32)],
    "original_max_position_embeddings": 256,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 128}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
CASES = {
    "llama": ("llama", {}),
    "llama, tied": ("llama", {"tie_word_embeddings": True}),
    "llama, biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, narrow heads": ("llama", {"head_dim": 32}),
    "llama 3.1": ("llama", {"rope_parameters": LLAMA3}),
    "llama, linear": ("llama", {"rope_parameters": LINEAR}),
    "mistral": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {}),
    "qwen2, yarn": ("qwen2", {"rope_parameters": YARN}),
    "qwen3": ("qwen3", {}),
    "gemma": ("gemma", {"sliding_window": None}),
    "gemma2": ("gemma2", {}),
    "gemma3": ("gemma3_text", {"num_hidden_layers": 7}),
    "gemma3, own pattern": (
        "gemma3_text",
        {"num_hidden_layers": 3, "layer_types": ["full_attention", "sliding_attention", "full_attention"]},
    ),
    "phi3": ("phi3", {}),
    "phi3, longrope": (
        "phi3",
        {"rope_parameters": LONGROPE, "original_max_position_embeddings": 256, "max_position_embeddings": 1024},
    ),
    "phi4-mini": (
        "phi3",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.75}},
    ),
}
# transformers reads these back; their numbers must be those that were written. (Qwen3 it reads with heads of 128 only.)
READ_BACK = ["llama", "qwen2", "gemma2", "gemma3", "phi3"]
USUAL = ["llama", "llama 3.1", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "phi3, longrope"]


def quiet(_):
    pass


def make_model(folder, model_type="llama", *, tokenizer=None, **changes):
    tokenizer = tokenizer or byte_level_tokenizer("llama-bpe")
    model = tiny_model(tiny_config(model_type, vocab_size=len(tokenizer), **changes))
    save(model, tokenizer, folder)
    return model


def some_ids(num_tokens, *, length=40):
    return np.random.default_rng(0).integers(6, num_tokens, length).tolist()


def ask(file, ids, *, num_tokens):
    with opened(file) as llama_cpp:
        return llama_cpp.logprobs(ids, num_tokens=num_tokens)


def tokenizer_of(name):
    if name.startswith("gemma"):
        return sentencepiece_tokenizer("gemma")
    return sentencepiece_tokenizer("phi3") if name.startswith("phi") else byte_level_tokenizer("llama-bpe")


# ------------------------------------------------------------------------------------------------------------- families


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case in USUAL else pytest.mark.slow) for case in CASES]
)
def test_llama_cpp_computes_what_transformers_computes(tmp_path, case):
    model_type, changes = CASES[case]
    model = make_model(tmp_path, model_type, tokenizer=tokenizer_of(case), **changes)
    file = tmp_path / "model.gguf"
    write_gguf(tmp_path, file, form="f32", on_event=quiet)
    num_tokens = model.config.vocab_size
    ids = some_ids(num_tokens)
    expected = logprobs(model, ids)
    # llama.cpp looks Gemma's activation up in a table of 16-bit numbers
    tolerance = 5e-3 if case.startswith("gemma") else 1e-4
    assert expected.std() > 0.5
    assert np.abs(ask(file, ids, num_tokens=num_tokens) - expected).max() < tolerance
    if case in READ_BACK:
        theirs = AutoModelForCausalLM.from_pretrained(str(tmp_path), gguf_file=file.name, dtype=torch.float32)
        ours = model.state_dict()
        assert set(theirs.state_dict()) == set(ours)
        for name, tensor in theirs.state_dict().items():
            assert torch.allclose(tensor, ours[name], atol=1e-6, rtol=0), name


def test_every_family_is_among_the_tests():
    assert {model_type for model_type, _ in CASES.values()} | {"gemma3"} == set(FAMILIES)


@pytest.mark.parametrize(("case", "mistake"), [("llama", {"interleaves": False}), ("gemma2", {"norm_offset": 0.0})])
def test_a_wrong_arrangement_would_be_noticed(tmp_path, monkeypatch, case, mistake):
    model_type, changes = CASES[case]
    model = make_model(tmp_path, model_type, tokenizer=tokenizer_of(case), **changes)
    monkeypatch.setitem(FAMILIES, model_type, replace(FAMILIES[model_type], **mistake))
    write_gguf(tmp_path, tmp_path / "m.gguf", form="f32", on_event=quiet)
    ids = some_ids(model.config.vocab_size)
    got = ask(tmp_path / "m.gguf", ids, num_tokens=model.config.vocab_size)
    assert np.abs(got - logprobs(model, ids)).max() > 0.1


def test_what_llama_cpp_does_otherwise_is_said(tmp_path):
    make_model(tmp_path, "mistral", sliding_window=32)
    warnings = []
    write_gguf(
        tmp_path, tmp_path / "m.gguf", form="f16", on_event=lambda event: warnings.append(event.values.get("text"))
    )
    assert any("looks back at most 32 tokens" in text for text in warnings if text)


# ---------------------------------------------------------------------------------------------------------------- forms


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("merged")
    make_model(made, num_hidden_layers=8, intermediate_size=256)
    return made


@pytest.mark.parametrize(
    ("form", "largest_error"),
    list(zip(GGUF_FORMS, [0, 1e-3, 4e-3, 0.01, 0.03, 0.06, 0.1, 0.2], strict=True)),
)
def test_each_form_holds_the_weights_as_well_as_it_can_and_is_as_large_as_foretold(
    tmp_path, folder, form, largest_error
):
    file = tmp_path / "m.gguf"
    events = []
    write_gguf(folder, file, form=form, on_event=events.append)
    assert file.stat().st_size == gguf_size_bytes(folder, form)
    done = [event.values["done"] for event in events if event.name == "preparing"]
    assert done == sorted(done) and done[-1] == events[-1].values["total"] == file.stat().st_size
    exact = load_file(folder / "model.safetensors")
    read = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    assert len(read) == len(exact)
    for ours, theirs in (
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.layers.3.mlp.down_proj.weight", "blk.3.ffn_down.weight"),
        ("model.layers.7.self_attn.v_proj.weight", "blk.7.attn_v.weight"),
        ("model.norm.weight", "output_norm.weight"),
    ):
        tensor = read[theirs]
        got = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(exact[ours].shape)
        wanted = exact[ours].numpy()
        assert np.linalg.norm(got - wanted) <= largest_error * np.linalg.norm(wanted), theirs
        assert (tensor.tensor_type == Kind.F32) == (form == "f32" or theirs == "output_norm.weight")


@pytest.mark.slow
def test_the_forms_come_nearer_to_the_exact_model_the_larger_they_are(tmp_path, folder):
    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    ids = some_ids(model.config.vocab_size)
    expected = logprobs(model, ids)
    divergence = {}
    for form in ("f16", "q8_0", "q5_k_m", "q3_k_m"):
        write_gguf(folder, tmp_path / f"{form}.gguf", form=form, on_event=quiet)
        got = ask(tmp_path / f"{form}.gguf", ids, num_tokens=model.config.vocab_size)
        divergence[form] = float((np.exp(expected) * (expected - got)).sum())
    assert list(divergence.values()) == sorted(divergence.values())
    assert divergence["f16"] < 1e-5
    assert divergence["q3_k_m"] < 1.5  # random weights take rounding harder than trained ones


def test_the_mixes_are_llama_cpps_own():
    mix = Mix("q4_k_m", 32, has_tied_embeddings=False, is_70b=False)
    more = [layer for layer in range(32) if mix.kind(f"blk.{layer}.ffn_down.weight", (4096, 11008)) == Kind.Q6_K]
    assert more == [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]  # as in every published 7B file
    assert mix.kind("output.weight", (32000, 4096)) == Kind.Q6_K
    assert mix.kind("token_embd.weight", (32000, 4096)) == Kind.Q4_K
    assert mix.kind("blk.5.attn_q.weight", (4096, 4096)) == Kind.Q4_K
    assert mix.kind("blk.0.attn_norm.weight", (4096,)) == Kind.F32
    three = Mix("q3_k_m", 32, has_tied_embeddings=False, is_70b=False)
    kinds = [three.kind(f"blk.{layer}.attn_v.weight", (1024, 4096)) for layer in range(3)]
    assert kinds == [Kind.Q5_K, Kind.Q5_K, Kind.Q4_K]
    assert three.kind("blk.9.attn_output.weight", (4096, 4096)) == Kind.Q4_K
    assert three.kind("blk.9.ffn_up.weight", (11008, 4096)) == Kind.Q3_K


def test_rows_that_are_no_multiple_of_256_take_shorter_blocks(tmp_path):
    kinds = {form: Mix(form, 30, True, False).kind("blk.4.attn_q.weight", (576, 576)) for form in GGUF_FORMS[3:]}
    assert list(kinds.values()) == [Kind.Q8_0, Kind.Q8_0, Kind.Q5_1, Kind.Q5_0, Kind.Q4_0]
    assert Mix("q4_k_m", 30, True, False).kind("token_embd.weight", (49152, 576)) == Kind.Q8_0
    assert Mix("q8_0", 2, False, False).kind("blk.0.attn_q.weight", (80, 40)) == Kind.F16
    model = make_model(tmp_path, hidden_size=96, num_attention_heads=3, num_key_value_heads=3, head_dim=32)
    write_gguf(tmp_path, tmp_path / "m.gguf", form="q4_k_m", on_event=quiet)
    ids = some_ids(model.config.vocab_size)
    got = ask(tmp_path / "m.gguf", ids, num_tokens=model.config.vocab_size)
    assert np.abs(got - logprobs(model, ids)).max() < 1.0


# --------------------------------------------------------------------------------------------------------------- faults


def refusal(folder, *, form="f16"):
    before = {path.name for path in folder.iterdir()}
    with pytest.raises(EngineError) as refused:
        write_gguf(folder, folder / "m.gguf", form=form, on_event=quiet)
    assert {path.name for path in folder.iterdir()} == before, "nothing is left of a file that was not finished"
    return refused.value.sentence()


def changed(folder, change):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def test_a_missing_tensor_is_named(tmp_path):
    make_model(tmp_path)
    changed(tmp_path, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    assert "1 of the model's 21 tensors are missing ('model.layers.1.mlp.up_proj.weight')" in refusal(tmp_path)


def test_a_tensor_that_the_architecture_does_not_have_is_named(tmp_path):
    make_model(tmp_path)
    changed(tmp_path, lambda tensors: tensors.update({"model.layers.0.extra.weight": torch.zeros(4)}))
    assert "no part of the architecture as llama.cpp knows it ('model.layers.0.extra.weight')" in refusal(tmp_path)


def test_a_tensor_of_another_shape_is_named(tmp_path):
    make_model(tmp_path)
    changed(tmp_path, lambda tensors: tensors.update({"model.norm.weight": torch.zeros(255)}))
    assert "'model.norm.weight' is F32 of shape [255]; expected" in refusal(tmp_path)


def test_a_cut_file_is_named(tmp_path):
    make_model(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    text = refusal(tmp_path)
    assert "cannot be read" in text and "model.safetensors" in text


def test_a_number_that_f16_cannot_hold_is_refused_and_bf16_holds_it(tmp_path):
    make_model(tmp_path)
    changed(tmp_path, lambda tensors: tensors["lm_head.weight"][3].fill_(1e5))
    assert "'lm_head.weight' holds 1e+05, which overflows f16. Choose bf16" in refusal(tmp_path).replace("\n", " ")
    write_gguf(tmp_path, tmp_path / "m.gguf", form="bf16", on_event=quiet)
    changed(tmp_path, lambda tensors: tensors["lm_head.weight"][3].fill_(float("nan")))
    (tmp_path / "m.gguf").unlink()
    assert "not finite" in refusal(tmp_path, form="q4_k_m")


def test_an_unknown_architecture_is_refused_with_those_that_are_known(tmp_path):
    make_model(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "gpt_neox"}))
    text = refusal(tmp_path)
    assert "'gpt_neox'" in text and "llama, mistral, qwen2, qwen3" in text


@pytest.mark.parametrize(
    ("model_type", "changes", "found"),
    [
        ("llama", {"hidden_act": "gelu"}, "activation is 'gelu'"),
        ("qwen3", {"attention_bias": True}, "attention layers have a bias"),
        ("gemma2", {"query_pre_attn_scalar": 100}, "scaled by 100, not 64"),
        ("qwen2", {"rope_parameters": LLAMA3}, "'llama3' for 'qwen2'"),
        ("llama", {"rope_parameters": {**YARN, "beta_fast": 8}}, "'yarn' for 'llama'"),
    ],
)
def test_what_llama_cpp_computes_otherwise_is_refused(tmp_path, model_type, changes, found):
    make_model(tmp_path, model_type, **changes)
    assert found in refusal(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path):
    make_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert "holds no weights" in refusal(tmp_path)


def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path, folder):
    file = tmp_path / "m.gguf"
    file.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the system then answers as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        with pytest.raises(EngineError, match=r"could not be written .* GB of disk"):
            write_gguf(folder, file, form="f16", on_event=quiet)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]
    assert file.read_bytes() == b"old"
