"""Numbers that no machine holds, in every place of every request where a number may stand: never a server error."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from benchmarks.fuzz import home_of_one, page_document, serving, talked
from duologue.config import load_home
from duologue.serve import build_app
from tests.serve.api.serving import MODEL

ABSURD = (
    "1",
    str(2**63),
    str(-(2**63) - 1),
    str(2**31),
    "9" * 5000,
    "-1",
    "0",
    "-0.0",
    "1e400",
    "5e-324",
    "NaN",
    "-Infinity",
    "true",
    '"7"',
    "[]",
)
IN_PATHS = (str(2**63), "-1", "9" * 5000, "1e400", "NaN")
PLACE = "PLACE-OF-THE-NUMBER"
Place = Callable[[Any], Any]


@dataclass(frozen=True)
class Served:
    """A server, and a description of all that it answers."""

    http: httpx.Client
    operations: Mapping[tuple[str, str], Mapping[str, Any]]
    schemas: Mapping[str, Any]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("home")
    with home_of_one(folder) as library:
        app = build_app(library, home=load_home(folder))
        bot = library.bot(library.entries()[0].id)
        pages = page_document(app, bot, session_ids=talked(bot))
        with serving(app) as url, httpx.Client(base_url=url, timeout=60) as http:
            described = http.get("/openapi.json").json()
            operations = {
                (method.upper(), path): operation
                for document in (described, pages)
                for path, methods in document["paths"].items()
                for method, operation in methods.items()
            }
            yield Served(http, operations, described["components"]["schemas"])


def test_in_bodies(served: Served) -> None:
    places = [
        (method, address(operation, path), body)
        for (method, path), operation in served.operations.items()
        for body in bodies_with_a_place(body_schema(operation), served.schemas)
    ]
    assert len(places) > 60
    fields = {re.findall(r'"(\w+)": [^"]*"' + PLACE, json.dumps(body))[-1] for _, _, body in places}
    assert {"temperature", "seed", "7", "message_id", "max_tokens", "tokens"} <= fields

    taken, errors = 0, []
    for method, path, body in places:
        for number in ABSURD:
            content = json.dumps(body).replace(f'"{PLACE}"', number)
            answer = served.http.request(method, path, content=content, headers={"Content-Type": "application/json"})
            taken += answer.status_code < 400
            if answer.status_code >= 500:
                errors.append((method, path, content[:300], answer.status_code))
    assert errors == []
    assert taken > 100  # the rest of each body is right


def test_as_names_of_tokens(served: Served) -> None:
    for token in ("9" * 5000, str(2**63), "-1", "1e400"):
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "logit_bias": {token: 1}}
        assert served.http.post("/v1/chat/completions", json=body).status_code < 500


def test_in_addresses(served: Served) -> None:
    tried = 0
    for (method, path), operation in served.operations.items():
        names = re.findall(r"{(\w+)}", path)
        for name in names:
            for number in IN_PATHS:
                answer = served.http.request(method, address(operation, path, **{name: number}), json={})
                tried += 1
                assert answer.status_code < 500, (method, path, name, number, answer.text)
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query":
                for number in IN_PATHS:
                    asked = {parameter["name"]: number}
                    answer = served.http.request(method, address(operation, path), params=asked, json={})
                    assert answer.status_code < 500, (method, path, parameter["name"], number, answer.text)
    assert tried > 200


def address(operation: Mapping[str, Any], path: str, **given: str) -> str:
    """Return an address of something that is there, as far as the description names it."""
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            given.setdefault(parameter["name"], str(parameter["schema"].get("enum", [1])[0]))
    return re.sub(r"{(\w+)}", lambda name: given.get(name[1], "1"), path)


def body_schema(operation: Mapping[str, Any]) -> Any:
    content = operation.get("requestBody", {}).get("content", {})
    return content.get("application/json", {}).get("schema", {})


def bodies_with_a_place(schema: Any, schemas: Mapping[str, Any], depth: int = 0) -> list[Any]:
    """Return bodies, each right but for one place where a number belongs."""
    if depth > 6:
        return []
    schema = resolved(schema, schemas)
    if "anyOf" in schema:
        return [body for each in schema["anyOf"] for body in bodies_with_a_place(each, schemas, depth + 1)]
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return [PLACE]
    if kind == "array":
        return [[body] for body in bodies_with_a_place(schema.get("items", {}), schemas, depth + 1)]
    if kind != "object":
        return []
    bodies = []
    fields = schema.get("properties", {})
    needed = {name: right(fields[name], schemas) for name in schema.get("required", ())}
    for name, field in fields.items():
        bodies += [{**needed, name: body} for body in bodies_with_a_place(field, schemas, depth + 1)]
    if isinstance(schema.get("additionalProperties"), dict):
        inside = bodies_with_a_place(schema["additionalProperties"], schemas, depth + 1)
        bodies += [{**needed, "7": body} for body in inside]
    return bodies


def right(schema: Any, schemas: Mapping[str, Any]) -> Any:
    """Return a value that a schema takes."""
    schema = resolved(schema, schemas)
    if "anyOf" in schema:
        return right(schema["anyOf"][0], schemas)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if schema.get("title") == "Model":
        return MODEL
    kind = schema.get("type")
    if kind == "object":
        return {name: right(schema["properties"][name], schemas) for name in schema.get("required", ())}
    if kind == "array":
        return [right(schema["items"], schemas)] if schema.get("minItems") else []
    return {"string": "user", "integer": 1, "number": 1, "boolean": True}.get(kind)


def resolved(schema: Any, schemas: Mapping[str, Any]) -> Any:
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    return schema
