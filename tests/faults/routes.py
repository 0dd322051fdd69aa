"""Every route of the running app, with the body it takes: found in the app itself, so that a new route is met as well.

A handler of this project reads its body in one way, `parse(Model, await request.body())`; the model is looked up from
its source. A route that takes a body in another way must be named here, with the reason.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_PARSED = re.compile(r"\bparse(?:_request)?\(\s*(\w+),")
WRITING = frozenset({"POST", "PUT", "PATCH"})
# Routes that take no body, or bytes: what each of them is given instead.
WITHOUT_FIELDS = {
    "POST /page/characters/{character_id}/chats/import": "a file of another app, as bytes",
    "POST /page/characters/{character_id}/chats/{session_id}/messages/{message_id}/branch": "no body",
    "POST /page/characters/{character_id}/chats/{session_id}/undo": "no body",
    "POST /page/characters/{character_id}/chats/{session_id}/stop": "no body",
    "POST /page/characters/{character_id}/training/stop": "no body",
    "POST /page/characters/{character_id}/runs/{run}/evaluation": "no body",
    "POST /page/characters/{character_id}/duels/{duel_id}/stop": "no body",
    "POST /page/uploads": "a file, as bytes",
    "POST /page/welcome/example": "no body",
    "POST /age/attest": "a form of the door",
    "POST /age/revoke": "a form of the door",
    "POST /age/start": "a form of the door",
    "POST /age/attempts/{request_id}/code": "a form of the door",
    "POST /age/answer/{request_id}": "a form of a wallet",
    "POST /login": "a form of the door",
    "POST /logout": "a form of the door",
}
# Handlers that hand their request to a function that reads it.
BY_HELPER = {f"_add_lore_routes.<locals>.{name}": "_LoreEdit" for name in ("add", "change")}


@dataclass(frozen=True)
class Route:
    """A method at a path.

    Attributes:
        method: Such as `POST`.
        path: With `{name}` for its parts.
        model: What its body is checked against; None when it has none.
    """

    method: str
    path: str
    model: type[BaseModel] | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def names(self) -> tuple[str, ...]:
        """The parts of the path that a visitor fills in."""
        return tuple(re.findall(r"\{(\w+)(?::\w+)?\}", self.path))

    def filled(self, values: dict[str, str]) -> str:
        """Return the path with its parts filled in."""
        return re.sub(r"\{(\w+)(?::\w+)?\}", lambda match: values[match[1]], self.path)


def routes_of(app: FastAPI) -> list[Route]:
    """Return every route that is this project's own; the page's frame behind them is Gradio's."""
    found = []
    for path, methods, endpoint in _endpoints(app):
        for method in sorted(methods - {"HEAD", "OPTIONS"}):
            found.append(Route(method, path, _model(endpoint) if method in WRITING | {"DELETE"} else None))
    return found


def _endpoints(app: FastAPI) -> Iterator[tuple[str, set[str], Callable[..., Any]]]:
    for route in app.routes:
        if hasattr(route, "effective_route_contexts"):
            for context in route.effective_route_contexts():
                yield context.path, set(context.methods), context.endpoint
        elif hasattr(route, "endpoint"):
            yield route.path, set(route.methods), route.endpoint


def _model(endpoint: Callable[..., Any]) -> type[BaseModel] | None:
    found = _PARSED.search(inspect.getsource(endpoint))
    model = endpoint.__globals__.get(found[1] if found else BY_HELPER.get(endpoint.__qualname__, ""))
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def sample(model: type[BaseModel]) -> dict[str, Any]:
    """Return a small body of the right shape; optional fields are filled as well."""
    return {field.alias or name: _value(field.annotation, field) for name, field in model.model_fields.items()}


def _value(kind: Any, field: FieldInfo | None = None) -> Any:
    origin, parts = get_origin(kind), [part for part in get_args(kind) if part is not type(None)]
    if origin is Literal:
        return parts[0]
    if hasattr(kind, "__metadata__"):
        return _value(kind.__origin__, field)
    if origin in (list, tuple, set, frozenset):
        return [_value(parts[0])] if parts and parts[0] is not ... else []
    if origin is dict:
        return {}
    if parts:
        return _value(str if str in parts else parts[0], field)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return sample(kind)
    return {str: "text", int: 1, float: 1.0, bool: True}.get(kind, "text")


def texts_in(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the place of every text in a body."""
    if isinstance(value, str):
        yield place
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts_in(inner, (*place, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from texts_in(inner, (*place, number))


def with_text(value: Any, place: tuple[Any, ...], text: str) -> Any:
    """Return a body with another text at a place."""
    if not place:
        return text
    key, *rest = place
    changed = value.copy()
    changed[key] = with_text(value[key], tuple(rest), text)
    return changed
