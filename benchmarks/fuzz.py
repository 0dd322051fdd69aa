"""Requests made up from the server's own description, right ones and wrong ones: none may end in a server error.

Schemathesis (Hatfield-Dodds and Dygalo, ICSE 2022) reads the OpenAPI document and sends what fits it (positive mode)
and what does not (negative mode). Every answer must have a status, a content type and a body that the document
names, a wrong request must be refused, and nothing may end with a status of 500. The engine is the fake one: what is
under test is everything between the socket and the model. Cases add up over runs in the results file.

    python benchmarks/fuzz.py --cases 500 --out benchmarks/results/fuzz.json     # per operation and mode; minutes
    python benchmarks/fuzz.py --cases 50 --page                                  # the page's own routes as well
"""

import argparse
import contextlib
import json
import platform
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import schemathesis
import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok

from duologue.characters import LILA_FOLDER
from duologue.chat import Bot, open_bot
from duologue.config import CONFIG_NAME, Config, load_home
from duologue.engine import Adapter, Shelf
from duologue.serve import Library, build_app
from duologue.serve.page.body import Body

MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
GOAL = 100_000
_SECONDS = 20
_LENGTHS = ("maxLength", "maxItems", "maxProperties")
_FEW = 64
_CONFIG = """[model]
base = "fake"
[data]
train = ["none.json"]
[character]
card = "character.png"
"""
_HOME = """[guard]
requests_per_minute = 1000000000
burst = 1000000000
page_requests_per_minute = 1000000000
reply_tokens_per_minute = 1000000000
reply_tokens_per_day = 1000000000000
"""
_REFUSED = ["400", "403", "404", "405", "413", "415", "503"]  # 413: some wrong requests are wrong by their length
Checks = Sequence[Callable[..., Any]]
_LEFT_OUT = (".train", ".duel", ".conversations", ".welcome", ".door")
_REMOVES_ALL = ("DELETE", "/page/characters/{character_id}")
_SOUND: Checks = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@dataclass(slots=True)
class Found:
    """What came of a round.

    Attributes:
        cases: Requests sent, by mode.
        statuses: Answers by status.
        faults: What was wrong, with the request that shows it.
    """

    cases: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def num_cases(self) -> int:
        """Requests sent in all modes."""
        return sum(self.cases.values())


def fuzz(
    url: str, document: Mapping[str, Any], *, num_cases: int, seed: int, only: str = "", checks: Checks = _SOUND
) -> Found:
    """Send made-up requests to a running server.

    Args:
        url: Its address.
        document: The OpenAPI document of the routes to try.
        num_cases: For each operation and mode; an operation without parameters has fewer.
        seed: Makes the same requests again.
        only: Only operations whose path contains this text.
        checks: What an answer must be; in negative mode a refusal besides, where answers are described.
    """
    found = Found()
    schema = schemathesis.openapi.from_dict(deepcopy(dict(document)))
    schema.config.update(base_url=url)
    schema.config.checks.negative_data_rejection.expected_statuses = _REFUSED
    with requests.Session() as session:
        operations = []
        for result in schema.get_all_operations():
            assert isinstance(result, Ok), result.err()
            operations.append(result.ok())
        for operation in sorted(operations, key=_removes):
            if only in operation.path:
                for mode in MODES:
                    wanted = [*checks, *([negative_data_rejection] if mode is MODES[1] and checks is _SOUND else [])]
                    _try(operation, mode, found, send=_Send(session, wanted), num_cases=num_cases, seed=seed)
    return found


def _removes(operation: Any) -> int:  # noqa: ANN401  (schemathesis' own)
    """Return what operations are sorted by: what removes things comes last, parts before the whole.

    Otherwise most of the rest would be asked of what is no longer there.
    """
    return 100 - int(operation.path.count("/")) if operation.method.upper() == "DELETE" else 0


