"""A setting means the same on every engine: llama.cpp's own arithmetic against ours, and replies side by side."""

import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
import xllamacpp

from duologue.engine import BaseModel, Sampling, open_generator
from duologue.engine.bundled import bundled_file
from duologue.engine.gguf import GgufGenerator
from duologue.engine.gguf.request import completion_request
from duologue.engine.hf.breakers import find_breakers
from duologue.engine.hf.draw import Draw
from duologue.engine.remote import RemoteGenerator
from duologue.errors import DataError
from duologue.messages import Message

pytestmark = pytest.mark.slow
BASE = BaseModel("bundled:smollm2-135m")
QUESTION = (Message("system", "You are a helpful AI assistant."), Message("user", "What is the capital of France?"))
GREEDY = Sampling(max_new_tokens=24, temperature=0.0, top_p=1.0, min_p=0.0, repetition_penalty=1.0)
PLAIN = replace(GREEDY, max_new_tokens=1, temperature=1.0, seed=1)
REFRAIN = (
    'The red boat sails at dawn. "Row on," he said: the red boat sails at dusk. Ask me tomorrow: The red boat sails'
)


@pytest.fixture(scope="module")
def gguf():
    opened = GgufGenerator.open(BASE, context_tokens=512)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def hf():
    opened = open_generator("hf", BASE)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def remote():
    """The remote engine against llama.cpp's own server."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(bundled_file(BASE.name))
    parameters.model_alias = {"smollm2"}
    parameters.n_ctx = 512
    parameters.n_parallel = 1
    parameters.verbosity = -1
    parameters.cpuparams.n_threads = 1
    server = xllamacpp.Server(parameters)
    yield RemoteGenerator.open(BaseModel(f"{server.listening_address}/v1#smollm2"))
    del server


@pytest.fixture(scope="module", params=["gguf", "hf", "remote"])
def generator(request):
    return request.getfixturevalue(request.param)


def pieces_of(generator, ids, sampling):
    return list(generator.stream(ids, sampling, cancel=threading.Event()))


def text_of(pieces):
    return "".join(piece.text for piece in pieces)


def told(gguf, ids, sampling, *, after):
    """What llama.cpp says of the next token: the model's own log-probabilities, or the probabilities it draws from."""
    request = {
        **completion_request(ids, sampling),
        "n_probs": 49_152,
        "post_sampling_probs": after,
        "cache_prompt": False,
    }
    step = gguf._server.complete(request)["choices"][0]["logprobs"]["content"][0]
    rows = step["top_probs" if after else "top_logprobs"]
    return {row["id"]: row["prob" if after else "logprob"] for row in rows}


# -------------------------------------------------------------------------------------------------- one step, exactly


@pytest.fixture(scope="module")
def refrain_ids(gguf):
    return gguf.tokenizer.encode(REFRAIN)


@pytest.fixture(scope="module")
def logprobs(gguf, refrain_ids):
    found = told(gguf, refrain_ids, PLAIN, after=False)
    return torch.tensor([found[token] for token in range(len(found))], dtype=torch.float64)


@pytest.fixture(scope="module")
def breakers(hf):
    return find_breakers(PLAIN.dry_sequence_breakers, hf.tokenizer.token_texts(), hf.tokenizer.encode)


def ours(logits, ids, sampling, breakers):
    return Draw(sampling, ids, breakers=breakers, device=torch.device("cpu")).cut(logits.float())


CASES = {
    "temperature": {"temperature": 0.6},
    "top-k": {"top_k": 5},
    "top-p": {"top_p": 0.8},
    "min-p": {"min_p": 0.02},
    "typical": {"typical_p": 0.6},
    "presence": {"presence_penalty": 1.5},
    "frequency": {"frequency_penalty": 0.7},
    "DRY": {"dry_multiplier": 1.5},
    "DRY, all settings": {"dry_multiplier": 0.4, "dry_base": 2.5, "dry_allowed_length_tokens": 1},
    "DRY, window": {"dry_multiplier": 1.5, "dry_allowed_length_tokens": 1, "dry_window_tokens": 12},
    "DRY, no breakers": {"dry_multiplier": 1.5, "dry_sequence_breakers": ()},
    "DRY, one breaker": {"dry_multiplier": 1.5, "dry_sequence_breakers": ("boat sa",)},
    "XTC": {"xtc_probability": 1.0, "xtc_threshold": 0.05},
    "XTC, no choice": {"xtc_probability": 1.0, "xtc_threshold": 0.45},
    "mirostat 1": {"mirostat": 1, "mirostat_tau": 3.0},
    "mirostat 2": {"mirostat": 2, "mirostat_tau": 2.0},
    "bias": {"logit_bias": ((28, -100.0), (338, 3.5))},
    "cuts together": {"top_k": 200, "typical_p": 0.9, "top_p": 0.9, "min_p": 0.01, "temperature": 1.4},
    "all together": {
        "presence_penalty": 0.5,
        "frequency_penalty": 0.2,
        "dry_multiplier": 0.8,
        "top_k": 100,
        "min_p": 0.01,
        "xtc_probability": 1.0,
        "temperature": 0.8,
    },
}


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_each_setting_leaves_the_probabilities_that_llama_cpp_leaves(gguf, refrain_ids, logprobs, hf, changes):
    sampling = replace(PLAIN, **changes)
    breakers = find_breakers(sampling.dry_sequence_breakers, hf.tokenizer.token_texts(), hf.tokenizer.encode)
    left = ours(logprobs, refrain_ids, sampling, breakers)
    theirs = told(gguf, refrain_ids, sampling, after=True)
    expected = torch.zeros(len(logprobs))
    expected[list(theirs)] = torch.tensor(list(theirs.values()))
    probs = left.softmax(0)
    assert set(theirs) == set((probs > 0).nonzero().flatten().tolist())
    assert (probs - expected).abs().max() < 1e-4
    untouched = logprobs.float().softmax(0)
    if changes != CASES["XTC, no choice"]:
        assert (probs - untouched).abs().max() > 1e-3  # the setting did something


