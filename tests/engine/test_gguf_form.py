"""Replies held to a form, LoRAs on one loaded model, and what is refused before llama.cpp sees it."""

import json
import threading

import gguf
import numpy as np
import pytest

from duologue.engine import Adapter, BaseModel, Sampling
from duologue.engine.bundled import bundled_file
from duologue.engine.fake import FakeGenerator
from duologue.engine.gguf import GgufGenerator
from duologue.engine.gguf import generator as generator_file
from duologue.engine.gguf.header import Header, read_header
from duologue.engine.gguf.json_grammar import json_grammar
from duologue.engine.gguf.room import check_room, context_shape, fitting_slots
from duologue.engine.gguf.server import Loading, parameters
from duologue.errors import EngineError, FormError
from duologue.messages import Message

BASE = BaseModel("bundled:smollm2-135m")
GIB = 2**30


def write_lora(path, *, strength=0.1, family="llama", target="blk.{}.attn_output.weight", width=576, layers=30):
    """Write a LoRA of rank 4 as a GGUF file."""
    writer = gguf.GGUFWriter(path, family)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 4.0)
    drawn = np.random.default_rng(0)
    for layer in range(layers):
        name = target.format(layer)
        writer.add_tensor(f"{name}.lora_a", drawn.normal(0, 1, (4, width)).astype(np.float32))
        writer.add_tensor(f"{name}.lora_b", drawn.normal(0, strength, (width, 4)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """Two adapters of the bundled model."""
    made = []
    for name, strength in (("lila", 0.1), ("tom", 0.2)):
        folder = tmp_path_factory.mktemp(name)
        write_lora(folder / "lora.gguf", strength=strength)
        made.append(Adapter(folder, BASE))
    return made


@pytest.fixture(scope="module")
def generator(adapters):
    lila, tom = adapters
    opened = GgufGenerator.open(BASE, adapter=lila, others=[tom], context_tokens=256)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def bare(generator):
    return generator.wearing(None)


def _said(generator, **settings):
    prompt_ids = generator.tokenizer.render([Message("user", "Describe a baker in JSON.")], add_generation_prompt=True)
    sampling = Sampling(**{"max_new_tokens": 60, "temperature": 0.0, "repetition_penalty": 1.0, **settings})
    return "".join(piece.text for piece in generator.stream(prompt_ids, sampling, cancel=threading.Event()))


# -------------------------------------------------------------------------------------------------------------- grammar


def test_a_reply_follows_its_grammar(bare):
    assert _said(bare, grammar='root ::= "bread" | "cake"') in {"bread", "cake"}


def test_a_reply_follows_its_json_schema(bare):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 2, "maxLength": 8},
            "age": {"type": "integer"},
            "bakes": {"type": "array", "items": {"enum": ["bread", "cake"]}, "minItems": 1, "maxItems": 2},
            "home": {"$ref": "#/$defs/place"},
        },
        "required": ["name", "bakes", "home"],
        "$defs": {"place": {"anyOf": [{"const": "mill"}, {"type": "null"}]}},
    }
    said = json.loads(_said(bare, json_schema=json.dumps(schema)))
    assert 2 <= len(said["name"]) <= 8
    assert 1 <= len(said["bakes"]) <= 2 and set(said["bakes"]) <= {"bread", "cake"}
    assert said["home"] in ("mill", None)
    assert set(said) <= {"name", "age", "bakes", "home"}


def test_a_grammar_that_llama_cpp_cannot_read_is_an_engine_error_and_the_next_reply_is_made(bare):
    with pytest.raises(FormError, match="grammar"):
        _said(bare, grammar="root ::= nothing-of-this-name")
    assert _said(bare, max_new_tokens=3)


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ("{", "is no JSON"),
        ({"type": "word"}, r'json_schema.*type "word"'),
        ({"type": "object", "properties": {"at": {"type": "string", "pattern": "a+"}}}, r"json_schema\.at.*'pattern'"),
        ({"type": "object", "required": ["at"]}, "requires 'at'"),
        ({"$ref": "http://localhost/other"}, "not in it"),
        ({"$ref": "#/$defs/gone"}, "does not have"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "above 'maxItems'"),
        ({"type": "string", "maxLength": 10**9}, "lengths go from 0"),
        ("[" * 100_000, "characters"),
    ],
)
def test_a_schema_that_cannot_be_held_to_is_refused_by_name(schema, fault):
    with pytest.raises(FormError, match=fault):
        json_grammar(schema if isinstance(schema, str) else json.dumps(schema))


def test_grammar_and_schema_together_are_refused_and_other_engines_say_that_they_take_neither(bare):
    both = Sampling(grammar='root ::= "a"', json_schema="true")
    with pytest.raises(FormError, match="one of the two"):
        list(bare.stream((1, 2), both, cancel=threading.Event()))
    assert FakeGenerator().unsupported(both) == ("grammar", "json_schema")
    assert bare.unsupported(both) == ()


# ---------------------------------------------------------------------------------------------------------------- LoRAs


def test_one_loaded_model_speaks_as_the_base_and_as_each_adapter(generator, bare, adapters):
    lila, tom = adapters
    plain = {"max_new_tokens": 12}
    said = {"lila": _said(generator, **plain), "bare": _said(bare, **plain)}
    said["tom"] = _said(generator.wearing(tom), **plain)
    assert len(set(said.values())) == 3
    assert _said(generator.wearing(lila), **plain) == said["lila"]
    assert _said(generator.wearing(tom, strength=0.0), **plain) == said["bare"]


def test_closing_one_voice_leaves_the_model_loaded(generator):
    generator.wearing(None).close()
    assert _said(generator, max_new_tokens=2)


