"""Raw prompts to the model itself."""

import json

import httpx
import openai
import pytest

from tests.serve.api.serving import MODEL, client_of, post


def test_the_model_gets_the_prompt_as_it_is_and_nothing_else(client, sent):
    prompt = "Once upon a time\n\nthere was"
    answer = client.completions.create(model=MODEL, prompt=prompt, max_tokens=50)

    assert sent.prompts == [prompt]
    assert answer.object == "text_completion"
    assert answer.choices[0].text.strip().startswith("You said: Once upon a time")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens == len(sent.tokenizer.encode(prompt))


def test_a_prompt_in_the_models_own_template_has_its_marks_read(server):
    prompt = "<|im_start|>user\nHello there<|im_end|>\n<|im_start|>assistant\n"

    assert post(server, "/v1/completions", prompt=prompt).json()["choices"][0]["text"].startswith("You said: Hello")


def test_a_stream_ends_with_its_reason_its_usage_and_done(server):
    answer = post(server, "/v1/completions", prompt="x", stream=True, stream_options={"include_usage": True})

    *frames, done, rest = answer.text.split("\n\n")
    chunks = [json.loads(each.removeprefix("data: ")) for each in frames]
    assert (done, rest) == ("data: [DONE]", "")
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["completion_tokens"] > 0) == ([], True)


def test_a_list_of_one_prompt_is_taken_and_of_two_is_not(server):
    assert post(server, "/v1/completions", prompt=["x"]).status_code == 200
    assert post(server, "/v1/completions", prompt=["x", "y"]).status_code == 400


@pytest.mark.parametrize(
    ("prompt", "code"),
    [("", "empty"), ("zqflag", "content_policy_violation"), ("a\x00b", "control_characters")],
)
def test_a_refused_prompt_is_400_with_a_code(server, prompt, code):
    answer = post(server, "/v1/completions", prompt=prompt)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code


def test_a_prompt_longer_than_the_context_is_context_length_exceeded(server):
    with client_of(server) as client, pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=MODEL, prompt="word " * 5000)

    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "prompt")


@pytest.mark.parametrize(
    "fields", [{"echo": True}, {"best_of": 2}, {"suffix": "end"}, {"prompt": [1, 2]}, {"prompt": 1}]
)
def test_what_cannot_be_done_is_refused(server, fields):
    assert post(server, "/v1/completions", **{"prompt": "x", **fields}).status_code == 400


def test_a_missing_prompt_is_named(server):
    answer = httpx.post(f"{server.url}/v1/completions", json={"model": MODEL}, timeout=20)

    assert answer.json()["error"]["param"] == "prompt"
