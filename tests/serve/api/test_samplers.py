"""A request's samplers, under every name that clients send, as the engines take them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.engine import Sampling
from duologue.engine.fake import FakeTokenizer
from duologue.serve.api.requests import ChatRequest, CompletionRequest, parse_request
from duologue.serve.api.samplers import missing_settings
from duologue.serve.refusal import ApiError
from tests.serve.api.clients import SILLYTAVERN_CHAT, SILLYTAVERN_TEXT

DEFAULT = Sampling(max_new_tokens=64, temperature=0.7, stop=("END",), logit_bias=((5, 1.0),))


def sampling_of(**fields: object) -> Sampling:
    body = json.dumps({"model": "m", "prompt": "x", **fields}).encode()
    request, _ = parse_request(CompletionRequest, body)
    return request.sampling(DEFAULT, FakeTokenizer)


def test_a_request_that_says_nothing_draws_as_the_character_does():
    assert sampling_of() == DEFAULT


@pytest.mark.parametrize(
    ("field", "value", "name", "wanted"),
    [
        ("temperature", 0, "temperature", 0),
        ("top_p", 0.5, "top_p", 0.5),
        ("top_p", 0, "top_p", 1e-6),
        ("top_k", 40, "top_k", 40),
        ("top_k", -1, "top_k", 0),
        ("min_p", 0.2, "min_p", 0.2),
        ("typical", 0.9, "typical_p", 0.9),
        ("typical_p", 0.9, "typical_p", 0.9),
        ("repetition_penalty", 1.2, "repetition_penalty", 1.2),
        ("rep_pen", 1.2, "repetition_penalty", 1.2),
        ("repeat_penalty", 1.2, "repetition_penalty", 1.2),
        ("presence_penalty", -1, "presence_penalty", -1),
        ("freq_pen", 0.3, "frequency_penalty", 0.3),
        ("dry_multiplier", 0.8, "dry_multiplier", 0.8),
        ("dry_base", 2, "dry_base", 2),
        ("dry_allowed_length", 3, "dry_allowed_length_tokens", 3),
        ("dry_penalty_last_n", 512, "dry_window_tokens", 512),
        ("dry_range", 512, "dry_window_tokens", 512),
        ("dry_range", 0, "dry_window_tokens", -1),
        ("dry_sequence_breakers", ["a", ""], "dry_sequence_breakers", ("a",)),
        ("dry_sequence_breakers", '["\\n", "\\""]', "dry_sequence_breakers", ("\n", '"')),
        ("dry_sequence_breakers", '"\\n", ":"', "dry_sequence_breakers", ("\n", ":")),
        ("xtc_probability", 0.5, "xtc_probability", 0.5),
        ("xtc_threshold", 0.2, "xtc_threshold", 0.2),
        ("mirostat", 2, "mirostat", 2),
        ("mirostat_mode", 1, "mirostat", 1),
        ("mirostat_tau", 4, "mirostat_tau", 4),
        ("mirostat_eta", 0.2, "mirostat_eta", 0.2),
        ("seed", 7, "seed", 7),
        ("sampler_seed", 7, "seed", 7),
        ("stop", "X", "stop", ("X",)),
        ("stop", ["", "X"], "stop", ("X",)),
        ("stop", [], "stop", ("END",)),
        ("stopping_strings", ["X"], "stop", ("X",)),
        ("max_tokens", 9, "max_new_tokens", 9),
        ("max_tokens", -1, "max_new_tokens", 64),
        ("max_completion_tokens", -1, "max_new_tokens", 64),
        ("max_new_tokens", 9, "max_new_tokens", 9),
        ("max_completion_tokens", 9, "max_new_tokens", 9),
        ("n_predict", 9, "max_new_tokens", 9),
        ("n_predict", -1, "max_new_tokens", 2**20),
        ("logit_bias", {"7": -100, "11": 3}, "logit_bias", ((7, -100), (11, 3))),
        ("logit_bias", [[7, False], ["11", 3.5]], "logit_bias", ((7, -100), (11, 3.5))),
        ("logit_bias", {}, "logit_bias", ()),
    ],
)
def test_a_field_sets_its_sampler_and_no_other(field, value, name, wanted):
    sampling = sampling_of(**{field: value})

    assert getattr(sampling, name) == wanted
    changed = {each for each in Sampling.__dataclass_fields__ if getattr(sampling, each) != getattr(DEFAULT, each)}
    assert changed <= {name}


def test_a_bias_on_a_text_is_one_on_its_tokens():
    (token,) = FakeTokenizer().encode(" tea")

    assert sampling_of(logit_bias={" tea": -5}).logit_bias == ((token, -5),)


def test_everything_sillytavern_sends_is_understood_and_nothing_is_missing():
    for kind, document in ((ChatRequest, SILLYTAVERN_CHAT), (CompletionRequest, SILLYTAVERN_TEXT)):
        request, seen = parse_request(kind, json.dumps(document).encode())
        sampling = request.sampling(DEFAULT, FakeTokenizer)

        assert sampling.dry_multiplier == 0.8
        assert missing_settings(seen) == ("adaptive_target",) or missing_settings(seen) == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("top_n_sigma", 1.5),
        ("dynatemp_range", 0.5),
        ("smoothing_factor", 0.3),
        ("tfs", 0.9),
        ("min_tokens", 5),
        ("logprobs", True),
        ("banned_strings", ["tea"]),
    ],
)
def test_a_sampler_that_is_not_there_is_named(field, value):
    assert missing_settings({field: value, "temperature": 1}) == (field,)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dry_sequence_breakers", "[1]"),
        ("dry_sequence_breakers", "not json ["),
        ("dry_sequence_breakers", {"a": 1}),
        ("logit_bias", {"7": 101}),
        ("logit_bias", [[7]]),
        ("logit_bias", [[True, 1]]),
        ("logit_bias", {"7": "much"}),
        ("mirostat", 3),
        ("stop", ["x"] * 65),
        ("max_tokens", 0),
        ("max_tokens", -2),
        ("max_tokens", True),
        ("max_tokens", -1.5),
        ("logit_bias", {"9" * 5000: 1}),
        ("logit_bias", [["9" * 5000, 1]]),
        ("logit_bias", [[-1, 1]]),
        ("logit_bias", [[2**63, 1]]),
        ("max_tokens", 2**40),
        ("seed", 2**63),
        ("n", 2),
        ("top_p", 1.5),
    ],
)
def test_a_value_that_no_sampler_takes_is_refused_by_name(field, value):
    with pytest.raises(ApiError) as caught:
        sampling_of(**{field: value})

    assert caught.value.status == 400
    assert caught.value.param.split(".")[0] in (field, "mirostat_mode")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(field=st.sampled_from(sorted({*ChatRequest.model_fields, *SILLYTAVERN_TEXT})), value=JSON)
def test_any_value_in_any_field_is_taken_or_refused(field, value):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], field: value}).encode()
    try:
        request, document = parse_request(ChatRequest, body)
    except ApiError as error:
        refusal = error
    else:
        refusal = None
        missing_settings(document)
        request.sampling(DEFAULT, FakeTokenizer)

    assert refusal is None or (refusal.status, bool(refusal.message.encode())) == (400, True)
