"""Generation with a tiny random model: the cache between requests, cancelling, and text out of tokens."""

import threading
from dataclasses import replace

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from duologue.engine import BaseModel, Sampling, open_generator
from duologue.engine.hf import generate
from duologue.engine.hf.generate import _ReplyText
from duologue.engine.hf.tokenizer import HfTokenizer

GREEDY = Sampling(max_new_tokens=4, temperature=0.0, repetition_penalty=1.0)
PROMPT = tuple(range(1000, 1050))


@pytest.fixture
def generator(tiny_model):
    opened = open_generator("hf", BaseModel(tiny_model))
    yield opened
    opened.close()


def reply(generator, ids, sampling=GREEDY, *, cancel=None):
    pieces = list(generator.stream(ids, sampling, cancel=cancel or threading.Event()))
    return "".join(piece.text for piece in pieces), pieces[-1]


class CancelAfter(threading.Event):
    """Is set once it has been asked a number of times."""

    def __init__(self, num_times):
        super().__init__()
        self._left = num_times

    def is_set(self):
        self._left -= 1
        return self._left < 0


def test_a_prompt_read_in_parts_gives_the_same_reply(generator, monkeypatch):
    whole = reply(generator, PROMPT)
    for part in (1, 7, 49, 50):
        monkeypatch.setattr(generate, "_PROMPT_TOKENS", part)
        generator.forget_cache()
        assert reply(generator, PROMPT)[0] == whole[0]


@pytest.mark.parametrize("num_parts", [0, 1, 2])
def test_a_prompt_is_cancelled_between_two_parts_and_what_was_read_is_kept(generator, monkeypatch, num_parts):
    monkeypatch.setattr(generate, "_PROMPT_TOKENS", 20)
    text, last = reply(generator, PROMPT, cancel=CancelAfter(num_parts))
    assert (text, last.num_tokens, last.finish_reason) == ("", 0, "cancelled")
    text, last = reply(generator, PROMPT)
    assert last.num_cached_tokens == 20 * num_parts
    generator.forget_cache()
    assert reply(generator, PROMPT)[0] == text


@pytest.mark.parametrize("num_tokens", [1, 2, 3])
def test_a_reply_is_cancelled_within_one_token(generator, num_tokens):
    text, last = reply(generator, PROMPT, replace(GREEDY, max_new_tokens=50), cancel=CancelAfter(num_tokens))
    assert (last.num_tokens, last.finish_reason) == (num_tokens, "cancelled")
    assert reply(generator, PROMPT, replace(GREEDY, max_new_tokens=num_tokens))[0] == text


def test_the_cache_holds_what_two_prompts_begin_with_and_the_reply(generator):
    _text, last = reply(generator, PROMPT)
    assert last.num_cached_tokens == 0
    assert reply(generator, PROMPT)[1].num_cached_tokens == len(PROMPT) - 1
    assert reply(generator, (*PROMPT[:30], 7, 8, 9))[1].num_cached_tokens == 30
    longer = (*PROMPT, *generator.tokenizer.encode("and more"))
    generator.forget_cache()
    fresh = reply(generator, longer)
    reply(generator, PROMPT)
    again = reply(generator, longer)
    assert again[0] == fresh[0]
    assert again[1].num_cached_tokens >= len(PROMPT)


def test_a_cache_that_cannot_be_cut_is_thrown_away(generator, monkeypatch):
    fresh = reply(generator, PROMPT[:40])
    reply(generator, PROMPT)
    monkeypatch.setattr(type(generator), "_crop", lambda self, num_tokens: False)
    text, last = reply(generator, PROMPT[:40])
    assert (text, last.num_cached_tokens) == (fresh[0], 0)


def test_a_cache_left_half_written_is_thrown_away(generator, monkeypatch):
    fresh = reply(generator, PROMPT)
    reply(generator, PROMPT[:25])
    layer = generator._seat._model.model.layers[1]
    with monkeypatch.context() as patch:
        patch.setattr(layer, "forward", lambda *args, **kwargs: 1 / 0)  # the first layer has written its keys by then
        with pytest.raises(ZeroDivisionError):
            reply(generator, PROMPT)
    text, last = reply(generator, PROMPT)
    assert (text, last.num_cached_tokens) == (fresh[0], 0)


def metaspace(*words):
    """A tokenizer as SentencePiece's: the space belongs to the word behind it and is dropped before the first one."""
    vocabulary = {word: token for token, word in enumerate(["<unk>", "</s>", *words])}
    library = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    library.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    library.decoder = decoders.Metaspace(prepend_scheme="always")
    fast = PreTrainedTokenizerFast(tokenizer_object=library, unk_token="<unk>", eos_token="</s>", chat_template="x")
    return HfTokenizer(fast, name="made")


def test_the_space_of_the_first_word_is_kept_where_a_reply_is_gone_on_with():
    tokenizer = metaspace("She", "▁went", "▁home")
    assert tokenizer.decode([3, 4]) == "went home"
    text = _ReplyText(tokenizer, [2, 3])
    assert [text.add(4), text.rest(), text.num_tokens] == [" home", "", 1]


def test_bytes_that_never_become_a_character_are_shown_when_something_follows(generator):
    half, word = generator.tokenizer.encode("🐙")[0], generator.tokenizer.encode(" home")[0]
    text = _ReplyText(generator.tokenizer, PROMPT)
    assert [text.add(half), text.add(word)] == ["", "\ufffd home"]
    text = _ReplyText(generator.tokenizer, PROMPT)
    assert [text.add(word), text.add(half), text.rest()] == [" home", "", ""]
