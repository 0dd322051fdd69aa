"""The end of the server: new requests are refused, open ones end in order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from duologue.serve.ending import Ending, EndsWithServer

App = Callable[[Any, Any, Any], Awaitable[None]]
SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": []}


def start(kind: str = "text/event-stream") -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind.encode())]}


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


def sent_by(app: App, *, closes: bool, begins_first: bool = False, grace_seconds: float = 0.0) -> list[dict[str, Any]]:
    """Return what a client is sent while the server comes to its end."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def run() -> None:
        ending = Ending()
        if begins_first:
            ending.begin()
        request = asyncio.create_task(EndsWithServer(app, ending=ending)(SCOPE, never, send))
        await asyncio.sleep(0)
        ending.begin()
        if closes:
            await ending.close(grace_seconds=grace_seconds)
        await request

    asyncio.run(run())
    return sent


async def endless(scope: Any, receive: Any, send: Any) -> None:
    await send(start())
    await send({"type": "http.response.body", "body": b"data", "more_body": True})
    await asyncio.Event().wait()


def test_an_open_event_stream_is_closed_in_order() -> None:
    assert sent_by(endless, closes=True)[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def test_an_event_stream_is_cut_long_before_the_time_for_other_requests_is_over() -> None:
    async def run() -> None:
        sent_by_now: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent_by_now.append(message)

        ending = Ending()
        request = asyncio.create_task(EndsWithServer(endless, ending=ending)(SCOPE, never, send))
        await asyncio.sleep(0)
        await asyncio.gather(ending.close(grace_seconds=600), request)
        assert not sent_by_now[-1]["more_body"]

    asyncio.run(asyncio.wait_for(run(), 20))


def test_what_comes_after_the_end_has_begun_is_503_with_a_time_to_try_again() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the app must not see it")

    head = sent_by(app, closes=False, begins_first=True)[0]

    assert head["status"] == 503
    assert (b"retry-after", b"10") in head["headers"]
    assert (b"connection", b"close") in head["headers"]


def test_a_request_that_has_not_been_answered_in_time_is_503() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    assert sent_by(app, closes=True)[0]["status"] == 503


def test_a_request_may_finish_while_there_is_time() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.05)
        await send(start("application/json"))
        await send({"type": "http.response.body", "body": b"{}"})

    assert [message.get("body") for message in sent_by(app, closes=True, grace_seconds=20)] == [None, b"{}"]


def test_a_client_that_goes_away_by_itself_still_cancels_its_own_request() -> None:
    async def run() -> None:
        request = asyncio.create_task(EndsWithServer(endless, ending=Ending())(SCOPE, never, _drop))
        await asyncio.sleep(0)
        request.cancel()
        await request

    async def _drop(message: dict[str, Any]) -> None:
        pass

    try:
        asyncio.run(run())
    except asyncio.CancelledError:
        return
    raise AssertionError("the cancellation was swallowed")
