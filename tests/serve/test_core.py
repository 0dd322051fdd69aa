"""The one way to a reply: counted, fair, and ended once its visitor may no longer read it."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import openai
import pytest
from starlette.types import Scope

from duologue.config import Home
from duologue.engine import Sampling
from duologue.engine.fake import FakeGenerator
from duologue.errors import GuardError
from duologue.guard import Limits
from duologue.messages import Message
from duologue.serve import Library, generation
from duologue.serve.core import Core
from duologue.serve.door import Door
from duologue.serve.generation import Generation, Generations
from duologue.serve.visitor import Visitor, set_visitor
from tests.serve.running import CARD, Gate, GatedGenerator, make_bot, make_test_config, running

MESSAGES = (Message("user", "Hi"),)
BODY = {"model": "lila-quill", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


@pytest.fixture
def core(tmp_path: Path, gate: Gate) -> Iterator[Core]:
    config = make_test_config(burst=3, requests_per_minute=1, rating="adult")
    home = Home(server=config.server, guard=config.guard, age=config.age)
    bot = make_bot(tmp_path, generator=GatedGenerator(gate, reply="one two three"), config=config)
    library, door = Library.of(bot, home=home, folder=CARD.parent, card=CARD), Door.open(tmp_path, home)
    library._only = replace(library.entries()[0], rating="general")
    generations = Generations(2)
    yield Core(home, library, generations, Limits(home.guard), door.age)
    gate.opened.set()
    generations.close(timeout_seconds=20)
    door.close()
    bot.close()


def scope_of(account: str) -> Scope:
    scope: Scope = {"type": "http", "client": ("192.0.2.7", 4711), "headers": []}
    set_visitor(scope, Visitor(account=account, role="user", way="session"))
    return scope


def ask(core: Core, account: str = "ann") -> Generation:
    entry = core.entry(scope_of(account), "lila-quill")
    bot = core.library.bot("lila-quill")
    return core.start_reply(
        scope_of(account),
        entry,
        lambda cancel: bot.completions.of_character(MESSAGES, Sampling(), cancel=cancel),
        bot=bot,
    )


def read(made: Generation) -> str:
    async def follow() -> str:
        while not made.is_done:
            await made.more(len(made.text), timeout_seconds=5)
        return made.text

    return asyncio.run(follow())


def test_a_character_rated_for_adults_mid_reply_falls_silent(
    core: Core, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "_ALLOWED_SECONDS", 0.0)
    made = ask(core)
    assert gate.started.wait(20)
    core.library._only = replace(core.library.entries()[0], rating="adult")
    gate.opened.set()

    assert "three" not in read(made)
    assert isinstance(made.error, GuardError)
    assert made.error.reason == "age_required"
    assert made.reply is None
    assert made.cancel.is_set()


def test_the_place_in_line_is_seen_and_wakes_its_reader(core: Core, gate: Gate) -> None:
    first = ask(core)
    assert gate.started.wait(20)
    second, third = ask(core, "ben"), ask(core, "cleo")
    assert (first.place, second.place, third.place) == (0, 1, 2)

    async def follow() -> bool:
        reader = asyncio.create_task(third.more(0, timeout_seconds=20, place=2))
        await asyncio.sleep(0)
        second.cancel.set()
        return await reader

    assert asyncio.run(follow())
    assert third.place == 1
    assert read(second) == ""
    assert second.reply is not None
    assert second.reply.finish_reason == "cancelled"
    gate.opened.set()
    assert read(third) == "one two three"


def test_a_refused_request_costs_nothing_and_starts_nothing(core: Core, gate: Gate) -> None:
    gate.opened.set()
    for _ in range(3):
        read(ask(core))
    with pytest.raises(GuardError) as caught:
        ask(core)

    assert caught.value.reason == "rate_limit_exceeded"
    assert read(ask(core, "ben")) == "one two three"


def test_what_is_left_is_in_the_headers_openai_and_the_ietf_name(tmp_path: Path) -> None:
    config = make_test_config(burst=2, requests_per_minute=1, reply_tokens_per_minute=60_000)
    bot = make_bot(tmp_path, generator=FakeGenerator(reply="one two three"), config=config)
    with running(bot, config=config) as server:
        url = f"{server.url}/v1/chat/completions"
        first, second = httpx.post(url, json=BODY), httpx.post(url, json=BODY)
        refused = httpx.post(url, json=BODY)
        other = httpx.get(f"{server.url}/v1/models")

    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert [each.headers["x-ratelimit-remaining-requests"] for each in (first, second, refused)] == ["1", "0", "0"]
    assert first.headers["x-ratelimit-reset-requests"] == "1m0s"
    assert first.headers["x-ratelimit-limit-tokens"] == "60000"
    num_tokens = first.json()["usage"]["completion_tokens"]
    left = int(second.headers["x-ratelimit-remaining-tokens"])
    assert 60_000 - num_tokens <= left <= 60_000
    assert first.headers["ratelimit-policy"] == '"requests";q=2;w=120, "tokens";q=60000;w=60, "day";q=2000000;w=86400'
    assert first.headers["ratelimit"].startswith('"requests";r=1;t=60, "tokens";r=')
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert int(refused.headers["retry-after-ms"]) <= 60_000
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert "x-ratelimit-limit-requests" not in other.headers


def test_every_request_of_the_page_is_counted_and_a_reply_is_not_taken_from_the_api_for_it(tmp_path: Path) -> None:
    config = make_test_config(page_requests_per_minute=8)
    bot = make_bot(tmp_path, generator=FakeGenerator(reply="one two three"), config=config)
    with running(bot, config=config) as server:
        asked = [httpx.get(f"{server.url}{path}") for path in ("/page/state", "/page/nothing", "/page/state")]
        static = httpx.get(f"{server.url}/page/static/base.js")
        reply = httpx.post(f"{server.url}/v1/chat/completions", json=BODY)

    assert [each.status_code for each in asked] == [200, 404, 429]
    assert asked[2].json()["error"]["code"] == "rate_limit_exceeded"
    assert "at most 8 per minute" in asked[2].json()["error"]["message"]
    assert 1 <= int(asked[2].headers["retry-after"]) <= 8
    assert (static.status_code, reply.status_code) == (200, 200)


def test_openais_client_does_not_try_again_when_the_days_tokens_are_used_up(tmp_path: Path) -> None:
    config = make_test_config(reply_tokens_per_day=2)
    bot = make_bot(tmp_path, generator=FakeGenerator(reply="one two three four five six"), config=config)
    with running(bot, config=config) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        client.chat.completions.create(**BODY)
        began = time.monotonic()
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(**BODY)

    assert caught.value.response.headers["x-should-retry"] == "false"
    assert int(caught.value.response.headers["retry-after"]) > 60
    assert caught.value.response.request.headers["x-stainless-retry-count"] == "0"
    assert time.monotonic() - began < 5


def test_the_tokens_of_a_reply_are_spent_at_its_end(tmp_path: Path) -> None:
    config = make_test_config(reply_tokens_per_minute=20)
    bot = make_bot(tmp_path, generator=FakeGenerator(reply="word " * 30), config=config)
    with running(bot, config=config) as server:
        url = f"{server.url}/v1/chat/completions"
        first = httpx.post(url, json=BODY)
        server.wait_until_idle()
        second = httpx.post(url, json=BODY)

    assert first.status_code == 200
    assert second.status_code == 429
    assert "too many generated tokens" in second.json()["error"]["message"]
    assert second.headers["x-ratelimit-remaining-tokens"] == "0"
