"""`POST /completion`, as the clients of llama.cpp's server send it and read it."""

import json

import httpx
import pytest

from duologue.serve.api.answers import LlamaCompletion
from tests.serve.api.serving import post

PROMPT = "Once upon a time there was"
# What a text completion backend for llama.cpp sends with every request.
BODY = {
    "prompt": PROMPT,
    "n_predict": 40,
    "cache_prompt": True,
    "temperature": 0.7,
    "top_k": 40,
    "repeat_penalty": 1.1,
    "mirostat": 0,
    "seed": 5,
    "stop": ["\nNell:"],
    "samplers": ["top_k", "temperature"],
}


def frames(text: str) -> list[dict[str, object]]:
    *events, rest = text.split("\n\n")
    assert rest == ""
    return [json.loads(event.removeprefix("data: ")) for event in events if not event.startswith(":")]


def test_a_prompt_without_a_model_is_gone_on_with_by_the_first_and_nothing_is_added_to_it(server, sent):
    answer = httpx.post(f"{server.url}/completion", json=BODY, timeout=20)
    assert answer.status_code == 200, answer.text
    body = LlamaCompletion.model_validate(answer.json(), strict=True)
    assert sent.prompts == [PROMPT]
    assert sent.samplings[0].max_new_tokens == 40
    assert body.content.strip().startswith("You said: Once upon a time")
    assert (body.stop, body.stop_type, body.truncated) == (True, "eos", False)
    assert body.tokens_evaluated == len(sent.tokenizer.encode(PROMPT))
    assert body.tokens_predicted > 0


def test_a_stream_is_flat_frames_and_ends_with_one_that_says_stop_and_no_done(server):
    whole = post(server, "/completion", **BODY).json()["content"]
    answer = post(server, "/completion", **BODY, stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *pieces, last = frames(answer.text)
    assert [piece["stop"] for piece in pieces] == [False] * len(pieces)
    assert "".join(piece["content"] for piece in pieces) == whole
    assert (last["stop"], last["content"]) == (True, "")
    assert last["tokens_predicted"] > 0


def test_a_reply_that_was_cut_says_limit(server):
    assert post(server, "/completion", prompt=PROMPT, n_predict=2).json()["stop_type"] == "limit"


def test_a_stopping_word_ends_the_text_before_it(server):
    assert "time" not in post(server, "/completion", prompt=PROMPT, stop=["time"]).json()["content"]


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 400), ({"prompt": 7}, 400), ({"prompt": ["a", "b"]}, 400), ({"prompt": "x", "n_predict": "many"}, 400)],
)
def test_what_is_no_prompt_is_refused_with_a_sentence(server, body, status):
    answer = httpx.post(f"{server.url}/completion", json=body, timeout=20)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_refused_prompt_is_refused_here_too(server):
    answer = post(server, "/completion", prompt="zqflag")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "content_policy_violation")


def test_a_model_that_is_not_there_is_404(server):
    assert httpx.post(f"{server.url}/completion", json={**BODY, "model": "gpt"}, timeout=20).status_code == 404