def test_an_adapter_that_was_not_loaded_is_refused(generator, tmp_path):
    with pytest.raises(EngineError, match="not loaded with the model"):
        generator.wearing(Adapter(tmp_path, BASE))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"family": "qwen2"}, "made for 'qwen2', the model is 'llama'"),
        ({"width": 640}, "attn_output.weight is 576 x 576 there and 640 x 640 here"),
        ({"layers": 31}, "no blk.30.attn_output.weight"),
        ({"layers": 0}, "empty"),
    ],
)
def test_a_lora_of_another_base_is_refused_with_the_reason(tmp_path, change, fault):
    write_lora(tmp_path / "lora.gguf", **change)
    with pytest.raises(EngineError, match=fault):
        GgufGenerator.open(BASE, adapter=Adapter(tmp_path, BASE), context_tokens=256)


# --------------------------------------------------------------------------------------------------------------- files


def _copy(target, **changes):
    """Copy the bundled model with some text fields changed by ones of the same length."""
    raw = bundled_file(BASE.name).read_bytes()
    for old, new in changes.values():
        assert len(old) == len(new) and old in raw
        raw = raw.replace(old, new, 1)
    target.write_bytes(raw)
    return BaseModel(str(target))


def test_a_family_that_llama_cpp_does_not_know_is_an_engine_error(tmp_path):
    model = _copy(tmp_path / "odd.gguf", family=(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lalma"))
    with pytest.raises(EngineError, match=r"cannot load this model.*'lalma'"):
        GgufGenerator.open(model, context_tokens=256)


def test_a_file_without_a_chat_template_is_refused(tmp_path):
    model = _copy(tmp_path / "bare.gguf", template=(b"tokenizer.chat_template", b"tokenizer.chat_tumplate"))
    with pytest.raises(EngineError, match="no chat template"):
        GgufGenerator.open(model, context_tokens=256)


def test_a_context_larger_than_the_memory_is_refused_before_it_is_asked_for():
    header = read_header(bundled_file(BASE.name))
    shape = context_shape(header)
    assert shape.cache_numbers == 30 * 2 * 3 * 64
    assert shape.slot_bytes(8192) == 8192 * 23040
    with pytest.raises(EngineError, match=r"4 replies .* 8192 tokens needs 0\.8 GiB .*0\.5 GiB .*about \d+ tokens fit"):
        check_room(shape, context_tokens=8192, num_slots=4, free_bytes=GIB // 2)
    check_room(shape, context_tokens=8192, num_slots=1, free_bytes=GIB // 2)
    with pytest.raises(EngineError, match="at the same time"):
        GgufGenerator.open(BASE, num_slots=100_000)


def test_as_many_slots_are_taken_as_an_eighth_of_the_free_memory_holds():
    shape = context_shape(read_header(bundled_file(BASE.name)))
    slots = [fitting_slots(shape, context_tokens=8192, free_bytes=round(gib * GIB)) for gib in (0.1, 3, 4.5, 64)]
    assert slots == [1, 2, 3, 4]
    assert fitting_slots(shape, context_tokens=8192, free_bytes=3 * GIB, cache_type="q8_0") == 4


def test_a_model_with_windows_and_one_with_short_rows_are_not_counted_at_full_length():
    fields = {
        "general.architecture": "gemma3",
        "gemma3.block_count": 6,
        "gemma3.embedding_length": 640,
        "gemma3.attention.head_count": 4,
        "gemma3.attention.head_count_kv": 1,
        "gemma3.attention.key_length": 256,
        "gemma3.attention.value_length": 256,
        "gemma3.attention.sliding_window": 512,
    }
    shape = context_shape(Header(fields, {}))
    assert shape.slot_bytes(8192) == 2 * 512 * (1 * 8192 + 5 * 512)
    deepseek = {"general.architecture": "d", "d.block_count": 2, "d.attention.kv_lora_rank": 512}
    assert context_shape(Header(deepseek, {})).cache_numbers == 1024


# ------------------------------------------------------------------------------------------------------------------ GPU


def test_layers_go_to_a_gpu_as_many_as_fit_and_the_context_is_kept_whole():
    model = bundled_file(BASE.name)
    on_gpu = parameters(Loading(model, context_tokens=300, num_slots=2, uses_gpu=True, cache_type="q8_0"), key="k")
    assert on_gpu.n_gpu_layers == -1 and on_gpu.fit_params
    assert (on_gpu.n_ctx, on_gpu.n_parallel, on_gpu.kv_unified, on_gpu.ctx_shift) == (1024, 2, False, False)
    assert on_gpu.cache_type_k == on_gpu.cache_type_v
    assert parameters(Loading(model), key="k").n_gpu_layers == 0


def test_without_a_working_gpu_the_model_runs_on_the_cpu_and_says_so(monkeypatch):
    class Broken(generator_file.LlamaServer):
        def __init__(self, loading):
            if loading.uses_gpu:
                raise EngineError("out of memory")
            super().__init__(loading)

    monkeypatch.setattr(generator_file, "seen_gpus", lambda: (("Small card", GIB),))
    monkeypatch.setattr(generator_file, "LlamaServer", Broken)
    opened = GgufGenerator.open(BASE, context_tokens=256)
    assert opened.notes == ("llama.cpp could not load the model on Small card; it runs on the CPU, which is slower.",)
    opened.close()


def test_keys_and_values_in_eight_bits_talk_as_well():
    opened = GgufGenerator.open(BASE, context_tokens=256, cache_type="q8_0")
    assert _said(opened, max_new_tokens=3)
    opened.close()
