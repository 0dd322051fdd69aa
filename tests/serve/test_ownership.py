"""Who may ask what: every route of the app, with nobody's, another account's and a user's credentials.

A route that `ROUTES` does not name fails the first test. Whoever adds one says here who may ask it:

- `OPEN`: anybody, without a login;
- `ALL`: whoever has come in; nothing in its address belongs to an account;
- `ADMIN`: admins alone;
- `own(body)`: whoever has come in, about things of their own. Their ids are in the address, as one of the names in
  `OWNED`, and the body is one that the route takes. Another account's id must get the same answer as none.
"""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Mount

from duologue.chat import duels
from duologue.chat.duels import Duel
from duologue.memory import Scope, Source
from tests.serve.door.people import PASSWORD, Person, logged_in
from tests.serve.door.test_age import begin, config_with
from tests.serve.running import Running, make_bot, running

CHARACTER = "lila-quill"
OPEN, ALL, ADMIN = "open", "all", "admin"


@dataclass(frozen=True)
class Own:
    """A route about things of one's own; `body` is one that it takes."""

    body: Any = None


def own(body: Any = None) -> Own:
    return Own(body)


_TALK = "/page/characters/{character_id}/chats"
_CHAT = _TALK + "/{session_id}"
_SAID = _CHAT + "/messages/{message_id}"
_MEMORY = "/page/characters/{character_id}/memory"
_HERE = "/page/characters/{character_id}"
ROUTES: dict[str, object] = {
    "GET /health": OPEN,
    # the API
    "GET /openapi.json": ALL,
    "GET /v1/model/list": ALL,
    "GET /v1/model": ALL,
    "GET /v1/internal/model/info": ALL,
    "GET /v1/models": ALL,
    "GET /v1/models/{model_id:path}": ALL,
    "POST /v1/chat/completions": ALL,
    "POST /v1/completions": ALL,
    "POST /completion": ALL,
    "POST /v1/embeddings": ALL,
    "POST /tokenize": ALL,
    "POST /v1/token/encode": ALL,
    "POST /v1/internal/encode": ALL,
    "POST /detokenize": ALL,
    "GET /props": ALL,
    "GET /metrics": ADMIN,
    "* /v1/{path:path}": ALL,
    # the door
    "GET /page/account": ALL,
    "POST /page/account/password": ALL,
    "POST /page/account/keys": ALL,
    "DELETE /page/account/keys/{key_id}": own(),
    "GET /page/accounts": ADMIN,
    "POST /page/accounts": ADMIN,
    "DELETE /page/accounts/{account_id}": ADMIN,
    "POST /page/accounts/{account_id}/password": ADMIN,
    "GET /age": ALL,
    "POST /age/attest": ALL,
    "POST /age/revoke": ALL,
    "POST /age/start": ALL,
    "GET /age/attempts/{request_id}": own(),
    "POST /age/attempts/{request_id}/code": own(),
    "POST /age/answer/{request_id}": OPEN,
    "GET /age/done": OPEN,
    # the page
    "GET /page/static/{name}": ALL,
    "GET /page/words/{language}": ALL,
    "GET /page/state": ALL,
    "* /page/{path:path}": ALL,
    f"GET {_HERE}/avatar.webp": ALL,
    f"GET {_HERE}/portrait.webp": ALL,
    # talk
    f"GET {_TALK}": ALL,
    f"GET {_TALK}/search": ALL,
    f"POST {_TALK}": ALL,
    f"POST {_TALK}/import": ALL,
    f"GET {_CHAT}": own(),
    f"PATCH {_CHAT}": own({"title": "mine"}),
    f"GET {_CHAT}/file": own(),
    f"GET {_CHAT}/note": own(),
    f"PUT {_CHAT}/note": own({"text": "mine"}),
    f"POST {_CHAT}/undo": own({}),
    f"POST {_CHAT}/messages": own({"text": "mine"}),
    f"POST {_CHAT}/replies": own({"kind": "continue"}),
    f"POST {_CHAT}/stop": own({}),
    f"GET {_CHAT}/events": own(),
    f"PATCH {_SAID}": own({"text": "mine"}),
    f"POST {_SAID}/show": own({}),
    f"POST {_SAID}/branch": own({}),
    f"DELETE {_SAID}": own(),
    f"PUT {_SAID}/opinion": own({"is_liked": None}),
    f"GET {_CHAT}/feedback": own(),
    f"PUT {_CHAT}/consent": own({"state": "refused"}),
    f"POST {_CHAT}/feedback/remove": own({"source": "like 1"}),
    f"DELETE {_CHAT}": own(),
    # characters
    "GET /page/characters": ALL,
    "GET /page/cards/{upload_id}": ADMIN,
    "POST /page/characters": ADMIN,
    "DELETE /page/characters/{character_id}": ADMIN,
    "POST /page/removed": ADMIN,
    f"GET {_HERE}/card": ALL,
    f"PUT {_HERE}/card": ADMIN,
    f"POST {_HERE}/card/undo": ADMIN,
    f"POST {_HERE}/card/tokens": ADMIN,
    f"GET {_HERE}/card/export": ADMIN,
    f"POST {_HERE}/lorebook": ADMIN,
    f"PUT {_HERE}/lorebook/{{place}}": ADMIN,
    f"DELETE {_HERE}/lorebook/{{place}}": ADMIN,
    # memory and context
    f"GET {_MEMORY}": ALL,
    f"GET {_MEMORY}/counts": ALL,
    f"GET {_MEMORY}/{{memory_id}}": own(),
    f"PATCH {_MEMORY}/{{memory_id}}": own({"is_pinned": True}),
    f"POST {_MEMORY}/forget": ALL,  # ids in its body: see the test below
    f"GET {_HERE}/memory-receipts": ADMIN,
    f"GET {_HERE}/memory-export": ALL,
    f"POST {_HERE}/memory-import": ALL,
    f"GET {_CHAT}/recalled": own(),
    f"GET {_HERE}/contexts": ALL,
    f"GET {_CHAT}/context": own(),
    f"PUT {_CHAT}/context/note": own({"text": "mine"}),
    f"PUT {_CHAT}/context/summary": own({"text": "mine"}),
    # settings
    "GET /page/settings": ALL,
    "GET /page/settings/server": ADMIN,
    "PUT /page/settings/server": ADMIN,
    f"GET {_HERE}/settings": ADMIN,
    f"PUT {_HERE}/settings": ADMIN,
    f"GET {_HERE}/me": ALL,
    f"PUT {_HERE}/me/persona": ALL,
    f"PUT {_HERE}/me/replies": ALL,
    # duels
    f"GET {_HERE}/duels": ALL,
    f"POST {_HERE}/duels": ALL,
    f"GET {_HERE}/duels/{{duel_id}}": own(),  # while it is written; tests/serve/page/test_duel.py begins some
    f"POST {_HERE}/duels/{{duel_id}}/stop": own({}),
    f"POST {_HERE}/duels/{{duel_id}}/pick": own({"pick": "tie"}),
    # training
    "POST /page/uploads": ADMIN,
    "DELETE /page/uploads/{upload_id}": ADMIN,
    "POST /page/welcome/character": ADMIN,
    "POST /page/welcome/example": ADMIN,
    f"GET {_HERE}/data": ADMIN,
    f"POST {_HERE}/data": ADMIN,
    f"DELETE {_HERE}/data/{{name}}": ADMIN,
    f"PUT {_HERE}/names": ADMIN,
    f"GET {_HERE}/check": ADMIN,
    f"POST {_HERE}/plan": ADMIN,
    f"GET {_HERE}/training": ADMIN,
    f"POST {_HERE}/training": ADMIN,
    f"POST {_HERE}/training/stop": ADMIN,
    f"GET {_HERE}/training/log": ADMIN,
    f"GET {_HERE}/runs/{{run}}": ADMIN,
    f"GET {_HERE}/runs/{{run}}/report": ADMIN,
    f"POST {_HERE}/runs/{{run}}/evaluation": ADMIN,
}
OWNED = ("session_id", "message_id", "memory_id", "key_id", "request_id", "duel_id")
_UNKNOWN = {
    "session_id": "0" * 32,
    "message_id": "999999",
    "memory_id": "999999",
    "key_id": "00000000",
    "request_id": "0" * 32,
    "duel_id": "0" * 16,
}
_ANY = {
    "character_id": CHARACTER,
    "model_id": CHARACTER,
    "model_id:path": CHARACTER,
    "path:path": "nothing",
    "name": "base.js",
    "language": "en",
    "upload_id": "0" * 16,
    "account_id": "a-0000000000000000",
    "place": "0",
    "run": "2026-01-01-000000",
}
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


