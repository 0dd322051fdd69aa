"""Fault 15: any text through every text field of the server is stored exactly or refused, and never a server error."""

import json

import httpx
import pytest

from tests.faults.naughty import require_no_server_error, texts
from tests.faults.routes import WITHOUT_FIELDS, WRITING, Route, texts_in, with_text
from tests.faults.served import Served

# What these start takes minutes or goes to another process; their bodies are met by the tests of JSON below.
NOT_STARTED = ("POST /page/characters/{character_id}/training", "POST /page/characters/{character_id}/duels")


def writing_routes(home: Served) -> list[Route]:
    return [route for route in home.routes if route.method in WRITING and "{path:path}" not in route.path]


def sent(home: Served, route: Route, body: object) -> httpx.Response:
    """Send JSON whose texts may hold half a surrogate pair."""
    return home.ask(route, content=json.dumps(body).encode(), headers={"Content-Type": "application/json"})


def test_every_route_that_takes_a_body_is_known_with_its_fields(home):
    unknown = [str(route) for route in writing_routes(home) if not route.model and str(route) not in WITHOUT_FIELDS]
    assert unknown == []
    gone = set(WITHOUT_FIELDS) - {str(route) for route in home.routes} - {"POST /login", "POST /logout"}
    assert gone == set()


def test_no_two_routes_answer_to_the_same_method_and_path(home):
    names = [str(route) for route in home.routes]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def through_every_field(home: Served, strings: list[str], *, each: int) -> int:
    """Send `each` of the strings through every field, in turn, so that all of them are sent by the end."""
    count = 0
    for route in writing_routes(home):
        if route.model is None or str(route) in NOT_STARTED:
            continue
        body = home.body(route)
        for place in texts_in(body):
            for _ in range(each):
                text = strings[count % len(strings)]
                answer = sent(home, route, with_text(body, place, text))
                require_no_server_error(answer, f"{route} {place} {text[:40]!r}")
                count += 1
                if answer.is_success and "version" in body:
                    body = home.body(route)  # the card has changed
        home.wait_until_idle()
    return count


def test_no_text_in_any_field_is_a_server_error(home, shared_data):
    assert through_every_field(home, texts(shared_data, every=20), each=2) > 100


@pytest.mark.load
def test_no_naughty_string_in_any_field_is_a_server_error(home, shared_data):
    strings = texts(shared_data, every=1)
    assert through_every_field(home, strings, each=len(strings)) > 25_000


def test_no_text_in_a_query_is_a_server_error(home, shared_data):
    for path in ("chats/search", "memory", "memory-export", "contexts"):
        for text in texts(shared_data, every=120):
            asked = text.encode("utf-8", "surrogatepass")[:2_000].decode("utf-8", "replace")
            for name in ("text", "search", "query", "form", "kind"):
                answer = home.client.get(home.path(path), params={name: asked})
                require_no_server_error(answer, f"{path}?{name}={asked[:40]!r}")
