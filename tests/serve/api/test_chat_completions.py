"""The API as the official client sees it, against a really running server."""

import json
import socket
import threading
import time

import httpx
import openai
import pytest

from duologue.engine.fake import FakeGenerator
from tests.serve.api.serving import HELLO, MODEL, client_of, post
from tests.serve.running import Gate, GatedGenerator, make_bot, make_test_config, running


def test_a_reply_comes_whole(client):
    answer = client.chat.completions.create(model=MODEL, messages=HELLO)

    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == MODEL
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == "You said: Hello there Tell me more about that."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_a_streamed_reply_is_the_same_text_in_chunks(client):
    chunks = list(client.chat.completions.create(model=MODEL, messages=HELLO, stream=True))

    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "You said: Hello there Tell me more about that."
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_stream_counts_its_tokens_when_asked(client):
    options = {"include_usage": True}
    *_, last = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True, stream_options=options)

    assert last.choices == []
    assert last.usage.completion_tokens > 0


def test_the_frames_are_server_sent_events_that_end_with_done(server):
    answer = post(server, stream=True)

    assert answer.headers["content-type"].startswith("text/event-stream")
    frames = answer.text.split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    assert all(frame.startswith("data: ") for frame in frames[:-1])
    assert all(json.loads(frame[6:])["object"] == "chat.completion.chunk" for frame in frames[:-2])


def test_text_with_line_breaks_and_frame_marks_survives_the_stream(server, client):
    text = "one\n\ndata: [DONE]\n\nthree \u2028 äöü 😀"
    chunks = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], stream=True)

    assert text in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_max_tokens_ends_the_reply_with_reason_length(client):
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=2)
    newer = client.chat.completions.create(model=MODEL, messages=HELLO, max_completion_tokens=2)

    assert answer.choices[0].finish_reason == newer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == newer.usage.completion_tokens == 2


@pytest.mark.parametrize("stop", ["Tell", ["nothing", "Tell"]])
def test_a_stop_text_ends_the_reply(client, stop):
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, stop=stop)

    assert answer.choices[0].message.content.strip() == "You said: Hello there"


def test_content_may_be_a_list_of_text_parts(client):
    parts = [{"type": "text", "text": "Hello "}, {"type": "text", "text": "there"}]
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": parts}])

    assert "Hello there" in answer.choices[0].message.content


def test_system_messages_anywhere_and_empty_replies_are_accepted(client):
    messages = [
        {"role": "user", "content": "First"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "Second"},
        {"role": "system", "content": "Stay in character."},
    ]
    answer = client.chat.completions.create(model=MODEL, messages=messages)

    assert "Second" in answer.choices[0].message.content


def test_unknown_fields_are_ignored(server):
    answer = post(server, logit_bias={"1": 2}, presence_penalty=0.5, tools=[], user="me", dry_multiplier=0.8, n=1)

    assert answer.status_code == 200


NULLABLE = ["stream", "stream_options", "n", "stop", "seed", "temperature", "max_tokens", "response_format", "memory"]


@pytest.mark.parametrize("name", NULLABLE)
def test_a_field_that_is_null_is_as_good_as_none(server, name):
    answer = post(server, **{name: None})

    assert answer.status_code == 200, answer.text
    assert answer.json()["object"] == "chat.completion"


def test_as_many_stop_texts_as_a_group_has_members_are_taken(server):
    names = [f"\nMember {number}:" for number in range(40)]
    answer = post(server, stop=[*names, "Tell"])

    assert answer.json()["choices"][0]["message"]["content"] == "You said: Hello there"


def test_sampling_fields_are_accepted(server):
    answer = post(server, temperature=0, top_p=0.9, top_k=-1, min_p=0.1, repetition_penalty=1.1, seed=7)

    assert answer.status_code == 200


def test_the_list_of_models_is_the_character_and_its_base(client):
    models = client.models.list().data

    assert [model.id for model in models] == [MODEL, "fake"]
    assert client.models.retrieve(MODEL).id == MODEL


def test_another_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4", messages=HELLO)

    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert MODEL in caught.value.message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"model": None}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"memory": 1}, "memory"),
    ],
)
def test_a_wrong_field_is_400_and_named(server, body, param):
    answer = post(server, **body)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert error["code"] is None
    assert param.split(".")[0] in error["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"[" * 100_000, b'{"n": ' + b"9" * 5000 + b"}", b"\xff\xfe", b'{"a": NaN}'],
    ids=["empty", "cut", "list", "null", "deep", "long number", "not UTF-8", "NaN"],
)
def test_what_is_no_request_is_400(server, body):
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=body, timeout=20)

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_more_parts_than_a_message_may_have_are_refused(server):
    parts = [{"type": "text", "text": "a"}] * 257
    answer = post(server, messages=[{"role": "user", "content": parts}])

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages.0.content"
    assert "at most 256" in answer.json()["error"]["message"]
    assert post(server, messages=[{"role": "user", "content": parts[1:]}]).status_code == 200


