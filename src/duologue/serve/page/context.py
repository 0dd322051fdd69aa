"""Routes of the page: what the model was sent."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from duologue.serve.core import Core
from duologue.serve.page.body import Body, parse
from duologue.serve.page.places import Place, place_of

_MAX_NOTE_CHARS = 20_000


class _Note(Body):
    text: Annotated[str, Field(max_length=_MAX_NOTE_CHARS)]
    depth: Annotated[int, Field(ge=0, le=1000)] | None = None


class _Summary(Body):
    text: Annotated[str, Field(max_length=_MAX_NOTE_CHARS)]


def context_routes(core: Core) -> APIRouter:
    """Return the routes of the panel."""
    router = APIRouter()

    @router.get("/characters/{character_id}/contexts")
    def chats(request: Request, character_id: str) -> JSONResponse:
        place = place_of(core, request, character_id)
        infos = place.bot.sessions.list_sessions(character=place.bot.model_id, user=place.user)
        listed = [
            {"id": info.id, "title": info.title, "has_context": place.bot.sent_context(info.id) is not None}
            for info in infos[:200]
        ]
        return JSONResponse({"chats": listed})

    @router.get("/characters/{character_id}/chats/{session_id}/context")
    def context(request: Request, character_id: str, session_id: str) -> JSONResponse:
        place = place_of(core, request, character_id)
        place.require_chat(session_id)
        # Counting tokens needs the model, which takes a while to load: that is done only when somebody asks for it.
        sent = place.bot.sent_context(session_id)
        may_load = request.query_params.get("load") == "1"
        made = sent or (place.bot.context(session_id, user=place.user) if may_load else None)
        shown = {"is_sent": sent is not None, "context": made.as_json() if made else None}
        return JSONResponse({**shown, **_notes(place, session_id)})

    @router.put("/characters/{character_id}/chats/{session_id}/context/note")
    async def note(request: Request, character_id: str, session_id: str) -> JSONResponse:
        body = parse(_Note, await request.body())

        def work() -> dict[str, Any]:
            place = place_of(core, request, character_id)
            place.require_chat(session_id)
            place.bot.editor.set_note(session_id, body.text, depth=body.depth, user=place.user)
            return _notes(place, session_id)

        return JSONResponse(await run_in_threadpool(work))

    @router.put("/characters/{character_id}/chats/{session_id}/context/summary")
    async def summary(request: Request, character_id: str, session_id: str) -> JSONResponse:
        body = parse(_Summary, await request.body())

        def work() -> dict[str, Any]:
            place = place_of(core, request, character_id)
            place.require_chat(session_id)
            place.bot.editor.set_summary(session_id, body.text)
            return _notes(place, session_id)

        return JSONResponse(await run_in_threadpool(work))

    return router


def _notes(place: Place, session_id: str) -> dict[str, Any]:
    note, summary = place.bot.editor.note(session_id), place.bot.editor.summary(session_id)
    return {
        "note": {"text": note.text, "depth": note.depth},
        "summary": {"text": summary.text, "num_messages": summary.num_messages, "is_edited": summary.is_edited}
        if summary
        else None,
        "summarises": place.bot.config.generation.summarise,
    }