# ------------------------------------------------------------------------------------------------------------- routes


def routes_of(app: FastAPI) -> Iterator[str]:
    """Return every route as `METHOD /path`; one for all methods as `* /path`."""

    def walk(routes: Any) -> Iterator[tuple[set[str], str]]:
        for route in routes:
            if hasattr(route, "effective_candidates"):  # a router that was included
                yield from walk(route.effective_candidates())
            elif not isinstance(route, Mount):
                yield set(route.methods or ()) - {"HEAD", "OPTIONS"}, route.path

    for methods, path in walk(app.routes):
        yield from ([f"* {path}"] if methods >= set(_METHODS) else [f"{method} {path}" for method in methods])


def filled(path: str, values: dict[str, str]) -> str:
    return re.sub(r"\{([^}]+)\}", lambda place: {**_ANY, **_UNKNOWN, **values}[place[1]], path)


def named_in(path: str) -> list[str]:
    return [name for name in re.findall(r"\{([^}]+)\}", path) if name in OWNED]


def routes(kind: object) -> list[tuple[str, str]]:
    """Return method and path of the routes of a kind."""
    found = [
        route.split(" ", 1)
        for route, who in ROUTES.items()
        if who == kind or isinstance(who, kind if isinstance(kind, type) else ())
    ]
    return [("POST" if method == "*" else method, path) for method, path in found]