def test_the_repetition_penalty_is_llama_cpps(gguf, refrain_ids, logprobs, breakers):
    sampling = replace(PLAIN, repetition_penalty=1.4)
    theirs = told(gguf, refrain_ids, sampling, after=True)
    said = sorted(set(refrain_ids), key=lambda token: -logprobs[token])[0]
    unsaid = int(max(set(range(1000)) - set(refrain_ids), key=lambda token: logprobs[token]))
    # Log-probabilities are logits less a constant, and this penalty is the one that needs it. One token tells it.
    ratio = math.log(theirs[said] / theirs[unsaid])
    constant = float((ratio + logprobs[unsaid] - logprobs[said] / 1.4) / (1 / 1.4 - 1))
    probs = ours(logprobs + constant, refrain_ids, sampling, breakers).softmax(0)
    assert float(logprobs[said]) + constant > 0
    assert max(abs(float(probs[token]) - prob) for token, prob in theirs.items()) < 1e-4
    assert abs(float(probs[said] - logprobs.exp()[said])) > 1e-2


def test_with_mirostat_llama_cpp_leaves_penalties_out_and_says_so(gguf, hf, remote, refrain_ids):
    penalties = {"repetition_penalty": 1.5, "presence_penalty": 2.0, "frequency_penalty": 1.0, "dry_multiplier": 3.0}
    steady = replace(PLAIN, mirostat=2, mirostat_tau=2.0)
    assert told(gguf, refrain_ids, replace(steady, **penalties), after=True) == told(
        gguf, refrain_ids, steady, after=True
    )
    assert gguf.unsupported(replace(steady, **penalties)) == remote.unsupported(replace(steady, **penalties))
    assert set(gguf.unsupported(replace(steady, **penalties))) == set(penalties)
    assert gguf.unsupported(steady) == gguf.unsupported(replace(PLAIN, **penalties)) == ()
    assert hf.unsupported(replace(steady, **penalties)) == ()


# ------------------------------------------------------------------------------------------------------ whole replies


def test_a_greedy_reply_of_one_engine_is_the_best_or_nearly_the_best_for_the_other(gguf, hf, refrain_ids, breakers):
    free = text_of(pieces_of(gguf, refrain_ids, GREEDY))
    assert text_of(pieces_of(hf, refrain_ids, GREEDY)) == free
    sampling = replace(GREEDY, dry_multiplier=2.0, presence_penalty=0.3, repetition_penalty=1.1)
    kept = text_of(pieces_of(gguf, refrain_ids, sampling))
    ids = hf.tokenizer.encode(REFRAIN + kept)
    assert kept != free
    assert ids[: len(refrain_ids)] == refrain_ids
    one = Draw(replace(sampling, temperature=1.0), refrain_ids, breakers=breakers, device=torch.device("cpu"))
    for place in range(len(refrain_ids), len(ids)):
        hf._reuse(ids[:place])
        left = one.cut(hf._logits(ids[:place], threading.Event()))
        # llama.cpp multiplies with activations of 8 bits, so its logits are a little off
        assert float(left.max() - left[ids[place]]) < 0.6
        one._remember(ids[place])


@pytest.mark.parametrize("length", [1, 6])
def test_a_stop_text_anywhere_in_a_reply_ends_it_there_and_nothing_of_it_is_shown(generator, length):
    ids = generator.tokenizer.render(QUESTION, add_generation_prompt=True)
    whole = text_of(pieces_of(generator, ids, GREEDY))
    assert len(whole) > 20
    for at in range(0, len(whole) - length, 9):
        stop = whole[at : at + length]
        pieces = pieces_of(generator, ids, replace(GREEDY, stop=("never said", stop)))
        assert text_of(pieces) == whole[: whole.index(stop)], stop
        assert pieces[-1].finish_reason == "stop"


OCTOPUS = "🐙🎈 and 🐙🎈 and 🐙🎈 and 🐙🎈 and 🐙🎈 and"


