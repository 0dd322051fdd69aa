"""`/v1/chat/completions`, `/v1/completions`, and llama.cpp's `/completion`."""

import threading
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from duologue.chat import Bot, ReplyStream, is_urgent
from duologue.engine import Sampling
from duologue.serve.api.answers import ChatShape, LlamaShape, Shape, TextShape
from duologue.serve.api.names import Model, find_model, first_model
from duologue.serve.api.replying import Replying
from duologue.serve.api.requests import Asking, ChatRequest, CompletionRequest, RawRequest, parse_request
from duologue.serve.api.samplers import missing_settings
from duologue.serve.core import Core
from duologue.serve.visitor import visitor_of

Ask = Callable[[Bot, Sampling, threading.Event], ReplyStream]


def completion_routes(core: Core) -> APIRouter:
    """Return the routes on which a model speaks."""
    router = APIRouter()

    @router.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body, document = parse_request(ChatRequest, await request.body())
        model = await run_in_threadpool(find_model, core, body.model)
        messages = body.conversation()
        user = visitor_of(request.scope).account if model.kind == "character" else ""

        def ask(bot: Bot, sampling: Sampling, cancel: threading.Event) -> ReplyStream:
            if model.kind != "character":
                return bot.completions.of_model(
                    messages, sampling, cancel=cancel, goes_on=body.goes_on, is_tuned=model.kind == "adapter"
                )
            return bot.completions.of_character(
                messages, sampling, cancel=cancel, user=user, goes_on=body.goes_on, has_memory=body.memory is not False
            )

        asked = _Asked(body, document, model, user=user, ask=ask)
        return await asked.answer(core, request, ChatShape(body.model), is_stripped=not body.is_opened)

    @router.post("/v1/completions")
    async def text(request: Request) -> Response:
        body, document = parse_request(CompletionRequest, await request.body())
        model = await run_in_threadpool(first_model, core, body.model)

        def ask(bot: Bot, sampling: Sampling, cancel: threading.Event) -> ReplyStream:
            return bot.completions.of_text(body.text, sampling, cancel=cancel, is_tuned=model.kind != "base")

        asked = _Asked(body, document, model, user="", ask=ask)
        return await asked.answer(core, request, TextShape(body.model or model.id), is_stripped=False)

    @router.post("/completion")
    async def llama(request: Request) -> Response:
        body, document = parse_request(RawRequest, await request.body())
        model = await run_in_threadpool(first_model, core, body.model)

        def ask(bot: Bot, sampling: Sampling, cancel: threading.Event) -> ReplyStream:
            return bot.completions.of_text(body.text, sampling, cancel=cancel, is_tuned=model.kind != "base")

        asked = _Asked(body, document, model, user="", ask=ask)
        return await asked.answer(core, request, LlamaShape(model.id), is_stripped=False)

    return router


class _Asked:
    """A request for a reply, on its way to the model."""

    def __init__(self, body: Asking, document: dict[str, Any], model: Model, *, user: str, ask: Ask) -> None:
        self._body = body
        self._model = model
        self._user = user
        self._ask = ask
        self._ignored = list(missing_settings(document))
        self._with_care = False  # somebody in a crisis has said so: no model is asked

    async def answer(self, core: Core, request: Request, shape: Shape, *, is_stripped: bool) -> Response:
        self._body.form.require_allowed(visitor_of(request.scope).role)
        self._with_care = await run_in_threadpool(is_urgent, self._body.last_said)
        bot = await run_in_threadpool(core.library.bot, self._model.entry.id, run=self._model.run)
        generation = await run_in_threadpool(
            core.start_reply,
            request.scope,
            self._model.entry,
            lambda cancel: self._open(bot, cancel),
            bot=bot,
            is_urgent=self._with_care,
        )
        replying = Replying(
            generation,
            shape,
            is_stripped=is_stripped,
            includes_usage=self._body.includes_usage,
            ignored=self._ignored,
        )
        return await (replying.stream(request) if self._body.stream else replying.whole(request))

    def _open(self, bot: Bot, cancel: threading.Event) -> ReplyStream:
        """Ask the model, in the reply's own thread: it may have to be loaded first."""
        if self._with_care:
            return bot.completions.with_care(cancel=cancel)
        default = bot.completions.sampling(user=self._user)
        form = self._body.form
        sampling = form.held(self._body.sampling(default, lambda: bot.tokenizer))
        unsupported = bot.unsupported(sampling)
        form.require_engine(unsupported)
        self._ignored += [name for name in unsupported if name != "continues"]
        return self._ask(bot, sampling, cancel)
