"""The OpenAI-compatible routes: chat completions, streamed or whole, the list of models, and health."""

import time
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from duologue.serve.api.wire import Answer, ChatRequest, frame, parse_request
from duologue.serve.core import Core
from duologue.serve.generation import Generation
from duologue.serve.library import Entry
from duologue.serve.refusal import ApiError, as_api_error
from duologue.serve.streams import EventStream, cancelled_on_disconnect

KEEP_ALIVE_SECONDS = 15.0
_FIRST_TOKEN_SECONDS = 5.0  # an error within this time is an HTTP error; a later one comes inside the stream
_KEEP_ALIVE = b": keep-alive\n\n"
_DONE = b"data: [DONE]\n\n"


def make_routes(core: Core) -> APIRouter:
    """Return the routes of the API."""
    router = APIRouter()
    started = int(time.time())

    def model_of(entry: Entry) -> dict[str, object]:
        parent = entry.config.model.base if entry.config else ""
        return {"id": entry.id, "object": "model", "created": started, "owned_by": "duologue", "parent": parent}

    @router.get("/health")
    def health() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @router.get("/v1/models")
    def list_models() -> JSONResponse:
        return JSONResponse({"object": "list", "data": [model_of(entry) for entry in core.library.entries()]})

    @router.get("/v1/models/{model_id}")
    def show_model(model_id: str) -> JSONResponse:
        return JSONResponse(model_of(_find(core, model_id)))

    @router.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        body = parse_request(await request.body())
        entry = _find(core, body.model)
        bot = await run_in_threadpool(core.library.bot, entry.id)
        messages = body.conversation()
        sampling = body.sampling(bot.sampling())
        generation = core.start_reply(
            request.scope, entry, lambda cancel: bot.complete(messages, sampling, cancel=cancel)
        )
        if body.stream:
            return await _stream(body, generation, request)
        return await _whole(body, generation, request)

    @router.api_route("/v1/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def no_such_route(request: Request) -> Response:
        raise ApiError(404, f"there is no {request.method} {request.url.path}", code="not_found")

    return router


def _find(core: Core, name: str) -> Entry:
    entries = core.library.entries()
    found = next((entry for entry in entries if entry.id == name), None)
    if found is None:
        offered = ", ".join(f"'{entry.id}'" for entry in entries)
        raise ApiError(
            404,
            f"the model '{name}' does not exist; this server offers {offered}",
            code="model_not_found",
            param="model",
        )
    return found


async def _whole(body: ChatRequest, generation: Generation, request: Request) -> Response:
    async with cancelled_on_disconnect(generation, request.receive):
        while not generation.is_done:
            await generation.more(len(generation.text), timeout_seconds=KEEP_ALIVE_SECONDS)
    if generation.error:
        raise as_api_error(generation.error)
    assert generation.reply is not None
    return JSONResponse(Answer(body.model).whole(generation.reply))


async def _stream(body: ChatRequest, generation: Generation, request: Request) -> Response:
    async with cancelled_on_disconnect(generation, request.receive):
        await generation.more(0, timeout_seconds=_FIRST_TOKEN_SECONDS)
    if generation.error and not generation.text:
        raise as_api_error(generation.error)
    return EventStream(_frames(body, generation), generation)


async def _frames(body: ChatRequest, generation: Generation) -> AsyncIterator[bytes]:
    answer = Answer(body.model)
    yield frame(answer.chunk({"role": "assistant", "content": ""}))
    num_sent = 0
    while True:
        is_done = generation.is_done  # before the text, so that no piece is missed
        text = generation.text
        if len(text) > num_sent:
            yield frame(answer.chunk({"content": text[num_sent:]}))
            num_sent = len(text)
        if is_done:
            break
        if not await generation.more(num_sent, timeout_seconds=KEEP_ALIVE_SECONDS):
            yield _KEEP_ALIVE
    if generation.error:
        yield frame(as_api_error(generation.error).body())
    else:
        assert generation.reply is not None
        yield frame(answer.chunk({}, finish=generation.reply.finish_reason))
        if body.includes_usage:
            yield frame(answer.usage_chunk(generation.reply))
    yield _DONE