def ask(browser: httpx.Client, method: str, path: str, body: Any = None) -> httpx.Response:
    with browser.stream(method, path, json=body) as answer:  # an endless answer is not waited for
        if "event-stream" not in answer.headers.get("content-type", ""):
            answer.read()
        return answer


# ------------------------------------------------------------------------------------------------------------- people


@dataclass
class Owner:
    """Somebody with one thing of each kind."""

    person: Person
    things: dict[str, str]


def settle(server: Running, person: Person, folder: Path) -> Owner:
    """Give somebody a chat with a message, a memory, a key, an attempt to prove their age and a duel."""
    browser, bot = person.browser, server.bot
    made = browser.post(f"/page/characters/{CHARACTER}/chats", json={})
    assert made.status_code in (200, 201), made.text
    session_id = made.json()["id"]
    messages = bot.sessions.tree(session_id).messages
    scope = Scope(person.account.id, bot.model_id)
    text = f"My favourite colour is the one of {person.account.name}."
    bot.memory.follow(session_id, [Source(messages[0].id, 0, "user", text, "2026-01-01T00:00:00Z")], scope=scope)
    [memory] = bot.memory.list_lines(scope=scope)[:1]
    key = browser.post("/page/account/keys", json={"name": "a program"}).json()
    place, _ = begin(browser)
    duel = Duel(
        id=secrets.token_hex(8),
        account=person.account.id,
        character=CHARACTER,
        base="fake",
        messages=({"role": "user", "content": text},),
        left_run="one",
        right_run="base",
        left_reply="a",
        right_reply="b",
        left_facts={},
        right_facts={},
        sampling={},
    )
    duels.keep(folder, duel)
    things = {
        "duel_id": duel.id,
        "session_id": session_id,
        "message_id": str(messages[0].id),
        "memory_id": str(memory.memory_id),
        "key_id": key["id"],
        "request_id": place.rpartition("/")[2],
    }
    return Owner(person, things)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("owners")


@pytest.fixture(scope="module")
def server(folder) -> Iterator[Running]:
    config = config_with(folder, rating="general")
    with running(make_bot(folder, config=config), config=config, accounts=folder, folder=folder) as started:
        started.door.add_account("owner", PASSWORD, role="admin")
        yield started


@pytest.fixture(scope="module")
def mara(server, folder) -> Iterator[Owner]:
    with logged_in(server, "mara") as person:
        yield settle(server, person, folder)


