"""What clients ask beside replies: embeddings, tokens, properties, measurements."""

import base64
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from duologue.engine.embed import is_installed
from duologue.guard import Limits
from tests.serve.api.serving import MODEL, client_of, post
from tests.serve.running import make_bot, make_test_config, running

KEY = "k" * 40

EMBEDDER = "all-MiniLM-L6-v2"
needs_embedder = pytest.mark.skipif(not is_installed(), reason="needs the bundled embedder")


@needs_embedder
def test_texts_with_one_meaning_are_nearer_than_others(server):
    texts = ["A cat sleeps on the sofa.", "The kitten naps on the couch.", "Tax forms are due in May."]
    with client_of(server) as client:
        answer = client.embeddings.create(model=EMBEDDER, input=texts)  # the client asks for base64 by itself
    cat, kitten, tax = (row.embedding for row in answer.data)

    assert [len(row) for row in (cat, kitten, tax)] == [384] * 3
    assert dot(cat, kitten) > dot(cat, tax) + 0.3
    assert dot(cat, cat) == pytest.approx(1, abs=1e-3)
    assert answer.usage.total_tokens > 12


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@needs_embedder
def test_base64_and_numbers_are_the_same_vector(server):
    numbers = post(server, "/v1/embeddings", model=EMBEDDER, input="tea").json()["data"][0]["embedding"]
    packed = post(server, "/v1/embeddings", model=EMBEDDER, input="tea", encoding_format="base64")

    raw = base64.b64decode(packed.json()["data"][0]["embedding"])
    assert list(struct.unpack("<384f", raw)) == pytest.approx(numbers)


@needs_embedder
def test_a_text_that_is_read_only_in_part_is_counted(server):
    answer = post(server, "/v1/embeddings", model=EMBEDDER, input=["short", "word " * 400])

    assert answer.headers["x-duologue-truncated"] == "1"
    assert answer.json()["usage"]["prompt_tokens"] == 401


@needs_embedder
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"model": "gpt"}, 404),
        ({"input": ""}, 400),
        ({"input": []}, 400),
        ({"input": [1, 2]}, 400),
        ({"input": ["x"] * 257}, 400),
        ({"dimensions": 12}, 400),
        ({"encoding_format": "int8"}, 400),
    ],
)
def test_what_no_embedding_is_made_of(server, fields, status):
    answer = post(server, "/v1/embeddings", **{"model": EMBEDDER, "input": "x", **fields})

    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_without_an_embedder_the_answer_says_so(server, monkeypatch):
    monkeypatch.setattr("duologue.serve.api.helpers.open_embedder", lambda _: None)
    with client_of(server) as client, pytest.raises(openai.InternalServerError) as caught:
        client.embeddings.create(model=EMBEDDER, input="x")

    assert (caught.value.status_code, caught.value.code) == (503, "not_installed")


def test_tokens_come_and_go_back(server):
    answer = post(server, "/tokenize", content="Hello there, 世界 🙂").json()
    back = post(server, "/detokenize", tokens=answer["tokens"]).json()

    assert answer["count"] == len(answer["tokens"]) > 2
    assert answer["max_model_len"] > 0
    assert back == {"content": "Hello there, 世界 🙂"}


def test_a_client_that_names_no_model_gets_the_first(server):
    answer = httpx.post(f"{server.url}/tokenize", json={"content": "tea"}, timeout=20)

    assert answer.json()["count"] == 1


@pytest.mark.parametrize("tokens", [[-1], [2**60], ["x"], [True], "x"])
def test_what_are_no_tokens_is_refused(server, tokens):
    assert post(server, "/detokenize", tokens=tokens).status_code == 400


def test_the_properties_tell_the_context_and_keep_the_template(server):
    props = httpx.get(f"{server.url}/props", timeout=20).json()

    assert props["default_generation_settings"]["n_ctx"] > 0
    assert props["model_alias"] == MODEL
    assert props["chat_template"] == ""
    assert httpx.get(f"{server.url}/props?model=gpt", timeout=20).status_code == 404


