"""What clients ask beside replies: embeddings, tokens, properties, measurements."""

import base64
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

import duologue
from duologue.chat import Bot
from duologue.engine.embed import Embedder, open_embedder
from duologue.errors import DataError, EngineError
from duologue.serve.api.names import Model, first_model, shown
from duologue.serve.api.requests import DetokenizeRequest, EmbeddingsRequest, TokenizeRequest, parse_request
from duologue.serve.core import Core, counted_names
from duologue.serve.refusal import ApiError
from duologue.serve.visitor import visitor_of

TRUNCATED_HEADER = "X-Duologue-Truncated"


def helper_routes(core: Core) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:
        body, _ = parse_request(EmbeddingsRequest, await request.body())
        embedder = _embedder(body)
        await run_in_threadpool(core.limits.take, counted_names(request.scope, visitor_of(request.scope)))
        return await run_in_threadpool(_embed, body, embedder)

    @router.post("/tokenize")
    @router.post("/v1/token/encode")  # tabbyAPI's name for it
    @router.post("/v1/internal/encode")  # text-generation-webui's
    async def tokenize(request: Request) -> JSONResponse:
        await _count(core, request)
        body, _ = parse_request(TokenizeRequest, await request.body())
        bot = await _bot(core, request, body.model)
        tokens = await run_in_threadpool(_encode, bot, body.content)
        counts = {"count": len(tokens), "length": len(tokens)}  # vLLM's name, and that of the two others
        return JSONResponse({"tokens": tokens, **counts, "max_model_len": bot.context_tokens})

    @router.post("/detokenize")
    async def detokenize(request: Request) -> JSONResponse:
        await _count(core, request)
        body, _ = parse_request(DetokenizeRequest, await request.body())
        bot = await _bot(core, request, body.model)
        return JSONResponse({"content": await run_in_threadpool(_decode, bot, body.tokens)})

    @router.get("/props")
    async def props(request: Request, model: str | None = None) -> JSONResponse:
        await _count(core, request)
        found = await run_in_threadpool(first_model, core, model)
        bot = await _bot(core, request, found.id)
        return JSONResponse(await run_in_threadpool(_props, bot, found))

    @router.get(
        "/v1/internal/model/info"
    )  # text-generation-webui's; SillyTavern counts tokens here only if it is there
    async def info() -> JSONResponse:
        found = await run_in_threadpool(first_model, core, None)
        return JSONResponse({"model_name": found.id, "lora_names": []})

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        core.require_admin(request.scope)
        body = await run_in_threadpool(core.metrics.render, core)
        return Response(body, media_type=core.metrics.media_type)

    return router


async def _count(core: Core, request: Request) -> None:
    """Count what may load a model but asks it for no reply, as a request of the page is counted.

    SillyTavern counts the tokens of every message of a long chat by itself: the operator's own machine is not held up.
    """
    visitor = visitor_of(request.scope)
    if visitor.way != "local":
        await run_in_threadpool(core.limits.take_page_request, counted_names(request.scope, visitor))


async def _bot(core: Core, request: Request, name: str | None) -> Bot:
    model = await run_in_threadpool(first_model, core, name)
    core.age.require(visitor_of(request.scope), model.entry.rating)
    return await run_in_threadpool(core.library.bot, model.entry.id, run=model.run)


def _embedder(body: EmbeddingsRequest) -> Embedder:
    embedder = open_embedder("auto")
    if embedder is None:
        raise ApiError(503, "no embedder is installed on this server", code="not_installed", param="model")
    if body.model.casefold().rpartition("/")[2] != embedder.name.casefold():
        raise ApiError(
            404,
            f"the model '{shown(body.model)}' makes no embeddings; '{embedder.name}' does",
            code="model_not_found",
            param="model",
        )
    if body.dimensions not in (None, embedder.dim):
        raise ApiError(400, f"dimensions: {embedder.name} has {embedder.dim}", param="dimensions")
    return embedder


def _embed(body: EmbeddingsRequest, embedder: Embedder) -> JSONResponse:
    vectors = embedder.embed(body.texts)
    num_tokens, num_truncated = embedder.count_tokens(body.texts)
    is_packed = body.encoding_format == "base64"  # what the openai client asks for by itself
    data: list[dict[str, Any]] = [
        {
            "object": "embedding",
            "index": number,
            "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode() if is_packed else row.tolist(),
        }
        for number, row in enumerate(vectors)
    ]
    usage = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    headers = {TRUNCATED_HEADER: str(num_truncated)} if num_truncated else {}
    return JSONResponse({"object": "list", "model": embedder.name, "data": data, "usage": usage}, headers=headers)


def _encode(bot: Bot, text: str) -> list[int]:
    try:
        tokens = list(bot.tokenizer.encode(text))
    except DataError as error:
        raise ApiError(400, error.sentence(), code="unsupported", param="content") from error
    assert bot.context_tokens  # asked here, where it may take the time that loading takes
    return tokens


def _decode(bot: Bot, tokens: list[int]) -> str:
    try:
        return bot.tokenizer.decode(tokens)
    # A number that is no token: each tokenizer says that in its own way.
    except (EngineError, ValueError, OverflowError, IndexError, KeyError, TypeError) as error:
        message = "tokens: one of the numbers is no token of this model"
        raise ApiError(400, message, code="unknown_token", param="tokens") from error


def _props(bot: Bot, model: Model) -> dict[str, Any]:
    """Return what llama.cpp's clients read; its chat template stays here, so that clients send messages."""
    sampling = bot.completions.sampling()
    params = {
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "typical_p": sampling.typical_p,
        "repeat_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "n_predict": sampling.max_new_tokens,
    }
    return {
        "default_generation_settings": {"n_ctx": bot.context_tokens, "params": params},
        "total_slots": 1,
        "model_alias": model.id,
        "model_path": model.id,
        "chat_template": "",
        "build_info": f"duologue {duologue.__version__}",
    }
