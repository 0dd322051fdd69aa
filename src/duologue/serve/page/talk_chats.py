"""Routes of the panel Talk: the chats with a character as a whole."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from duologue.chat import SearchHit, SessionInfo, SessionTree
from duologue.chat.exchange import FORMATS, Names, read_chats, write_chats
from duologue.errors import GuardError
from duologue.guard import InputValidator
from duologue.serve.core import Core
from duologue.serve.markup import safe_html
from duologue.serve.page.body import Body, parse
from duologue.serve.page.storage import require_room
from duologue.serve.page.talk_place import Place, place_of
from duologue.serve.refusal import ApiError

_MAX_QUERY_CHARS = 200
_MAX_TITLE_CHARS = 200
_ENDINGS = {"sillytavern": "jsonl", "messages": "jsonl", "text": "txt"}


class _NewChat(Body):
    greeting: Annotated[int, Field(ge=0, le=1000)] = 0


class _Title(Body):
    title: Annotated[str, Field(max_length=_MAX_TITLE_CHARS)]


class _Note(Body):
    text: Annotated[str, Field(max_length=20_000)]
    depth: Annotated[int, Field(ge=0, le=1000)] | None = None


def chat_routes(core: Core) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/chats")

    @router.get("")
    async def overview(request: Request, character_id: str) -> JSONResponse:
        place = await place_of(core, request, character_id)
        return JSONResponse(await run_in_threadpool(_overview, core, place))

    @router.get("/search")
    async def search(request: Request, character_id: str, text: str = "") -> JSONResponse:
        place = await place_of(core, request, character_id)
        text = text[:_MAX_QUERY_CHARS]
        hits = await run_in_threadpool(
            place.bot.sessions.search, text, character=place.bot.model_id, user=place.account, limit=40
        )
        return JSONResponse({"hits": [_hit(hit) for hit in hits]})

    @router.post("")
    async def create(request: Request, character_id: str) -> JSONResponse:
        place = await place_of(core, request, character_id)
        wanted = parse(_NewChat, await request.body())

        def begin() -> str:
            editor = place.bot.editor
            num_chars = sum(map(len, editor.greetings_for(place.account)))
            require_room(core, place.bot, place.account, num_more_chars=num_chars)
            return editor.new_session(user=place.account, greeting=wanted.greeting)

        session_id = await run_in_threadpool(begin)
        return JSONResponse({"id": session_id}, status_code=201)

    @router.post("/import")
    async def bring(request: Request, character_id: str) -> JSONResponse:
        place = await place_of(core, request, character_id)
        return JSONResponse(await run_in_threadpool(_import, core, place, await request.body()), status_code=201)

    _add_single(router, core)
    return router


def _add_single(router: APIRouter, core: Core) -> None:
    """Add the routes of a single chat."""

    @router.patch("/{session_id}")
    async def rename(request: Request, character_id: str, session_id: str) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)
        title = parse(_Title, await request.body()).title
        if title.strip():
            title = InputValidator(_MAX_TITLE_CHARS).validate(title)
        await run_in_threadpool(place.bot.sessions.rename, session_id, title)
        return JSONResponse(info_json(core, await run_in_threadpool(place.bot.sessions.info, session_id)))

    @router.delete("/{session_id}")
    async def delete(request: Request, character_id: str, session_id: str) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)
        if running := core.generations.find(session_id):
            running.cancel.set()
        await run_in_threadpool(place.bot.delete_session, session_id)
        return JSONResponse({"deleted": session_id})

    @router.get("/{session_id}/file")
    async def export(request: Request, character_id: str, session_id: str, format: str = "sillytavern") -> Response:  # noqa: A002
        place = await place_of(core, request, character_id, session_id)
        found = next((known for known in FORMATS if known == format), None)
        if found is None:
            raise ApiError(400, f"format: expected one of {', '.join(FORMATS)}", code="invalid_value", param="format")

        def write() -> str:
            return write_chats([place.bot.sessions.tree(session_id)], found, _names(place))[0]

        name = f"{place.entry.id}-{session_id[:8]}.{_ENDINGS.get(found, 'json')}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(await run_in_threadpool(write), media_type="application/octet-stream", headers=headers)

    _add_note(router, core)


def _add_note(router: APIRouter, core: Core) -> None:
    @router.get("/{session_id}/note")
    async def note(request: Request, character_id: str, session_id: str) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)
        found = await run_in_threadpool(place.bot.editor.note, session_id)
        return JSONResponse({"text": found.text, "depth": found.depth})

    @router.put("/{session_id}/note")
    async def set_note(request: Request, character_id: str, session_id: str) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)
        wanted = parse(_Note, await request.body())
        await run_in_threadpool(
            place.bot.editor.set_note, session_id, wanted.text, depth=wanted.depth, user=place.account
        )
        return await note(request, character_id, session_id)


def info_json(core: Core, info: SessionInfo) -> dict[str, Any]:
    """Return what a list says about a chat."""
    return {
        "id": info.id,
        "title": info.title,
        "created_at": info.created_at,
        "updated_at": info.updated_at,
        "num_messages": info.num_messages,
        "tags": info.tags,
        "is_branch": bool(info.branched_from),
        "is_running": core.generations.find(info.id) is not None,
    }


def _overview(core: Core, place: Place) -> dict[str, Any]:
    bot = place.bot
    infos = bot.sessions.list_sessions(character=bot.model_id, user=place.account)
    given = set(bot.sessions.marks.list_consented(character=bot.model_id))
    return {
        "chats": [{**info_json(core, info), "is_learned_from": info.id in given} for info in infos],
        "greetings": [safe_html(text) for text in bot.editor.greetings],
        "speakers": [{"name": member.name, "companion": at} for at, member in enumerate(bot.cast.members)],
        "user_name": bot.config.character.user_name,
        "max_input_chars": bot.config.guard.max_input_chars,
        "model": bot.base_id,
        "formats": FORMATS,
        "notices": bot.notices(),
    }


def _hit(hit: SearchHit) -> dict[str, Any]:
    return {
        "message_id": hit.message_id,
        "session_id": hit.session_id,
        "title": hit.title,
        "role": hit.role,
        "speaker": hit.speaker,
        "time": hit.created_at,
        "snippet": hit.snippet,
        "matches": hit.matches,
    }


def _import(core: Core, place: Place, content: bytes) -> dict[str, Any]:
    require_room(core, place.bot, place.account, num_more_chars=len(content))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chat"
        file.write_bytes(content)
        imported = read_chats(file, _names(place))
    bot = place.bot
    trees = [_seen(chat.tree) for chat in imported.chats]
    ids = [bot.sessions.add_tree(tree, character=bot.model_id, user=place.account) for tree in trees]
    return {"ids": ids, "format": imported.format, "notes": imported.notes}


def _seen(tree: SessionTree) -> SessionTree:
    """Return a chat without what is hidden in its texts; what a person may say is left as it is."""
    messages = tuple(
        replace(each, message=replace(each.message, content=_salvaged(each.message.content))) for each in tree.messages
    )
    return replace(tree, messages=messages, title=_salvaged(tree.title))


def _salvaged(text: str) -> str:
    try:
        return InputValidator(len(text)).salvage(text) if text.strip() else text
    except GuardError:  # nothing of it can be seen
        return ""


def _names(place: Place) -> Names:
    return Names(place.bot.name, place.bot.config.character.user_name)
