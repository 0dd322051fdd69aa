"""Numbers that no field was made for, in every numeric field of every route: refused or taken, never a server error."""

import inspect
import itertools
import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.fuzz import _flat, _inlined, home_of_one, serving, talked, with_models
from duologue.config import load_home
from duologue.serve import build_app
from duologue.serve.page.body import Body

ABSURD = (
    *("9223372036854775808", "-9223372036854775808", "-9223372036854775809", "1e400", "-1e400", "NaN", "-Infinity"),
    *(
        "9" * 5000,
        "-" + "9" * 5000,
        "9" * 299,
        "-0.0",
        "1e-400",
        "0",
        "-1",
        "1.5",
        "true",
        "false",
        '"7"',
        '""',
        "null",
    ),
    *('"' + "9" * 5000 + '"', "[]", "{}", "[9223372036854775808]"),
)
KEYS = ("9" * 5000, "9223372036854775808", "-1", "1e400")  # where a number is the name of a field
MARK = "the number is put here"
# What starts another program, and the accounts: once there is one, nobody else comes in without a login.
LEFT_OUT = ("/training", "/evaluation", "/uploads", "/welcome/", "/page/account")
QUERIES = ("before", "limit", "around", "seen", "companion", "place", "load")


def example(schema: Any, defs: Any) -> Any:
    """Return the least that a schema takes."""
    if "$ref" in schema:
        return example(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return "user" if "user" in schema["enum"] else schema["enum"][0]  # a conversation needs one
    for name in ("anyOf", "oneOf"):
        if name in schema:
            return example(schema[name][0], defs)
    kind = schema.get("type")
    if kind == "object":
        return {name: example(schema["properties"][name], defs) for name in schema.get("required", ())}
    if kind == "array":
        return [example(schema["items"], defs)] if schema.get("minItems") else []
    if kind == "string":
        return "x" * max(1, schema.get("minLength", 1))
    return {"integer": max(1, schema.get("minimum", 1)), "number": 1, "boolean": True}.get(kind)


def places(schema: Any, defs: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every number in a schema; `*` is any name."""
    if "$ref" in schema:
        yield from places(defs[schema["$ref"].rpartition("/")[2]], defs, at)
        return
    if schema.get("type") in ("integer", "number"):
        yield at
    for inner in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from places(inner, defs, at)
    for name, inner in schema.get("properties", {}).items():
        yield from places(inner, defs, (*at, name))
    if isinstance(schema.get("items"), dict):
        yield from places(schema["items"], defs, (*at, 0))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from places(schema["additionalProperties"], defs, (*at, "*"))


def put(body: Any, at: tuple[Any, ...], value: Any, schema: Any) -> Any:
    body = deepcopy(body)
    inner = body
    for name, following in itertools.pairwise(at):
        if isinstance(name, int):
            inner[:] = inner or [{} if isinstance(following, str) else []]
            inner = inner[0]
        else:
            if not isinstance(inner.get(name), dict | list):
                inner[name] = [] if isinstance(following, int) else {}
            inner = inner[name]
    if isinstance(inner, list):
        inner[:] = [value]
    else:
        inner[at[-1]] = value
    return body


def bodies(schema: Any, defs: Any) -> Iterator[tuple[str, bytes]]:
    """Yield bodies that are right but for one number."""
    least = example(schema, defs)
    for at in dict.fromkeys(places(schema, defs)):
        marked = [(at, ABSURD)] if "*" not in at else [((*at[:-1], key), ("1",)) for key in KEYS]
        marked += [((*at[:-1], "7"), ABSURD)] if "*" in at else []
        for place, values in marked:
            text = json.dumps(put(least, place, MARK, schema))
            for value in values:
                yield f"{'.'.join(map(str, place))[:60]} = {value[:30]}", text.replace(f'"{MARK}"', value).encode()


def failed(client: httpx.Client, method: str, path: str, **options: Any) -> bool:
    with client.stream(method, path, headers={"Content-Type": "application/json"}, **options) as answer:
        return answer.status_code >= 500 and answer.status_code != 503


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Any, Any, list[str]]]:
    folder: Path = tmp_path_factory.mktemp("absurd")
    with home_of_one(folder) as library:
        app = build_app(library, home=load_home(folder))
        bot = library.bot(library.entries()[0].id)
        chats = talked(bot, num_chats=1)
        with serving(app) as url, httpx.Client(base_url=url, timeout=30) as client:
            yield client, app, bot, chats


def test_no_absurd_number_in_a_body_of_the_api_is_a_server_error(served):
    client, _, bot, _ = served
    document = with_models(client.get("/openapi.json").json(), bot.model_id)
    defs = document["components"]["schemas"]
    faults, num_sent = [], 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                for what, body in bodies(content["schema"], defs):
                    num_sent += 1
                    if failed(client, method.upper(), path, content=body):
                        faults.append(f"{path}: {what}")

    assert faults == []
    assert num_sent > 1000


def made_up(route: Any, method: str, known: dict[str, str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield what is absurd, address and options of requests that are right but for one number."""
    path = re.sub(r":[a-z]+}", "}", route.path)
    names = re.findall(r"{(\w+)}", path)

    def filled(values: dict[str, str]) -> str:
        return re.sub(r"{(\w+)}", lambda name: values.get(name[1], "1"), path)

    asked = {*QUERIES, *inspect.signature(route.endpoint).parameters} - {"request", "window", *names}
    for value in ABSURD:
        plain = value.strip('"') or "%20"
        for name in names:
            if name.endswith("_id") or name == "place":
                yield f"{name} = {value[:30]}", filled({**known, name: plain}), {}
        if method == "GET":
            yield f"query = {value[:30]}", filled(known), {"params": dict.fromkeys(asked, plain)}
    named = map(route.endpoint.__globals__.get, route.endpoint.__code__.co_names)
    for model in (each for each in named if isinstance(each, type) and issubclass(each, Body)):
        if method != "GET" and model is not Body:
            yield from ((what, filled(known), {"content": body}) for what, body in bodies(_inlined(model), {}))


def test_no_absurd_number_anywhere_in_a_request_of_the_page_is_a_server_error(served):
    client, app, bot, chats = served
    message = str(bot.sessions.path(chats[0])[-1].id)
    known = {"character_id": bot.model_id, "session_id": chats[0], "message_id": message}
    faults, num_sent = [], 0
    for route in _flat(app.router):
        if not route.path.startswith(("/page/", "/v1/", "/age")) or "path:path" in route.path:
            continue
        for method in sorted(route.methods - {"HEAD"}):
            if method != "GET" and any(part in route.path for part in LEFT_OUT):
                continue
            for what, there, options in made_up(route, method, known):
                num_sent += 1
                if failed(client, method, there, **options):
                    faults.append(f"{method} {route.path}: {what}")

    still_there = f"/page/characters/{bot.model_id}/chats/{chats[0]}"
    assert client.get(still_there).status_code == 200
    assert faults == []
    assert num_sent > 1000
