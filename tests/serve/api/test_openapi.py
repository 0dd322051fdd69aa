"""The API's own description: it names every route, and no request made up from it ends in a server error."""

from collections.abc import Iterator

import httpx
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from schemathesis.checks import not_a_server_error

from benchmarks.fuzz import fuzz, home_of_one, page_document, serving, talked, with_models
from duologue.config import load_home
from duologue.serve import build_app
from duologue.serve.api import make_routes
from duologue.serve.api.answers import ChatCompletion, ErrorBody, TextCompletion
from tests.serve.api.serving import HELLO, MODEL, post
from tests.serve.running import Running


def document_of(server: Running) -> dict:
    return httpx.get(f"{server.url}/openapi.json", timeout=20).json()


def test_it_names_every_route_of_the_api_and_no_other(server):
    described = {
        (path, method.upper()) for path, operations in document_of(server)["paths"].items() for method in operations
    }
    served = {
        (path, method)
        for route in api_routes()
        for path in [route.path.replace("{model_id:path}", "{model_id}")]
        for method in route.methods
        if "{path:path}" not in path and path != "/openapi.json"
    }

    assert described == served


def api_routes() -> list[APIRoute]:
    return list(flat(make_routes(None)))  # no route looks at the core before it is asked


def flat(router: APIRouter) -> Iterator[APIRoute]:
    for route in router.routes:
        if isinstance(route, APIRoute):
            yield route
        else:
            yield from flat(route.original_router)


def test_every_reference_in_it_leads_somewhere(server):
    document = document_of(server)
    names = set(document["components"]["schemas"])

    assert references(document) <= {f"#/components/schemas/{name}" for name in names}
    assert {"ChatRequest", "ChatCompletion", "ErrorBody"} <= names


def references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(references(inner) for inner in value))
    return set()


def test_no_made_up_request_ends_in_a_server_error(server):
    found = fuzz(server.url, with_models(document_of(server), MODEL, "fake"), num_cases=6, seed=1)

    assert found.faults == []
    assert found.num_cases > 80
    assert {"200", "400", "404"} <= set(found.statuses) <= {"200", "400", "404", "503"}


@pytest.mark.slow
def test_no_made_up_request_of_many_ends_in_a_server_error(server):
    found = fuzz(server.url, with_models(document_of(server), MODEL, "fake"), num_cases=150, seed=2)

    assert found.faults == []
    assert found.num_cases > 1500


@pytest.mark.slow
def test_no_made_up_request_to_the_page_ends_in_a_server_error(tmp_path):
    with home_of_one(tmp_path) as library:
        app = build_app(library, home=load_home(tmp_path))
        bot = library.bot(library.entries()[0].id)
        document = page_document(app, bot, session_ids=talked(bot))
        with serving(app) as url:
            found = fuzz(url, document, num_cases=8, seed=3, checks=(not_a_server_error,))

    assert found.faults == []
    assert {"200", "400", "404"} <= set(found.statuses)


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/chat/completions/x", "/v1/models/a/b/c", "/v1/%ed%a0%80", "/v1/"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_any_other_path_and_method_is_refused_as_json(server, path, method):
    answer = httpx.request(method, f"{server.url}{path}", json={"model": MODEL, "messages": HELLO}, timeout=20)

    assert 400 <= answer.status_code < 500
    assert method == "HEAD" or answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/tokenize", "/completion", "/props", "/metrics", "/health", "/", "/age", "/assets/x"]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "FOO"])
def test_a_wrong_method_is_refused_in_the_words_of_the_api_wherever_it_ends(server, path, method):
    if (path, method) in (("/tokenize", "POST"), ("/completion", "POST")):
        method = "GET"
    answer = httpx.request(method, f"{server.url}{path}", timeout=20)

    assert answer.status_code in (404, 405)
    error = ErrorBody.model_validate(answer.json(), strict=True).error
    assert error.code in ("not_found", "method_not_allowed")
    assert path in error.message


@pytest.mark.parametrize(
    "header",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Accept": "image/png"},
        {"Accept-Encoding": "br"},
        {"Cookie": "a=b; =; ;;"},
    ],
)
def test_odd_headers_change_nothing(server, header):
    with httpx.Client(headers=header, timeout=20) as client:
        body = b'{"model": "lila-quill", "messages": [{"role": "user", "content": "Hello there"}]}'
        assert client.post(f"{server.url}/v1/chat/completions", content=body).status_code == 200


def test_the_answers_are_as_described(server):
    ChatCompletion.model_validate(post(server).json(), strict=True)
    TextCompletion.model_validate(post(server, "/v1/completions", prompt="x").json(), strict=True)
    error = post(server, model="gpt").json()
    assert ErrorBody.model_validate(error, strict=True).error.code == "model_not_found"
