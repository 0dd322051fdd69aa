"""Every route of the API, and those that its clients ask before."""

import time
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from duologue.serve.api.completions import completion_routes
from duologue.serve.api.helpers import helper_routes
from duologue.serve.api.names import Model, find_model, first_model, list_models
from duologue.serve.api.openapi import make_openapi
from duologue.serve.core import Core
from duologue.serve.refusal import ApiError

_LOADING_RETRY_SECONDS = 5.0


def make_routes(core: Core) -> APIRouter:
    """Return the routes of the API."""
    router = APIRouter()
    started = int(time.time())

    @router.api_route("/health", methods=["GET", "HEAD"])  # monitors ask without wanting the body
    def health() -> JSONResponse:
        if core.library.shelf is not None and core.library.shelf.is_waking:
            # In the words of llama.cpp's server (tools/server/README.md, "GET /health").
            loading = ApiError(503, "Loading model", code="loading", retry_after_seconds=_LOADING_RETRY_SECONDS)
            body = {"status": "loading", **loading.body()}
            return JSONResponse(body, status_code=loading.status, headers=loading.headers())
        return JSONResponse({"status": "ok"})

    @router.get("/openapi.json")
    def openapi() -> JSONResponse:
        return JSONResponse(make_openapi())

    @router.get("/v1/models")
    @router.get("/v1/model/list")  # tabbyAPI's name for it
    async def models() -> JSONResponse:
        found = await run_in_threadpool(list_models, core)
        return JSONResponse({"object": "list", "data": [_listed(model, created=started) for model in found]})

    @router.get("/v1/model")  # tabbyAPI's: the one that is loaded
    async def first() -> JSONResponse:
        return JSONResponse(_listed(await run_in_threadpool(first_model, core, None), created=started))

    @router.get("/v1/models/{model_id:path}")
    async def model(model_id: str) -> JSONResponse:
        return JSONResponse(_listed(await run_in_threadpool(find_model, core, model_id), created=started))

    router.include_router(completion_routes(core))
    router.include_router(helper_routes(core))

    @router.api_route("/v1/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
    def no_such_route(request: Request) -> Response:
        raise ApiError(404, f"there is no {request.method} {request.url.path}", code="not_found")

    return router


def _listed(model: Model, *, created: int) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": created,
        "owned_by": "duologue",
        "root": model.root,
        "parent": model.parent,
        "name": model.name,
    }
