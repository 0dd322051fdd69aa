"""Routes of the panel Talk: likes, and what a model may learn from a chat."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from duologue.chat import Found, collect_chat, remove_found
from duologue.errors import GuardError
from duologue.messages import Correction, Opinion
from duologue.serve.core import Core
from duologue.serve.page.body import Body, RowId, parse
from duologue.serve.page.talk_place import Place, place_of


class _Opinion(Body):
    is_liked: bool | None


class _Consent(Body):
    state: Literal["asked", "given", "refused"]


class _Removed(Body):
    source: Annotated[str, Field(min_length=1, max_length=100)]


def feedback_routes(core: Core) -> APIRouter:
    """Return the routes; each is about a chat of the visitor's own."""
    router = APIRouter(prefix="/chats/{session_id}")

    @router.put("/messages/{message_id}/opinion")
    async def say(request: Request, character_id: str, session_id: str, message_id: RowId) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)
        wanted = parse(_Opinion, await request.body())

        def mark() -> dict[str, Any]:
            if place.find(message_id).message.role != "assistant":
                raise GuardError("only a reply can be liked", reason="no_reply", where="message")
            marks = place.bot.sessions.marks
            marks.set_opinion(message_id, wanted.is_liked)
            return {"opinion": wanted.is_liked, "consent": marks.consent(session_id).state}

        return JSONResponse(await run_in_threadpool(mark))

    @router.get("/feedback")
    async def listed(request: Request, character_id: str, session_id: str) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)
        return JSONResponse(await run_in_threadpool(_listed, place))

    @router.put("/consent")
    async def consent(request: Request, character_id: str, session_id: str) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)
        state = parse(_Consent, await request.body()).state
        await run_in_threadpool(place.bot.sessions.marks.set_consent, session_id, state)
        return JSONResponse(await run_in_threadpool(_listed, place))

    @router.post("/feedback/remove")
    async def take_out(request: Request, character_id: str, session_id: str) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)
        source = parse(_Removed, await request.body()).source

        def remove() -> dict[str, Any]:
            found = next((each for each in _found(place) if each.piece.source == source), None)
            if found is None:
                raise GuardError("there is no such feedback in this chat", reason="not_found", where="feedback")
            remove_found(place.bot.sessions, found)
            return _listed(place)

        return JSONResponse(await run_in_threadpool(remove))

    return router


def _found(place: Place) -> tuple[Found, ...]:
    bot = place.bot
    return collect_chat(bot.sessions, place.session_id, bot.cast.main, rating=bot.config.guard.rating).found


def _listed(place: Place) -> dict[str, Any]:
    consent = place.bot.sessions.marks.consent(place.session_id)
    pieces = [_piece(each) for each in _found(place)]
    return {"consent": consent.state, "changed_at": consent.changed_at, "pieces": pieces}


def _piece(found: Found) -> dict[str, Any]:
    piece = found.piece
    if isinstance(piece, Opinion):
        texts = {"better": piece.reply, "worse": ""} if piece.is_liked else {"better": "", "worse": piece.reply}
    elif isinstance(piece, Correction):
        texts = {"better": piece.reply, "worse": piece.before}
    else:
        texts = {"better": piece.chosen, "worse": piece.rejected}
    return {"source": piece.source, "kind": found.kind, **texts}
