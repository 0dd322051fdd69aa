"""More requests at once than can be worked on."""

import asyncio
from typing import Any

import httpx
import pytest

from duologue.serve.crowd import Crowd, InCrowd
from tests.serve.running import Gate, GatedGenerator, make_bot, running

BODY = {"model": "lila-quill", "messages": [{"role": "user", "content": "Hi"}]}


def scope_of(path: str, *, address: str = "10.0.0.1") -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": path, "headers": [], "client": (address, 1)}


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b""}


def test_one_too_many_is_503_and_the_next_one_after_an_answer_began_is_not() -> None:
    statuses: list[int] = []

    async def run() -> None:
        go_on = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await go_on.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await asyncio.Event().wait()  # a stream that goes on

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        crowd = Crowd(1)
        guarded = InCrowd(app, crowd=crowd)
        inside = [
            asyncio.create_task(guarded(scope_of("/v1/models", address=f"10.0.1.{number}"), receive, send))
            for number in range(17)
        ]
        await asyncio.sleep(0)
        assert crowd.is_full
        await guarded(scope_of("/v1/models"), receive, send)
        assert statuses == [503]
        assert crowd.num_refused == 1
        go_on.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert crowd.num_inside == 0
        for task in inside:
            task.cancel()
        await asyncio.gather(*inside, return_exceptions=True)
        assert crowd.num_inside == 0

    asyncio.run(run())

    assert statuses == [503] + [200] * 17


def test_one_address_never_takes_all_the_room() -> None:
    crowd = Crowd(14)
    of_greedy = sum(crowd.enter("10.0.0.1") for _ in range(100))
    of_second = sum(crowd.enter("10.0.0.2") for _ in range(100))

    assert (of_greedy, of_second) == (15, 10)
    assert crowd.enter("10.0.0.3")
    for _ in range(15):
        crowd.leave("10.0.0.1")
    assert sum(crowd.enter("10.0.0.1") for _ in range(100)) == 7, "beside two others it has a quarter"
    assert len(crowd._inside) == 3


def test_a_request_that_fails_or_goes_away_leaves_the_crowd() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ConnectionResetError

    async def run() -> None:
        crowd = Crowd(1)
        with pytest.raises(ConnectionResetError):
            await InCrowd(app, crowd=crowd)(scope_of("/v1/models"), receive, receive)
        assert not crowd._inside
        assert crowd.num_inside == 0

    asyncio.run(run())


def test_while_it_is_full_a_server_answers_at_once_and_still_says_that_it_lives(tmp_path) -> None:
    gate = Gate()
    with running(make_bot(tmp_path, generator=GatedGenerator(gate, reply="one two"))) as server:
        crowd = server.app.state.facts.crowd
        crowd.num_inside += 1000
        refused = httpx.post(f"{server.url}/v1/chat/completions", json=BODY)
        health = [httpx.request(method, f"{server.url}/health").status_code for method in ("GET", "HEAD")]
        crowd.num_inside -= 1000
        gate.opened.set()
        served = httpx.post(f"{server.url}/v1/chat/completions", json=BODY)

    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "busy"
    assert refused.headers["retry-after"] == "2"
    assert health == [200, 200]
    assert served.status_code == 200