def page_document(app: FastAPI, bot: Bot, *, session_ids: Sequence[str]) -> dict[str, Any]:
    """Return a description of the page's own routes, which have none: paths as served, bodies as their handlers read.

    Characters, chats and messages are those that are there, and now and then one that is not.

    Left out are routes that start another program, such as a training run, and those that end the round for all
    others: accounts, after which nobody comes in without one, and removing the character.
    """
    paths: dict[str, Any] = {}
    message_ids = {said.id for session_id in session_ids for said in bot.sessions.path(session_id)}
    known: dict[str, list[Any]] = {
        "character_id": [bot.model_id],
        "session_id": [*session_ids, "none"],
        "message_id": [*sorted(message_ids), 0],
    }
    for route in _flat(app.router):
        if _is_tried(route):
            path = re.sub(r":[a-z]+}", "}", route.path)
            for method in sorted((route.methods or set()) - {"HEAD"}):
                if (method, path) == _REMOVES_ALL:
                    continue
                operation: dict[str, Any] = {"responses": {"default": {"description": "any"}}}
                operation["parameters"] = [
                    {"name": name, "in": "path", "required": True, "schema": _of_name(name, known)}
                    for name in re.findall(r"{(\w+)}", path)
                ]
                if method != "GET":
                    content = {"application/json": {"schema": _body_of(route)}}
                    operation["requestBody"] = {"required": True, "content": content}
                paths.setdefault(path, {})[method.lower()] = operation
    return {"openapi": "3.1.0", "info": {"title": "page", "version": "1"}, "paths": paths, "components": {}}


def _flat(router: Any) -> Iterator[Any]:  # noqa: ANN401  (FastAPI's own)
    """Yield routes with the whole of their paths, from routers inside routers as well."""
    for route in router.routes:
        if isinstance(route, APIRoute):
            yield route
        elif (inside := getattr(route, "effective_route_contexts", None)) is not None:
            yield from inside()


def _is_tried(route: Any) -> bool:  # noqa: ANN401  (FastAPI's own)
    if not route.path.startswith("/page/") or "{path:path}" in route.path:
        return False
    is_left_out = any(module in route.endpoint.__module__ for module in _LEFT_OUT)
    return not is_left_out or route.methods == {"GET"}


def _of_name(name: str, known: Mapping[str, list[Any]]) -> dict[str, Any]:
    if name in known:
        return {"enum": known[name]}
    text = {"type": "string", "minLength": 1, "maxLength": 40}
    return {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 30}, text]} if name.endswith("_id") else text


def _body_of(route: Any) -> dict[str, Any]:  # noqa: ANN401  (FastAPI's own)
    """Return the bodies that a handler names, or any object."""
    code, known = route.endpoint.__code__, route.endpoint.__globals__
    named = [known.get(name) for name in code.co_names]
    models = [model for model in named if isinstance(model, type) and issubclass(model, Body) and model is not Body]
    return {"anyOf": [_inlined(model) for model in models]} if models else {"type": "object"}


def _inlined(model: type[Body]) -> dict[str, Any]:
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def put_in(value: Any) -> Any:  # noqa: ANN401  (JSON)
        if isinstance(value, dict):
            if "$ref" in value:
                return put_in(parts[value["$ref"].rpartition("/")[2]])
            return {key: put_in(inner) for key, inner in value.items()}
        return [put_in(inner) for inner in value] if isinstance(value, list) else value

    return dict(put_in(schema))