def test_measurements_count_requests_tokens_and_refusals_and_tell_no_texts(tmp_path):
    config = make_test_config(requests_per_minute=6, burst=3)
    with running(make_bot(tmp_path, config=config), config=config) as server:
        for body in ({}, {"stream": True}, {"messages": [{"role": "user", "content": "zqflag"}]}, {}):
            post(server, **body)
        httpx.get(f"{server.url}/nowhere/secret-name", timeout=20)
        server.wait_until_idle()
        answer = httpx.get(f"{server.url}/metrics", timeout=20)
    lines = answer.text.splitlines()
    counts = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#") and "_created" not in line)

    assert answer.headers["content-type"].startswith("text/plain")
    route = ['route="/v1/chat/completions"', 'method="POST"']
    asked = {key: value for key, value in counts.items() if all(part in key for part in route)}
    assert sorted((key[-5:-2], value) for key, value in asked.items()) == [
        ("200", "2.0"),
        ("400", "1.0"),
        ("429", "1.0"),
    ]
    assert counts['duologue_refusals_total{reason="content_policy_violation"}'] == "1.0"
    assert counts['duologue_refusals_total{reason="rate_limit_exceeded"}'] == "1.0"
    assert counts['duologue_replies_total{end="stop"}'] == "2.0"
    assert float(counts["duologue_generated_tokens_total"]) > 10
    assert counts["duologue_first_token_seconds_count"] == counts["duologue_wait_seconds_count"] == "2.0"
    assert counts["duologue_replies_running"] == "0.0"
    assert not any(word in answer.text for word in ("Hello", "zqflag", "secret-name", "127.0.0.1"))


def test_measurements_need_the_key_where_there_is_one(tmp_path):
    with running(make_bot(tmp_path), api_key="secret-key-of-the-test") as server:
        for path in ("/metrics", "/props", "/openapi.json", "/v1/models"):
            without = httpx.get(f"{server.url}{path}", timeout=20)
            given = {"Authorization": "Bearer secret-key-of-the-test"}
            assert without.status_code == 401
            assert httpx.get(f"{server.url}{path}", headers=given, timeout=20).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/tokenize", {"content": "Hello"}),
        ("POST", "/v1/token/encode", {"text": "Hello"}),
        ("POST", "/detokenize", {"tokens": []}),
        ("GET", "/props", None),
    ],
)
def test_what_may_load_a_model_is_counted_where_it_comes_with_a_key(tmp_path, method, path, body):
    config = make_test_config(page_requests_per_minute=8)
    key = {"Authorization": f"Bearer {KEY}"}
    with running(make_bot(tmp_path, config=config), config=config, api_key=KEY) as server:
        asked = [httpx.request(method, f"{server.url}{path}", json=body, headers=key, timeout=20) for _ in range(4)]

    assert [answer.status_code for answer in asked] == [200, 200, 429, 429]
    assert int(asked[-1].headers["retry-after"]) >= 1


def test_on_the_operators_own_machine_tokens_are_counted_as_often_as_a_client_likes(tmp_path):
    config = make_test_config(page_requests_per_minute=8)
    with running(make_bot(tmp_path, config=config), config=config) as server:
        asked = [post(server, "/tokenize", content="Hello").status_code for _ in range(12)]

    assert asked == [200] * 12


@needs_embedder
def test_nobody_waits_for_the_count_of_somebody_elses_texts(server, monkeypatch):
    asked, goes_on = threading.Event(), threading.Event()
    take = Limits.take

    def wait(self, names):
        asked.set()
        assert goes_on.wait(20)
        return take(self, names)

    monkeypatch.setattr(Limits, "take", wait)
    with ThreadPoolExecutor(1) as pool:
        embedded = pool.submit(post, server, "/v1/embeddings", model=EMBEDDER, input="tea")
        assert asked.wait(20)
        try:
            assert httpx.get(f"{server.url}/health", timeout=5).status_code == 200
        finally:
            goes_on.set()
        assert embedded.result(20).status_code == 200
