"""Routes of the panel Talk: the messages of a chat, read by the window, and what can be changed in them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from duologue.chat import Cast, StoredMessage
from duologue.serve.core import Core
from duologue.serve.markup import safe_html
from duologue.serve.page.body import Body, RowId, parse
from duologue.serve.page.storage import require_room
from duologue.serve.page.talk_chats import info_json
from duologue.serve.page.talk_place import Place, place_of
from duologue.serve.page.talk_replies import Asks, ask_for_edited

WINDOW = 60  # messages that are read at once, unless fewer are asked for
_MAX_TEXT_CHARS = 1_000_000  # the bot says how much it takes; this is only what a request may carry


class _Window(BaseModel):
    """Which messages of a chat are wanted.

    Attributes:
        before: Those before this index; the last ones when negative.
        limit: How many at most.
        around: Those around the message of this id instead, when it is on the path.
    """

    before: Annotated[int, Field(ge=-1, le=2**31)] = -1
    limit: Annotated[int, Field(ge=1, le=3 * WINDOW)] = WINDOW
    around: Annotated[int, Field(ge=0, lt=2**63)] = 0

    def of(self, path: tuple[StoredMessage, ...]) -> tuple[int, int]:
        """Return the first index and the one behind the last."""
        at = next((at for at, entry in enumerate(path) if entry.id == self.around), -1)
        if self.around and at >= 0:
            begin = max(0, at - self.limit // 2)
            return begin, min(len(path), begin + self.limit)
        end = len(path) if self.before < 0 else min(self.before, len(path))
        return max(0, end - self.limit), end


class _Change(Body):
    text: Annotated[str, Field(min_length=1, max_length=_MAX_TEXT_CHARS)] | None = None
    regenerates: bool = False
    is_hidden: bool | None = None


class _Swipe(Body):
    by: Annotated[int, Field(ge=-1, le=1)] = 0


def message_routes(core: Core, asks: Asks) -> APIRouter:
    """Return the routes.

    Args:
        core: What every route works with.
        asks: The replies that were asked for.
    """
    router = APIRouter(prefix="/chats/{session_id}")

    @router.get("")
    async def read(
        request: Request, character_id: str, session_id: str, window: Annotated[_Window, Query()]
    ) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)
        return JSONResponse(await run_in_threadpool(_read, core, place, window))

    @router.patch("/messages/{message_id}")
    async def change(request: Request, character_id: str, session_id: str, message_id: RowId) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)
        wanted = parse(_Change, await request.body())
        await run_in_threadpool(place.find, message_id)
        editor = place.bot.editor
        if wanted.is_hidden is not None:
            hide = {"is_hidden": wanted.is_hidden, "user": place.account}
            await run_in_threadpool(lambda: editor.hide(session_id, message_id, **hide))  # type: ignore[arg-type]
        if wanted.text is not None and wanted.regenerates:
            await ask_for_edited(core, asks, request, place, message_id=message_id, text=wanted.text)
        elif wanted.text is not None:
            text = wanted.text
            await run_in_threadpool(lambda: editor.edit(session_id, message_id, text, user=place.account))
        return JSONResponse({"changed": message_id})

    _add_tree(router, core)
    return router


def _add_tree(router: APIRouter, core: Core) -> None:
    """Add the routes that show another version, branch, delete and undo."""

    @router.post("/messages/{message_id}/show")
    async def show(request: Request, character_id: str, session_id: str, message_id: RowId) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)
        by = parse(_Swipe, await request.body()).by

        def choose() -> int:
            place.find(message_id)
            if not by:
                place.bot.editor.choose(session_id, message_id, user=place.account)
                return message_id
            shown = place.bot.editor.swipe(session_id, by=by, message_id=message_id, user=place.account)
            return shown.id if shown else message_id

        return JSONResponse({"shown": await run_in_threadpool(choose)})

    @router.post("/messages/{message_id}/branch")
    async def branch(request: Request, character_id: str, session_id: str, message_id: RowId) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)

        def copy() -> str:
            place.find(message_id)
            copied = sum(len(each.message.content) for each in place.bot.sessions.path_to(message_id))
            require_room(core, place.bot, place.account, num_more_chars=copied)
            return place.bot.editor.branch(session_id, message_id, user=place.account)

        return JSONResponse({"id": await run_in_threadpool(copy)}, status_code=201)

    @router.delete("/messages/{message_id}")
    async def delete(request: Request, character_id: str, session_id: str, message_id: RowId) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)

        def take_out() -> int:
            place.find(message_id)
            return place.bot.editor.delete_message(session_id, message_id, user=place.account)

        return JSONResponse({"num_deleted": await run_in_threadpool(take_out)})

    @router.post("/undo")
    async def undo(request: Request, character_id: str, session_id: str) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)
        kind = await run_in_threadpool(lambda: place.bot.editor.undo(session_id, user=place.account))
        return JSONResponse({"undone": kind})


def _read(core: Core, place: Place, window: _Window) -> dict[str, Any]:
    bot = place.bot
    path = bot.sessions.path(place.session_id)
    begin, end = window.of(path)
    is_running = core.generations.find(place.session_id) is not None
    waiting = bot.cast.still_to_speak(path, session_id=place.session_id) if path and bot.cast.is_group else ()
    opinions = bot.sessions.marks.opinions(place.session_id)
    return {
        "chat": info_json(core, bot.sessions.info(place.session_id)),
        "total": len(path),
        "first": begin,
        "messages": [_message(entry, bot.cast) | {"opinion": opinions.get(entry.id)} for entry in path[begin:end]],
        "is_running": is_running,
        "is_answered": not path or path[-1].message.role != "user",
        "waiting": [member.name for member in waiting],
        "undo": bot.sessions.undo_kinds(place.session_id)[:1],
    }


def _message(entry: StoredMessage, cast: Cast) -> dict[str, Any]:
    is_reply = entry.message.role == "assistant"
    speaker = cast.speaker_of(entry) if is_reply else None
    name = speaker.name if speaker else entry.speaker
    return {
        "id": entry.id,
        "role": entry.message.role,
        "name": name,
        "companion": cast.members.index(speaker) if speaker else -1,
        "text": entry.message.content,
        "html": safe_html(entry.message.content),
        "time": entry.created_at,
        "revision": entry.revision,
        "swipe": entry.swipe,
        "num_swipes": entry.num_swipes,
        "is_first": not entry.parent_id,
        "is_hidden": entry.is_hidden,
        "ended": entry.finish_reason,
        "recalled": [
            {
                "html": safe_html(line.text),
                "speaker": line.speaker,
                "time": line.said_at,
                "session_id": line.session_id,
                "message_id": line.message_id,
            }
            for line in entry.recalled
        ],
    }
