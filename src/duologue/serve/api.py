"""The OpenAI-compatible routes: chat completions, streamed or whole, the list of models, and health."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from duologue.chat import Bot
from duologue.serve.generation import Generation, Generations
from duologue.serve.protocol import Answer, ApiError, ChatRequest, as_api_error, frame, parse_request

KEEP_ALIVE_SECONDS = 15.0
_FIRST_TOKEN_SECONDS = 5.0  # an error within this time is an HTTP error; a later one comes inside the stream
_SEND_SECONDS = 60.0  # a client that stops reading is dropped after this time
_KEEP_ALIVE = b": keep-alive\n\n"
_DONE = b"data: [DONE]\n\n"


def make_routes(bot: Bot, *, generations: Generations) -> APIRouter:
    """Return the routes of the API for one character."""
    router = APIRouter()
    started = int(time.time())
    model = {"id": bot.model_id, "object": "model", "created": started, "owned_by": "duologue", "parent": bot.base_id}

    @router.get("/health")
    def health() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @router.get("/v1/models")
    def list_models() -> JSONResponse:
        return JSONResponse({"object": "list", "data": [model]})

    @router.get("/v1/models/{model_id}")
    def show_model(model_id: str) -> JSONResponse:
        _check_model(model_id, bot)
        return JSONResponse(model)

    @router.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        body = parse_request(await request.body())
        _check_model(body.model, bot)
        messages = body.conversation()
        sampling = body.sampling(bot.sampling())
        generation = generations.start(lambda cancel: bot.complete(messages, sampling, cancel=cancel))
        if body.stream:
            return await _stream(body, generation, request)
        return await _whole(body, generation, request)

    @router.api_route("/v1/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def no_such_route(request: Request) -> Response:
        raise ApiError(404, f"there is no {request.method} {request.url.path}", code="not_found")

    return router


def _check_model(name: str, bot: Bot) -> None:
    if name != bot.model_id:
        raise ApiError(
            404,
            f"the model '{name}' does not exist; this server offers '{bot.model_id}'",
            code="model_not_found",
            param="model",
        )


async def _whole(body: ChatRequest, generation: Generation, request: Request) -> Response:
    async with _cancelled_on_disconnect(generation, request.receive):
        while not generation.is_done:
            await generation.more(len(generation.text), timeout_seconds=KEEP_ALIVE_SECONDS)
    if generation.error:
        raise as_api_error(generation.error)
    assert generation.reply is not None
    return JSONResponse(Answer(body.model).whole(generation.reply))


async def _stream(body: ChatRequest, generation: Generation, request: Request) -> Response:
    async with _cancelled_on_disconnect(generation, request.receive):
        await generation.more(0, timeout_seconds=_FIRST_TOKEN_SECONDS)
    if generation.error and not generation.text:
        raise as_api_error(generation.error)
    return _EventStream(_frames(body, generation), generation)


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


class _EventStream(Response):
    """Server-sent events whose reply is stopped when the client goes away or stops reading."""

    def __init__(self, frames: AsyncIterator[bytes], generation: Generation) -> None:
        super().__init__(
            media_type="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )
        del self.headers["content-length"]
        self._frames = frames
        self._generation = generation

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        async with _cancelled_on_disconnect(self._generation, receive):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            try:
                async for part in self._frames:
                    async with asyncio.timeout(_SEND_SECONDS):
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            except (TimeoutError, OSError):
                self._generation.cancel.set()


@contextlib.asynccontextmanager
async def _cancelled_on_disconnect(generation: Generation, receive: Receive) -> AsyncIterator[None]:
    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        generation.cancel.set()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except BaseException:
        generation.cancel.set()
        raise
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher
