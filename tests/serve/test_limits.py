"""What a request may reach and cost, and the headers of every answer."""

import asyncio
import base64
import hashlib
import re

import httpx
import pytest

from duologue.serve import limits
from duologue.serve.limits import MAX_BODY_BYTES, BodyLimit, content_security_policy
from duologue.serve.refusal import ApiError


@pytest.mark.parametrize("is_chunked", [False, True], ids=["declared", "chunked"])
def test_a_body_over_one_mebibyte_is_413(server, is_chunked):
    parts = [b"x" * 65536] * (MAX_BODY_BYTES // 65536 + 1)
    content = iter(parts) if is_chunked else b"".join(parts)
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=content)

    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"


def test_a_body_of_just_one_mebibyte_reaches_the_app(server):
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=b" " * MAX_BODY_BYTES)

    assert answer.status_code == 400


def test_a_body_that_does_not_arrive_is_408():
    sent = []

    async def never() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message) -> None:
        sent.append(message)

    async def app(scope, receive, send) -> None:
        raise AssertionError("the app must not see an incomplete request")

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    asyncio.run(BodyLimit(app, max_seconds=0.01)(scope, never, send))

    assert sent[0]["status"] == 408


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/upload",
        "/gradio_api/info",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/proxy=http://example.org",
        "/config",
        "/monitoring",
        "/docs",
        "/gradio_api/run/predict",
        "/%2e%2e/secret",
    ],
)
def test_what_neither_page_nor_api_needs_is_not_there(server, path):
    assert httpx.get(server.url + path).status_code == 404
    assert httpx.post(server.url + path, content=b"{}").status_code == 404


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/nothing", "/theme.css"])
def test_every_answer_carries_the_safe_headers(server, path):
    headers = httpx.get(server.url + path).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "unsafe" not in scripts
    assert "http" not in policy


def test_the_pages_own_scripts_are_allowed_by_their_hash_and_no_other(server):
    answer = httpx.get(server.url)
    inline = re.findall(r"<script(?:\s[^>]*)?>(.*?)</script>", answer.text, re.DOTALL)

    assert inline
    for script in filter(None, inline):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in answer.headers["content-security-policy"]
    assert "sha256" not in content_security_policy(b"no script here")


def test_an_upload_that_comes_byte_by_byte_ends(monkeypatch):
    monkeypatch.setattr(limits, "_STREAM_PART_SECONDS", 0.1)
    num_parts = 0

    async def receive() -> dict[str, object]:
        nonlocal num_parts
        num_parts += 1
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": num_parts < 200}

    async def app(scope, receive, send) -> None:
        while (await receive())["more_body"]:
            pass

    async def send(_message) -> None:
        raise AssertionError("the route answers")

    scope = {"type": "http", "method": "POST", "path": "/page/uploads", "headers": []}
    with pytest.raises(ApiError, match="too slowly") as refused:
        asyncio.run(BodyLimit(app)(scope, receive, send))
    assert refused.value.status == 408
    assert num_parts < 50


def test_bodies_that_arrive_slowly_take_a_bounded_amount_of_memory_together(monkeypatch):
    monkeypatch.setattr(limits, "MAX_ARRIVING_BYTES", 3_000)
    statuses = []

    async def app(scope, receive, send) -> None:
        raise AssertionError("no body is complete")

    async def run() -> None:
        limit = BodyLimit(app, max_seconds=60)
        requests = [asyncio.create_task(post(limit)) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)

    async def post(limit) -> None:
        parts = iter([b"x" * 1000])

        async def receive() -> dict[str, object]:
            part = next(parts, None)
            if part is None:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": part, "more_body": True}

        async def send(message) -> None:
            if message["type"] == "http.response.start":
                statuses.append((message["status"], dict(message["headers"]).get(b"retry-after")))

        await limit({"type": "http", "method": "POST", "path": "/", "headers": []}, receive, send)

    asyncio.run(run())

    assert statuses == [(503, b"2"), (503, b"2")]


def test_bodies_that_have_arrived_make_room_for_others(monkeypatch):
    monkeypatch.setattr(limits, "MAX_ARRIVING_BYTES", 3_000)
    lengths = []

    async def app(scope, receive, send) -> None:
        lengths.append(len((await receive())["body"]))

    async def post(limit) -> None:
        parts = iter([b"x" * 1000, b"x" * 1000, b""])

        async def receive() -> dict[str, object]:
            part = next(parts)
            return {"type": "http.request", "body": part, "more_body": bool(part)}

        async def send(message) -> None:
            raise AssertionError(message)

        await limit({"type": "http", "method": "POST", "path": "/", "headers": []}, receive, send)

    async def run() -> None:
        limit = BodyLimit(app)
        for _ in range(5):
            await post(limit)

    asyncio.run(run())

    assert lengths == [2000] * 5
