"""Tokenizers written to GGUF: llama.cpp's ids against those of transformers."""

import json
import re

import gguf
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from duologue.engine import write_gguf
from duologue.errors import EngineError
from tests.engine.llama_cpp import opened
from tests.engine.tiny_models import (
    SENTENCES,
    TEMPLATE,
    byte_level_tokenizer,
    save,
    sentencepiece_tokenizer,
    tiny_config,
    tiny_model,
)

KINDS = ["gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "tekken", "gpt-4o", "spm-llama", "spm-gemma", "spm-phi3"]
USUAL = ["smollm", "llama-bpe", "qwen2", "spm-llama", "spm-gemma"]
PIECES = [
    *(" ", "  ", "\t", "\n", "\r\n", "\n\n", "    ", "\u00a0", "\u3000"),
    *("a", "The", "'ll", "'S", "n't", "it's", "7", "42", "1987", "12345678", "3.14", "½", "٣", "Ⅷ"),
    *("...", "!?", "--", "=>", "//", "_", "#", "\\", '"', "“", "—"),
    *("é", "ü", "ß", "Ж", "маяк", "灯", "台は", "한국", "ك", "हि", "🚀", "👩‍👩‍👧", "\u200d", "\ufeff"),
    *("<|im_start|>", "<|im_end|>", "</s>", "<s>", "<tool_call>", "<|im", "lighthouse", "harbour", "HARBOUR", "theThe"),
]
texts = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


def make_tokenizer(kind):
    return sentencepiece_tokenizer(kind[4:]) if kind.startswith("spm-") else byte_level_tokenizer(kind)


def write(folder, tokenizer, *, name="llama", **changes):
    config = tiny_config(name, vocab_size=len(tokenizer), num_hidden_layers=1, **changes)
    save(tiny_model(config), tokenizer, folder)
    warnings = []
    file = folder / "model.gguf"
    write_gguf(folder, file, form="f16", on_event=lambda event: warnings.append(event.values.get("text", "")))
    return file, [text for text in warnings if text]


@pytest.fixture(
    scope="module", params=[pytest.param(kind, marks=[] if kind in USUAL else pytest.mark.slow) for kind in KINDS]
)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def both(kind, tmp_path_factory):
    """A tokenizer as transformers reads it from the folder, and llama.cpp with the file made of it."""
    folder = tmp_path_factory.mktemp("model")
    file, _ = write(folder, make_tokenizer(kind))
    with opened(file) as llama_cpp:
        yield AutoTokenizer.from_pretrained(str(folder)), llama_cpp


def test_plain_sentences_get_the_same_ids(both):
    tokenizer, llama_cpp = both
    for text in SENTENCES:
        assert llama_cpp.encode(text) == tokenizer.encode(text, add_special_tokens=False), text


# Where llama.cpp itself is near but not exact, for these two alone (docs/explanation/export.md).
NOT_EXACT = {
    "gpt-4o": re.compile("[\u0900-\u097f\u200d\ufeff]"),  # it counts marks on letters as no part of a word
    "spm-phi3": re.compile("[>s][\u00a0\u3000\ufeff]"),  # behind a control token it strips the spaces of ASCII only
}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts)
def test_any_text_gets_the_same_ids_with_control_tokens_inside(both, kind, text):
    tokenizer, llama_cpp = both
    assume(kind not in NOT_EXACT or not NOT_EXACT[kind].search(text))
    if text:
        assert llama_cpp.encode(text) == tokenizer.encode(text, add_special_tokens=False)


def test_a_beginning_is_added_where_transformers_adds_it(both):
    tokenizer, llama_cpp = both
    assert llama_cpp.encode("The sea", add_special=True) == tokenizer.encode("The sea")


def test_a_prompt_of_the_files_own_template_begins_once(both):
    tokenizer, llama_cpp = both
    messages = [{"role": "user", "content": "Where is the harbour?"}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert ids.count(tokenizer.bos_token_id) == 1
    assert llama_cpp.count_prompt(messages) == len(ids)
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert llama_cpp.encode(prompt) == ids


def test_text_comes_back_from_its_ids(both):
    _, llama_cpp = both
    for text in ("The lighthouse, 1987: Привет 🚀", "one  two\n\nthree"):
        assert llama_cpp.decode(llama_cpp.encode(text)).strip() == text


def test_rows_without_a_token_are_filled_up(tmp_path):
    tokenizer = byte_level_tokenizer("llama-bpe")
    config = tiny_config("llama", vocab_size=len(tokenizer) + 40, num_hidden_layers=1)
    save(tiny_model(config), tokenizer, tmp_path)
    write_gguf(tmp_path, tmp_path / "m.gguf", form="f16", on_event=lambda _: None)
    with opened(tmp_path / "m.gguf") as llama_cpp:
        assert llama_cpp.encode("[PAD7] sea") == tokenizer.encode("[PAD7] sea", add_special_tokens=False)
        assert len(llama_cpp.logprobs([5, 6], num_tokens=config.vocab_size)) == config.vocab_size


def test_a_tokenizer_with_more_tokens_than_the_model_has_rows_is_refused(tmp_path):
    tokenizer = byte_level_tokenizer("llama-bpe")
    save(tiny_model(tiny_config("llama", vocab_size=300, num_hidden_layers=1)), tokenizer, tmp_path)
    with pytest.raises(EngineError, match=r"the model 300 rows"):
        write_gguf(tmp_path, tmp_path / "m.gguf", form="f16", on_event=lambda _: None)


def _refusal(tmp_path, tokenizer):
    save(tiny_model(tiny_config("llama", vocab_size=len(tokenizer), num_hidden_layers=1)), tokenizer, tmp_path)
    with pytest.raises(EngineError) as refused:
        write_gguf(tmp_path, tmp_path / "m.gguf", form="f16", on_event=lambda _: None)
    assert not list(tmp_path.glob("m.gguf*"))
    return str(refused.value)


def test_an_unknown_way_of_cutting_texts_is_refused_with_what_is_known(tmp_path):
    tokenizer = byte_level_tokenizer("gpt-2")
    document = json.loads(tokenizer.backend_tokenizer.to_str())
    split = {"type": "Split", "pattern": {"Regex": r"\p{L}+|\s+"}, "behavior": "Isolated", "invert": False}
    byte_level = {**document["pre_tokenizer"], "use_regex": False}
    document["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, byte_level]}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(document)), bos_token="<s>", eos_token="</s>"
    )
    text = _refusal(tmp_path, tokenizer)
    assert r"\p{L}+|\s+" in text
    assert "llama-bpe, dbrx, qwen2" in text


def test_a_tokenizer_that_is_no_bpe_is_refused(tmp_path):
    plain = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2, "sea": 3}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    assert "WordLevel" in _refusal(tmp_path, tokenizer)


def test_the_chat_template_is_written_as_it_is(tmp_path):
    file, _ = write(tmp_path, byte_level_tokenizer("llama-bpe"))
    reader = gguf.GGUFReader(file)
    assert reader.fields["tokenizer.chat_template"].contents() == TEMPLATE
    assert reader.fields["tokenizer.ggml.pre"].contents() == "llama-bpe"
    assert reader.fields["tokenizer.ggml.add_bos_token"].contents() is True


def test_where_ids_may_differ_is_said(tmp_path):
    _, warnings = write(tmp_path, byte_level_tokenizer("qwen2"))
    assert any("decomposed text differs" in text for text in warnings)