def with_models(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the document with the models' names in it, so that right requests get as far as a model.

    Largest lengths are left out: what is longer takes seconds to make up, and tests of their own send it.
    """
    named: dict[str, Any] = _without_lengths(dict(document))
    for schema in named["components"]["schemas"].values():
        if schema.get("title", "").endswith("Request") and "model" in schema["properties"]:
            is_needed = "model" in schema.get("required", ())
            schema["properties"]["model"] = {"enum": [*names, *(() if is_needed else (None, ""))]}
    return named


def talked(bot: Bot, *, num_chats: int = 3) -> list[str]:
    """Have some chats of a few turns; return their ids. They are few, so that a message drawn is often of the chat."""
    session_ids = [bot.new_session() for _ in range(num_chats)]
    for session_id in session_ids:
        for text in ("Hello there.", "Tell me more."):
            list(bot.reply(session_id, text, cancel=threading.Event()))
    return session_ids


@dataclass(frozen=True, slots=True)
class _Send:
    session: requests.Session
    checks: Checks


def _without_lengths(value: Any) -> Any:  # noqa: ANN401  (JSON)
    if isinstance(value, dict):
        large = {name for name in _LENGTHS if isinstance(value.get(name), int) and value[name] > _FEW}
        return {key: _without_lengths(inner) for key, inner in value.items() if key not in large}
    return [_without_lengths(inner) for inner in value] if isinstance(value, list) else value


def _try(
    operation: Any,  # noqa: ANN401  (schemathesis' own)
    mode: GenerationMode,
    found: Found,
    *,
    send: _Send,
    num_cases: int,
    seed: int,
) -> None:
    @seeded(seed)
    @settings(
        max_examples=num_cases,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def try_one(case: Any) -> None:  # noqa: ANN401  (schemathesis' Case)
        found.cases[mode.value] = found.cases.get(mode.value, 0) + 1
        answer = case.call(session=send.session, timeout=_SECONDS)
        status = str(answer.status_code)
        found.statuses[status] = found.statuses.get(status, 0) + 1
        case.validate_response(answer, checks=send.checks)

    try:
        with contextlib.suppress(Unsatisfiable):  # without parameters there is no wrong request
            try_one()
    except (Exception, FailureGroup) as error:  # noqa: BLE001  (every kind of fault is a finding)
        found.faults.append(f"{mode.value} {operation.label}: {error}")


@contextlib.contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an app and yield its address."""
    is_ready = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:  # noqa: ANN401  (uvicorn's own)
            await super().startup(sockets)
            is_ready.set()

    server = Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert is_ready.wait(60)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


@contextlib.contextmanager
def home_of_one(folder: Path) -> Iterator[Library]:
    """Make a home with the shipped character on the fake engine, with limits that no fuzzing reaches."""
    place = folder / "lila"
    place.mkdir()
    shutil.copy(LILA_FOLDER / "character.png", place)
    (place / CONFIG_NAME).write_text(_CONFIG, encoding="utf-8")
    (folder / "home.toml").write_text(_HOME, encoding="utf-8")
    home, shelf = load_home(folder), Shelf(1)

    def open_one(folder: Path, config: Config, *, adapter: Adapter | None) -> Bot:
        return open_bot(folder, config, engine="fake", adapter=adapter, shelf=shelf)

    library = Library(folder, home, open_bot=open_one)
    try:
        yield library
    finally:
        library.close()
        shelf.close()


def main() -> None:
    """Fuzz, and add to the counts of earlier runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200, help="cases per operation and mode")
    parser.add_argument("--seed", type=int, default=None, help="a new one for every run by default")
    parser.add_argument("--only", default="", help="only paths that contain this text")
    parser.add_argument("--page", action="store_true", help="the page's own routes in place of the API")
    parser.add_argument("--out", type=Path, default=None)
    words = parser.parse_args()
    seed = int(time.time()) if words.seed is None else words.seed
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, home_of_one(Path(folder)) as library:
        app = build_app(library, home=load_home(Path(folder)))
        bot = library.bot(library.entries()[0].id)
        with serving(app) as url:
            if words.page:
                document = page_document(app, bot, session_ids=talked(bot))
                checks: Checks = (not_a_server_error,)
            else:
                document = requests.get(f"{url}/openapi.json", timeout=_SECONDS).json()
                document, checks = with_models(document, bot.model_id, "fake"), _SOUND
            found = fuzz(url, document, num_cases=words.cases, seed=seed, only=words.only, checks=checks)
    run = {
        "routes": "page" if words.page else "api",
        "seed": seed,
        "cases": found.cases,
        "statuses": dict(sorted(found.statuses.items())),
        "num_faults": len(found.faults),
        "seconds": round(time.monotonic() - started),
        "schemathesis": schemathesis.__version__,
        "python": platform.python_version(),
    }
    for fault in found.faults:
        print(fault, "\n")
    result = run if words.out is None else added(words.out, run)
    print(json.dumps(result, indent=2))
    if found.faults:
        raise SystemExit(1)


def added(out: Path, run: dict[str, Any]) -> dict[str, Any]:
    """Write a run behind the earlier ones and return all of them, with their sums."""
    runs = json.loads(out.read_text(encoding="utf-8"))["runs"] if out.is_file() else []
    runs.append(run)
    num_cases = sum(sum(each["cases"].values()) for each in runs)
    document = {
        "num_cases": num_cases,
        "goal": GOAL,
        "num_server_errors": sum(
            count for each in runs for status, count in each["statuses"].items() if status.startswith("5")
        ),
        "num_faults": sum(each["num_faults"] for each in runs),
        "runs": runs,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return document


if __name__ == "__main__":
    main()
