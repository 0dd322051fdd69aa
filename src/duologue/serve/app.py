"""The app: the API, the page at `/`, and the guards around both."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from duologue.config import Home
from duologue.errors import DuologueError
from duologue.guard import Limits, Rating
from duologue.serve.access import Access
from duologue.serve.age import AgeGate
from duologue.serve.api import make_routes
from duologue.serve.core import Core
from duologue.serve.ending import EndsWithServer
from duologue.serve.generation import Generations
from duologue.serve.library import Library
from duologue.serve.limits import BodyLimit, KnownPaths, SafeHeaders
from duologue.serve.refusal import ApiError, as_api_error

log = logging.getLogger("duologue.serve")
_CLOSE_SECONDS = 2.0
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
        has_api_key: Whether visitors need a key.
        rating: The content rating.
        ending: Set when the server is to end.
    """

    generations: Generations
    has_api_key: bool
    rating: Rating
    ending: asyncio.Event = field(default_factory=asyncio.Event)


def build_app(library: Library, *, home: Home, api_key: str = "") -> FastAPI:
    """Return the ASGI app for a home of characters: OpenAI-compatible API, web page, and guards around both.

    Args:
        library: The characters; its owner closes it after the server has ended.
        home: Limits, rating and addresses.
        api_key: Needed for API and page; empty lets visitors from this machine in without one.
    """
    os.environ.update(_GRADIO_SETTINGS)  # read when Gradio is imported
    from duologue.serve.page import make_page_routes, mount_page

    generations = Generations(home.server.max_waiting)
    core = Core(home, library, generations, Limits(home.guard), AgeGate())

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        generations.close(timeout_seconds=_CLOSE_SECONDS)

    entries = library.entries()
    title = entries[0].name if len(entries) == 1 else "duologue"
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    facts = app.state.facts = ServeFacts(generations, bool(api_key), home.guard.rating)
    _answer_errors(app)
    app.include_router(make_routes(core))
    app.include_router(make_page_routes(core))

    async def mount() -> None:
        mount_page(app, title=title)

    _run(mount())
    # The last one added is the outermost.
    app.add_middleware(EndsWithServer, ending=facts.ending)
    app.add_middleware(Access, api_key=api_key, title=title)
    app.add_middleware(BodyLimit)
    app.add_middleware(KnownPaths)
    app.add_middleware(SafeHeaders)
    return app


def _run(work: Coroutine[None, None, None]) -> None:
    """Run to the end inside an event loop: outside one, Gradio makes several and never closes them."""
    with ThreadPoolExecutor(1) as pool:  # a thread of its own, because the caller may run in a loop
        pool.submit(asyncio.run, work).result()


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body(), status_code=error.status, headers=error.headers())

    @app.exception_handler(DuologueError)
    async def house_error(request: Request, error: DuologueError) -> JSONResponse:
        return await refused(request, as_api_error(error))

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> JSONResponse:
        return await refused(
            request, ApiError(error.status_code, f"{request.method} {request.url.path}: {error.detail}")
        )

    @app.exception_handler(Exception)
    async def our_fault(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return await refused(request, ApiError(500, "the server failed; its log says why", code="internal_error"))