def in_messages(parts: str, *, messages: int = 1) -> str:
    one = f'{{"role": "user", "content": [{parts}]}}'
    return f'{{"model": "{MODEL}", "messages": [{",".join([one] * messages)}]}}'


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", in_messages(",".join(["{}"] * 340_000)), "messages.0.content.0.type"),
        ("/v1/chat/completions", in_messages(",".join(["1"] * 200), messages=2000), "messages.0.content.0"),
        ("/v1/chat/completions", in_messages(",".join(["{}"] * 200), messages=1500), "messages.0.content.0.type"),
        ("/detokenize", f'{{"tokens": [{",".join(["{}"] * 200_000)}]}}', "tokens.0"),
        (
            "/v1/completions",
            f'{{"prompt": "x", "logit_bias": {{{",".join(f"{chr(34)}{at}{chr(34)}:{{}}" for at in range(90_000))}}}}}',
            "logit_bias",
        ),
    ],
    ids=["parts", "parts of many messages", "fields of parts", "tokens", "biases"],
)
def test_a_large_body_full_of_faults_is_refused_without_looking_at_each(server, path, body, param):
    """With the time that all of them take together nobody else would be answered."""
    assert len(body) < 2**20
    began = time.process_time()
    answer = httpx.post(f"{server.url}{path}", content=body.encode(), timeout=20)

    assert time.process_time() - began < 5  # of this process, which is the server's too
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert len(answer.content) < 2000


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("   ", "empty"),
        ("a\x00b", "control_characters"),
        ("x" * 8001, "too_long"),
        ("zqflag", "content_policy_violation"),
    ],
    ids=["empty", "control", "long", "policy"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_message_is_400_with_a_code(server, text, code, stream):
    answer = post(server, messages=[{"role": "user", "content": text}], stream=stream)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code


def test_half_a_surrogate_is_400(server):
    body = '{"model": "lila-quill", "messages": [{"role": "user", "content": "\\ud800"}]}'
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=body.encode(), timeout=20)

    assert answer.status_code == 400


def test_a_message_that_does_not_fit_the_context_is_400_context_length_exceeded(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x " * 4000}])

    assert caught.value.code == "context_length_exceeded"


def test_every_naughty_string_is_answered_or_refused(server, shared_data):
    strings = json.loads((shared_data / "blns.json").read_text(encoding="utf-8"))
    statuses = set()
    with httpx.Client(timeout=20) as client:
        for text in strings:
            body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 500}
            statuses.add(client.post(f"{server.url}/v1/chat/completions", json=body).status_code)

    assert statuses == {200, 400}


def test_another_route_or_method_is_a_json_error(server):
    for answer in (httpx.get(f"{server.url}/v1/embeddings"), httpx.get(f"{server.url}/v1/chat/completions")):
        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == f"there is no GET {answer.request.url.path}"


def test_health_answers(server):
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}


def test_a_client_over_its_rate_gets_429_with_retry_after(tmp_path):
    config = make_test_config(requests_per_minute=6, burst=2)
    with running(make_bot(tmp_path, config=config), config=config) as server, client_of(server) as client:
        first = post(server)
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        client.chat.completions.create(model=MODEL, messages=HELLO)
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model=MODEL, messages=HELLO)

        assert caught.value.code == "rate_limit_exceeded"
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 10


def test_more_requests_than_may_wait_get_503(server, use):
    gate = Gate()
    use(GatedGenerator(gate, reply="one two three"))  # one may run, two may wait
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(post(server).status_code)) for _ in range(3)]
    for thread in threads:
        thread.start()
    while server.num_running() < 3:
        assert any(thread.is_alive() for thread in threads)
    refused = post(server)
    gate.opened.set()
    for thread in threads:
        thread.join(20)

    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "busy"
    assert int(refused.headers["retry-after"]) >= 1
    assert answers == [200, 200, 200]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_stops_its_reply(server, use, stream):
    gate = Gate()
    use(GatedGenerator(gate, reply="one two three"))
    body = json.dumps({"model": MODEL, "messages": HELLO, "stream": stream}).encode()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        assert gate.started.wait(20)
    # The gate is never opened: only cancelling lets the generator end, and the next request begin.
    server.wait_until_idle()


def test_a_slow_reply_is_kept_alive_with_comments(server, use, monkeypatch):
    monkeypatch.setattr("duologue.serve.api.replying.KEEP_ALIVE_SECONDS", 0.02)
    gate = Gate()
    use(GatedGenerator(gate, reply="one two three"))
    body = {"model": MODEL, "messages": HELLO, "stream": True}
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body, timeout=20) as answer:
        lines = []
        for line in answer.iter_lines():
            lines.append(line)
            if line == ": keep-alive":
                gate.opened.set()

    assert ": keep-alive" in lines
    assert lines[-2:] == ["data: [DONE]", ""]


def test_a_failure_of_the_engine_is_a_500_that_tells_no_secrets(server, use):
    class Broken(FakeGenerator):
        def stream(self, prompt_ids, sampling, *, cancel):
            raise RuntimeError("secret detail")

    use(Broken())
    answers = [post(server), post(server, stream=True)]

    assert [answer.status_code for answer in answers] == [500, 500]
    assert not any("secret" in answer.text for answer in answers)


def test_a_failure_in_the_middle_of_a_stream_ends_it_with_an_error(server, use, client):
    class Breaking(FakeGenerator):
        def stream(self, prompt_ids, sampling, *, cancel):
            yield next(super().stream(prompt_ids, sampling, cancel=cancel))
            raise RuntimeError("secret detail")

    use(Breaking())
    answer = post(server, stream=True)
    with pytest.raises(openai.APIError, match="the reply failed"):
        list(client.chat.completions.create(model=MODEL, messages=HELLO, stream=True))

    frames = answer.text.split("\n\n")
    assert json.loads(frames[-3].removeprefix("data: "))["error"]["type"] == "server_error"
    assert frames[-2:] == ["data: [DONE]", ""]
    assert "secret" not in answer.text
