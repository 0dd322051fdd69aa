"""Route of the page: how many of the model's tokens the texts of a card take."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from duologue.errors import DataError
from duologue.serve.core import Core
from duologue.serve.library import Entry
from duologue.serve.page.body import Body, parse
from duologue.serve.refusal import ApiError

# What stands in every prompt of a chat; of several greetings there is one, so the others do not add up.
ALWAYS_SENT = (
    *("description", "personality", "scenario", "greeting", "example_dialogue", "system_prompt"),
    "post_history_instructions",
)


class _Texts(Body):
    texts: Annotated[
        dict[Annotated[str, Field(max_length=60)], Annotated[str, Field(max_length=200_000)]], Field(max_length=300)
    ]
    load: bool = False
    """Counting needs the model, which takes a while to load: that is done only when a person asks for it."""


def token_routes(core: Core) -> APIRouter:
    """Return the route."""
    router = APIRouter()

    @router.post("/characters/{character_id}/card/tokens")
    async def count(request: Request, character_id: str) -> JSONResponse:
        core.require_admin(request.scope)
        entry = core.entry(request.scope, character_id)
        body = parse(_Texts, await request.body())
        if not body.load and not _is_loaded(core, entry):
            return JSONResponse({"is_loaded": False})
        return JSONResponse(await run_in_threadpool(_counted, core, entry, body.texts))

    return router


def _is_loaded(core: Core, entry: Entry) -> bool:
    shelf = core.library.shelf
    return shelf is None or (entry.config is not None and entry.config.model.base in shelf.names())


def _counted(core: Core, entry: Entry, texts: dict[str, str]) -> dict[str, Any]:
    bot = core.library.bot(entry.id)
    try:
        counts = {name: len(bot.tokenizer.encode(text)) if text else 0 for name, text in texts.items()}
    except DataError as error:  # a model on another server tells no tokens
        raise ApiError(400, error.sentence(), code="unsupported", param="texts") from error
    return {
        "is_loaded": True,
        "counts": counts,
        "total": sum(counts.get(name, 0) for name in ALWAYS_SENT),
        "context_tokens": bot.context_tokens,
    }
