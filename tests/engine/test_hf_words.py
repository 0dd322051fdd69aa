"""Encoding by words gives the ids of encoding the whole, for every kind of vocabulary and any text."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from duologue.engine import BaseModel
from duologue.engine.hf.load import load_tokenizer
from duologue.engine.hf.words import WordEncoder
from tests.data.chat_models import gpt2_bytes, legacy_sentencepiece, sentencepiece, tiktoken_bytes


def with_controls(library):
    library.add_tokens(
        [
            AddedToken("<a>", special=True, normalized=False),
            AddedToken("<r>", special=True, normalized=False, rstrip=True),
            AddedToken("<l>", special=True, normalized=False, lstrip=True),
            AddedToken("<two words>", special=True, normalized=False),
            AddedToken("\n\n", special=False, normalized=False),
        ]
    )
    return library


VOCABULARIES = {
    kind.__name__: with_controls(kind()) for kind in (gpt2_bytes, tiktoken_bytes, sentencepiece, legacy_sentencepiece)
}
ENCODERS = {name: WordEncoder(library) for name, library in VOCABULARIES.items()}
TRICKY = [
    *" \n\t\r.,'!aZ1é日🚂\u00a0\u3000\u200b\u0301\u2028\x1f\x00",
    *("<a>", "<r>", "<l>", "<two words>", "  ", " \n", "\n ", "\n\n", "'s", "12", "...", " the", "The"),
]


def whole(name, texts):
    return [encoding.ids for encoding in VOCABULARIES[name].encode_batch(texts, add_special_tokens=False)]


@pytest.mark.parametrize("name", VOCABULARIES)
def test_every_kind_of_vocabulary_is_encoded_by_words(name):
    assert ENCODERS[name]._is_by_words


@pytest.mark.parametrize("name", VOCABULARIES)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(st.lists(st.sampled_from(TRICKY) | st.characters(codec="utf-8")).map("".join), max_size=6))
def test_any_text_has_the_ids_of_the_whole(name, texts):
    assert ENCODERS[name].encode_batch(texts) == whole(name, texts)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_a_space_after_a_control_token_is_left_to_the_library(name):
    texts = [
        f"{control}{gap}word and more"
        for control in ("<a>", "<r>", "<l>", "<two words>")
        for gap in ("", " ", "  ", "\n", " \n", "\n ")
    ]
    texts += [f"x {text}" for text in texts] + [f"x{text} <a> y" for text in texts]
    assert ENCODERS[name].encode_batch(texts) == whole(name, texts)


def test_a_vocabulary_whose_tokens_reach_over_spaces_is_encoded_whole():
    library = Tokenizer(models.BPE(vocab={"a": 0, "▁": 1, "b": 2, "a▁": 3, "a▁b": 4}, merges=[("a", "▁"), ("a▁", "b")]))
    library.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    encoder = WordEncoder(library)
    assert not encoder._is_by_words
    assert encoder.encode_batch(["a b"]) == [[4]]


def test_the_bundled_vocabulary_gives_the_same_ids_on_real_and_on_naughty_texts(shared_data):
    tokenizer = load_tokenizer(BaseModel("bundled:smollm2-135m"))
    library = tokenizer._tokenizer.backend_tokenizer
    rows = json.loads((shared_data / "roleplay_alpaca.json").read_text(encoding="utf-8"))[:500]
    texts = [text for row in rows for text in row.values() if isinstance(text, str)]
    texts += json.loads((shared_data / "blns.json").read_text(encoding="utf-8"))
    texts += [f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n" for text in texts]
    expected = [encoding.ids for encoding in library.encode_batch(texts, add_special_tokens=False)]
    assert tokenizer.encode_batch(texts) == expected
    assert tokenizer.encode_batch(texts[::-1]) == expected[::-1], "and again, from what it has learnt"