@pytest.mark.parametrize("generator", ["gguf", "hf"], indirect=True)
def test_a_character_of_several_tokens_is_shown_whole_or_not_at_all(generator):
    ids = generator.tokenizer.encode(OCTOPUS)
    whole = pieces_of(generator, ids, replace(GREEDY, max_new_tokens=9))
    text = text_of(whole)
    assert whole[0].num_tokens > 1
    assert text.startswith(" 🐙")
    assert "\ufffd" not in text
    for stop in (text[2], text[1:3]):
        stopped = pieces_of(generator, ids, replace(GREEDY, max_new_tokens=9, stop=(stop,)))
        assert text_of(stopped) == text.partition(stop)[0]
        assert stopped[-1].finish_reason == "stop"
    for limit in range(2, 6):
        cut = pieces_of(generator, ids, replace(GREEDY, max_new_tokens=limit))
        assert text.startswith(text_of(cut))
        assert (cut[-1].finish_reason, cut[-1].num_tokens) == ("length", limit)


# ------------------------------------------------------------------------------------------------------- going on


def test_an_open_reply_is_gone_on_with_as_if_it_had_never_stopped(generator):
    whole = text_of(pieces_of(generator, generator.tokenizer.render(QUESTION, add_generation_prompt=True), GREEDY))
    words = whole.split(" ")
    for num_words in (1, len(words) // 2):
        begun = " ".join(words[:num_words])
        ids = generator.tokenizer.render(
            (*QUESTION, Message("assistant", begun)), add_generation_prompt=True, continues=True
        )
        assert begun + text_of(pieces_of(generator, ids, GREEDY)) == whole


@pytest.mark.parametrize("begun", ["Well", "Well, the answer ", "é✨\n\n- one\n-"])
def test_an_open_reply_is_the_prompt_it_was_asked_with_and_its_text(gguf, hf, begun):
    for one in (gguf, hf):
        asked = one.tokenizer.render(QUESTION, add_generation_prompt=True)
        ids = one.tokenizer.render(
            (*QUESTION, Message("assistant", begun)), add_generation_prompt=False, continues=True
        )
        assert ids[: len(asked)] == asked
        assert one.tokenizer.decode(ids[len(asked) :]) == begun
        assert not set(ids[len(asked) :]) & one.tokenizer.stop_token_ids


@pytest.mark.parametrize("begun", ["  and then", "", "a <|im_end|> b"])
def test_the_text_of_an_open_reply_is_exact_where_tokens_are_not_its_own(gguf, hf, begun):
    for one in (gguf, hf):
        ids = one.tokenizer.render(
            (*QUESTION, Message("assistant", begun)), add_generation_prompt=False, continues=True
        )
        asked = one.tokenizer.render(QUESTION, add_generation_prompt=True)
        safe = begun.replace("<|im_end|>", "<\u2060|im_end|>")
        assert one.tokenizer.decode(ids) == one.tokenizer.decode(asked) + safe


def test_only_a_reply_can_be_gone_on_with(generator):
    for messages in ((), QUESTION):
        with pytest.raises(DataError, match="no reply can be gone on with"):
            generator.tokenizer.render(messages, add_generation_prompt=True, continues=True)


# --------------------------------------------------------------------------------------------------------- the cache


def test_the_state_of_an_earlier_prompt_is_kept_and_counted(generator, request):
    name = request.node.callspec.params["generator"]
    first = (*QUESTION[:1], Message("user", "Tell me about lighthouses and the people who kept them."))
    asked = generator.tokenizer.render(first, add_generation_prompt=True)
    reply = text_of(pieces_of(generator, asked, replace(GREEDY, max_new_tokens=8)))
    later = (*first, Message("assistant", reply), Message("user", "And who keeps them now?"))
    again = generator.tokenizer.render(later, add_generation_prompt=True)
    last = pieces_of(generator, again, replace(GREEDY, max_new_tokens=1))[-1]
    if name == "remote":  # it counts the server's tokens, not the estimated ones
        assert 30 < last.num_cached_tokens < 100
    else:
        assert len(asked) - 1 <= last.num_cached_tokens < len(again)
        assert pieces_of(generator, again, replace(GREEDY, max_new_tokens=1))[-1].num_cached_tokens == len(again) - 1


def test_another_beginning_finds_nothing_in_the_cache(gguf, hf):
    for one in (gguf, hf):
        pieces_of(one, one.tokenizer.encode("One beginning of a text"), replace(GREEDY, max_new_tokens=1))
        other = one.tokenizer.encode("Quite a different beginning")
        assert pieces_of(one, other, replace(GREEDY, max_new_tokens=1))[-1].num_cached_tokens == 0


def test_the_kept_state_changes_no_logit(hf):
    long = np.random.default_rng(0).integers(1000, 40_000, 530).tolist()
    never = threading.Event()

    def logits_of(ids):
        hf._reuse(ids)
        return hf._logits(ids, never)

    hf.forget_cache()
    fresh = logits_of(long)
    logits_of(long[:300] + [7] * 50)
    assert hf._reuse(long) == 300
    assert (logits_of(long) - fresh).abs().max() < 1e-3
