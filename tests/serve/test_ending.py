"""The end of the server for connections that would never end by themselves."""

import asyncio

import pytest

from duologue.serve.ending import EndsWithServer


def events_of(path: str, *, is_ending: bool) -> tuple[list[str], list[str]]:
    """Return what an endless stream receives and what its client is sent."""
    received: list[str] = []
    sent: list[str] = []

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data", "more_body": True})
        received.append((await receive())["type"])

    async def receive() -> dict[str, object]:
        if not is_ending:
            return {"type": "http.request", "body": b""}
        await asyncio.sleep(0.05)
        return {"type": "late"}

    async def send(message) -> None:
        sent.append(f"{message['type']} more={message.get('more_body')}")

    async def run() -> None:
        ending = asyncio.Event()
        if is_ending:
            ending.set()
        await EndsWithServer(app, ending=ending)({"type": "http", "path": path}, receive, send)

    asyncio.run(run())
    return received, sent


def test_an_open_event_stream_is_told_and_closed_in_order():
    received, sent = events_of("/gradio_api/heartbeat/a", is_ending=True)

    assert received == ["http.disconnect"]
    assert sent[-1] == "http.response.body more=False"


def test_before_the_end_nothing_is_changed():
    received, sent = events_of("/gradio_api/heartbeat/a", is_ending=False)

    assert received == ["http.request"]
    assert sent[-1] == "http.response.body more=True"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/"])
def test_other_requests_may_finish(path):
    received, _ = events_of(path, is_ending=True)

    assert received == ["late"]
