"""The app: the API, the page at `/`, and the guards around both."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Mount

from duologue.config import Home
from duologue.errors import DuologueError
from duologue.guard import Limits, Rating
from duologue.serve.api import make_routes
from duologue.serve.core import Core
from duologue.serve.cross_origin import CrossOrigin, check_origins
from duologue.serve.crowd import Crowd, InCrowd
from duologue.serve.door import Access, Door
from duologue.serve.ending import Ending, EndsWithServer
from duologue.serve.forwarded import Forwarded
from duologue.serve.generation import Generations
from duologue.serve.library import Library
from duologue.serve.limits import BodyLimit, KnownPaths, SafeHeaders
from duologue.serve.metrics import Measured, note_refusal
from duologue.serve.quota_headers import QuotaHeaders
from duologue.serve.refusal import ApiError, as_api_error

log = logging.getLogger("duologue.serve")
_CLOSE_SECONDS = 2.0
_CODES = {403: "forbidden", 404: "not_found", 405: "method_not_allowed"}
_GRADIO_SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",  # nothing leaves the machine
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",  # nor is anything counted in memory after every click
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**9),
}


@dataclass(frozen=True, slots=True)
class ServeFacts:
    """What the server must know about its app.

    Attributes:
        generations: The replies that run.
        rating: The content rating.
        door: Who may come in.
        crowd: The requests that are worked on.
        ending: How far the end of the server has come.
        shutdown_seconds: Time the end may take.
    """

    generations: Generations
    rating: Rating
    door: Door
    crowd: Crowd
    ending: Ending = field(default_factory=Ending)
    shutdown_seconds: float = 5.0


def build_app(
    library: Library, *, home: Home, api_key: str = "", redis_url: str = "", door: Door | None = None
) -> FastAPI:
    """Return the ASGI app for a home of characters: OpenAI-compatible API, web page, and guards around both.

    Args:
        library: The characters; its owner closes it after the server has ended.
        home: Limits, rating and addresses.
        api_key: Needed for API and page; empty lets visitors from this machine in without one.
        redis_url: Where replicas count together what visitors ask for; empty counts in this process.
        door: Who may come in; by default the accounts in the library's folder and the key.
    """
    os.environ.update(_GRADIO_SETTINGS)  # read when Gradio is imported
    from duologue.serve.door.routes import make_door_routes
    from duologue.serve.page import make_page_routes, mount_page

    generations = Generations(home.server.max_waiting, max_running=home.server.max_models, per_lane=library.num_replies)
    limits = Limits(home.guard, redis_url=redis_url)
    door = door or Door.open(library.root, home, shared_key=api_key)
    core = Core(home, library, generations, limits, door.age)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        generations.close(timeout_seconds=_CLOSE_SECONDS)
        limits.close()
        door.close()

    entries = library.entries()
    title = entries[0].name if len(entries) == 1 else "duologue"
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    crowd = Crowd(home.server.max_waiting + home.server.max_models * library.num_replies)
    facts = app.state.facts = ServeFacts(
        generations, home.guard.rating, door, crowd, shutdown_seconds=home.server.shutdown_seconds
    )
    _answer_errors(app)
    app.include_router(make_routes(core))
    app.include_router(make_door_routes(door, library))
    app.include_router(make_page_routes(core))

    async def mount() -> None:
        mount_page(app, title=title)

    _run(mount())
    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, FastAPI):
            _answer_errors(route.app)  # Gradio has what no route of ours takes, wrong methods of ours included
    # The last one added is the outermost.
    app.add_middleware(QuotaHeaders, quotas=limits.quotas)
    app.add_middleware(Access, door=door, title=title)
    app.add_middleware(InCrowd, crowd=facts.crowd)
    app.add_middleware(BodyLimit)
    app.add_middleware(KnownPaths)
    app.add_middleware(EndsWithServer, ending=facts.ending)
    check_origins(home.server.allowed_origins)  # now, and not with the first request
    app.add_middleware(CrossOrigin, origins=home.server.allowed_origins)
    app.add_middleware(SafeHeaders, frame_ancestors=door.site.frame_ancestors)
    app.add_middleware(Forwarded, trusted_proxies=home.server.trusted_proxies)
    app.add_middleware(Measured, metrics=core.metrics)
    return app


def _run(work: Coroutine[None, None, None]) -> None:
    """Run to the end inside an event loop: outside one, Gradio makes several and never closes them."""
    with ThreadPoolExecutor(1) as pool:  # a thread of its own, because the caller may run in a loop
        pool.submit(asyncio.run, work).result()


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> JSONResponse:
        note_refusal(request.scope, error.code)
        return JSONResponse(error.body(), status_code=error.status, headers=error.headers())

    @app.exception_handler(DuologueError)
    async def house_error(request: Request, error: DuologueError) -> JSONResponse:
        return await refused(request, as_api_error(error))

    @app.exception_handler(RequestValidationError)
    async def wrong_address(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = [(".".join(str(part) for part in each["loc"][1:]), each["msg"]) for each in error.errors()]
        message = "; ".join(f"{field}: {fault}" for field, fault in faults)
        return await refused(request, ApiError(400, message, code="invalid_address", param=faults[0][0]))

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {request.url.path}: {error.detail}"
        return await refused(request, ApiError(error.status_code, message, code=_CODES.get(error.status_code, "")))

    @app.exception_handler(Exception)
    async def our_fault(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return await refused(request, ApiError(500, "the server failed; its log says why", code="internal_error"))
