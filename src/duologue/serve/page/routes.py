"""What the page's elements ask: `/page/`. It is private to the page: it may change with any version."""

from collections.abc import Callable
from importlib import resources

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from duologue.serve.core import Core, counted_names
from duologue.serve.library import Entry
from duologue.serve.page.card_tokens import token_routes
from duologue.serve.page.characters import character_routes
from duologue.serve.page.context import context_routes
from duologue.serve.page.memory import memory_routes
from duologue.serve.page.settings import settings_routes
from duologue.serve.page.talk import talk_routes
from duologue.serve.page.train import train_routes
from duologue.serve.page.words import LANGUAGES, words
from duologue.serve.refusal import ApiError
from duologue.serve.visitor import visitor_of

_FAULT = "This character cannot be opened at the moment."  # the fault itself names files of the operator
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_PARTS = (
    *(talk_routes, character_routes, token_routes, memory_routes),
    *(context_routes, train_routes, settings_routes),
)


def make_page_routes(core: Core) -> APIRouter:
    """Return every route under `/page/`."""
    router = APIRouter(prefix="/page")
    counted = APIRouter(dependencies=[Depends(_counting(core))])

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        files = {file.name: file for file in resources.files(__package__).joinpath("static").iterdir()}
        suffix = "." + name.rpartition(".")[2]
        if name not in files or suffix not in _TYPES:
            raise ApiError(404, f"there is no /page/static/{name}", code="not_found")
        return Response(files[name].read_bytes(), media_type=_TYPES[suffix], headers={"Cache-Control": "no-cache"})

    @router.get("/words/{language}")
    def say(language: str) -> JSONResponse:
        if language not in LANGUAGES:
            raise ApiError(404, f"the page does not speak '{language}'", code="not_found")
        return JSONResponse(words(language), headers={"Cache-Control": "no-cache"})

    @counted.get("/state")
    async def state(request: Request) -> JSONResponse:
        visitor = visitor_of(request.scope)
        entries = await run_in_threadpool(core.library.entries)
        return JSONResponse(
            {
                "visitor": {"name": visitor.name, "role": visitor.role, "way": visitor.way},
                "characters": [_listed(entry, shows_fault=visitor.role == "admin") for entry in entries],
                "is_single": core.library.is_single,
                "rating": core.home.guard.rating,
                "discloses_ai": core.home.guard.discloses_ai,
                "break_reminder_minutes": core.home.guard.break_reminder_minutes,
                "languages": LANGUAGES,
            }
        )

    for make in _PARTS:
        counted.include_router(make(core))

    @counted.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def no_such_route(request: Request) -> Response:
        raise ApiError(404, f"there is no {request.method} {request.url.path}", code="not_found")

    router.include_router(counted)
    return router


def _counting(core: Core) -> Callable[[Request], None]:
    """Return what counts every request of a visitor; replies are counted where they are started as well."""

    def count(request: Request) -> None:
        core.limits.take_page_request(counted_names(request.scope, visitor_of(request.scope)))

    return count


def _listed(entry: Entry, *, shows_fault: bool) -> dict[str, object]:
    return {
        "id": entry.id,
        "name": entry.name,
        "rating": entry.rating,
        "is_trained": bool(entry.runs),
        "has_picture": entry.card is not None and entry.card.suffix.lower() in (".png", ".charx"),
        "fault": entry.fault if shows_fault else entry.fault and _FAULT,
    }