@pytest.fixture(scope="module")
def jonas(server, folder) -> Iterator[Owner]:
    with logged_in(server, "jonas") as person:
        yield settle(server, person, folder)


# -------------------------------------------------------------------------------------------------------------- tests


def test_every_route_says_who_may_ask_it(server):
    there = set(routes_of(server.app))
    new, gone = sorted(there - set(ROUTES)), sorted(set(ROUTES) - there)

    assert new == [], "say in ROUTES who may ask these"
    assert gone == [], "these are not there any more: take them out of ROUTES"


def test_nothing_but_what_is_open_answers_somebody_without_a_login(server):
    closed = [*routes(ALL), *routes(ADMIN), *routes(Own)]
    answers = {f"{method} {path}": httpx.request(method, server.url + filled(path, {})) for method, path in closed}
    passed = {route: answer.status_code for route, answer in answers.items() if answer.status_code != 401}

    assert passed == {}


@pytest.mark.parametrize("path", ["/", "/theme.css", "/assets/x.js", "/static/x", "/gradio_api/heartbeat/x"])
def test_what_is_mounted_beside_the_routes_answers_nobody_without_a_login(server, path):
    assert httpx.get(server.url + path).status_code == 401


def test_what_is_for_admins_refuses_users_whatever_they_ask_for(server, mara):
    answers = {
        f"{method} {path}": ask(mara.person.browser, method, filled(path, {}), {}) for method, path in routes(ADMIN)
    }
    passed = {
        route: (answer.status_code, answer.text[:80]) for route, answer in answers.items() if answer.status_code != 403
    }

    assert passed == {}


@pytest.mark.parametrize("way", ["session", "key"])
def test_another_accounts_id_gets_the_same_answer_as_none(server, mara, jonas, way):
    """For each id in each address: another account's in its place, and everything else one's own."""
    browser = httpx.Client(base_url=server.url, headers=jonas.person.headers(way), timeout=30)
    differing: dict[str, object] = {}
    for method, path in routes(Own):
        if way == "key" and path.startswith(("/page/account", "/age")):
            continue  # not for keys at all
        who = ROUTES[f"{method} {path}"]
        assert isinstance(who, Own)
        for name in named_in(path):
            seen = []
            for thing in (mara.things[name], _UNKNOWN[name]):
                values = {**jonas.things, name: thing}
                answer = ask(browser, method, filled(path, values), who.body)
                seen.append((answer.status_code, answer.text.replace(thing, "ID")))
            if seen[0] != seen[1] or seen[0][0] != 404:
                differing[f"{method} {path} with another's {name}"] = seen

    browser.close()
    assert differing == {}


def test_the_owner_is_answered_so_that_the_test_above_asks_for_what_is_there(server, mara):
    missing = {}
    for method, path in routes(Own):
        if method == "GET" and "duel_id" not in path:  # a finished one is no longer written
            answer = ask(mara.person.browser, method, filled(path, mara.things))
            if answer.status_code != 200:
                missing[path] = (answer.status_code, answer.text[:120])

    assert missing == {}


def test_ids_in_a_body_reach_nothing_of_another_account(server, mara, jonas):
    memory_id = int(mara.things["memory_id"])
    answers = [
        jonas.person.browser.post(f"/page/characters/{CHARACTER}/memory/forget", json={"ids": ids})
        for ids in ([memory_id], [999_999])
    ]
    still = mara.person.browser.get(f"/page/characters/{CHARACTER}/memory/{memory_id}")

    assert answers[0].status_code == answers[1].status_code
    assert still.status_code == 200


def test_lists_and_searches_show_nothing_of_another_account(mara, jonas):
    paths = (
        "chats",
        "chats/search?q=favourite",
        "memory",
        "memory?q=favourite",
        "memory/counts",
        "memory-export",
        "contexts",
    )
    for path in paths:
        mine, others = (
            owner.person.browser.get(f"/page/characters/{CHARACTER}/{path}").text for owner in (jonas, mara)
        )
        assert mara.things["session_id"] not in mine, path
        assert "one of mara" not in mine, path
        assert jonas.things["session_id"] not in others, path
        assert "one of jonas" not in others, path
