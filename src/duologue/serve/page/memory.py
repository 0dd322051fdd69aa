"""Routes of the page: what is remembered."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from duologue.chat import slug
from duologue.errors import DataError
from duologue.guard import ContentPolicy, InputValidator
from duologue.memory import Receipt, StoredLine
from duologue.messages import RecalledLine
from duologue.serve.core import Core
from duologue.serve.page.body import Body, RowId, parse
from duologue.serve.page.places import Place, place_of
from duologue.serve.page.storage import require_room
from duologue.serve.refusal import ApiError

PAGE_LINES = 60
MAX_FOUND = 120
_MAX_TEXT_CHARS = 20_000
_MAX_SESSIONS_NAMED = 400


class _Change(Body):
    text: Annotated[str, Field(min_length=1, max_length=_MAX_TEXT_CHARS)] | None = None
    is_pinned: bool | None = None
    is_private: bool | None = None


class _Forget(Body):
    ids: Annotated[list[Annotated[int, Field(ge=1, lt=2**63)]], Field(min_length=1, max_length=1000)]


class _Import(Body):
    lines: Annotated[str, Field(min_length=1, max_length=1_000_000)]
    form: Literal["jsonl", "md"] = "jsonl"


def memory_routes(core: Core) -> APIRouter:
    """Return the routes of the panel."""
    router = APIRouter()
    _add_list_routes(router, core)
    _add_change_routes(router, core)
    _add_exchange_routes(router, core)
    return router


def _add_list_routes(router: APIRouter, core: Core) -> None:
    @router.get("/characters/{character_id}/memory")
    def listed(request: Request, character_id: str) -> JSONResponse:
        place = place_of(core, request, character_id)
        asked = request.query_params
        question = asked.get("q", "")[:1000].strip()
        if question:
            lines = place.memory.search(question, scope=place.scope, limit=MAX_FOUND)
            return JSONResponse({"lines": _documents(place, lines), "next": 0})
        kind = asked.get("kind", "")
        if kind not in ("", "turn", "fact"):
            raise ApiError(400, "expected kind=turn or kind=fact", code="invalid_body", param="kind")
        before = place.line(_number(asked["before"])) if asked.get("before") else None
        found = place.memory.list_lines(
            scope=place.scope,
            limit=PAGE_LINES + 1,
            kind=kind,
            only_pinned=asked.get("pinned") == "1",
            before=before,
        )
        more = found[PAGE_LINES - 1].memory_id if len(found) > PAGE_LINES else 0
        return JSONResponse({"lines": _documents(place, found[:PAGE_LINES]), "next": more})

    @router.get("/characters/{character_id}/memory/counts")
    def counts(request: Request, character_id: str) -> JSONResponse:
        place = place_of(core, request, character_id)
        config = place.bot.config
        return JSONResponse(
            {
                **place.memory.count_lines(scope=place.scope),
                "num_recalled": config.memory.num_recalled,
                "has_copy": config.memory.supermemory,
                "copy_at": config.memory.supermemory_url if config.memory.supermemory else "",
            }
        )

    @router.get("/characters/{character_id}/memory/{memory_id}")
    def why(request: Request, character_id: str, memory_id: RowId) -> JSONResponse:
        place = place_of(core, request, character_id)
        found = place.memory.why(place.line(memory_id).memory_id, scope=place.scope)
        (line,) = _documents(place, [found.line])
        return JSONResponse(
            {
                "line": line,
                "around": _documents(place, found.around),
                "versions": _documents(place, found.versions),
            }
        )

    @router.get("/characters/{character_id}/chats/{session_id}/recalled")
    def recalled(request: Request, character_id: str, session_id: str) -> JSONResponse:
        place = place_of(core, request, character_id)
        place.require_chat(session_id)
        path = place.bot.sessions.path(session_id)
        at = next((at for at in range(len(path) - 1, -1, -1) if path[at].message.role == "assistant"), None)
        if at is None:
            return JSONResponse({"message_id": 0, "question": "", "lines": []})
        question = path[at - 1].message.content if at else ""
        lines = [_recalled(place, line) for line in path[at].recalled]
        return JSONResponse({"message_id": path[at].id, "question": question[:2000], "lines": lines})


def _add_change_routes(router: APIRouter, core: Core) -> None:
    @router.patch("/characters/{character_id}/memory/{memory_id}")
    async def change(request: Request, character_id: str, memory_id: RowId) -> JSONResponse:
        body = parse(_Change, await request.body())

        def work() -> dict[str, Any]:
            place = place_of(core, request, character_id)
            line = place.line(memory_id)
            if body.text is not None:
                text = InputValidator(_MAX_TEXT_CHARS).validate(body.text)
                ContentPolicy(place.entry.rating).check([text], where="memory")
                line = place.bot.edit_memory(line.memory_id, text, user=place.user)
            if body.is_pinned is not None:
                line = place.memory.pin(line.memory_id, body.is_pinned, scope=place.scope)
            if body.is_private is not None:
                line = place.bot.hide_memory(line.memory_id, is_private=body.is_private, user=place.user)
            return _documents(place, [line])[0]

        return JSONResponse(await run_in_threadpool(work))

    @router.post("/characters/{character_id}/memory/forget")
    async def forget(request: Request, character_id: str) -> JSONResponse:
        body = parse(_Forget, await request.body())

        def work() -> dict[str, Any]:
            place = place_of(core, request, character_id)
            for memory_id in body.ids:
                place.line(memory_id)  # somebody else's is as good as none
            return _receipt(place.bot.forget(body.ids, user=place.user))

        return JSONResponse(await run_in_threadpool(work))

    @router.get("/characters/{character_id}/memory-receipts")
    def receipts(request: Request, character_id: str) -> JSONResponse:
        core.require_admin(request.scope)  # they are of all users together, though without what was forgotten
        place = place_of(core, request, character_id)
        return JSONResponse({"receipts": [_receipt(receipt) for receipt in place.memory.receipts()[:100]]})


def _add_exchange_routes(router: APIRouter, core: Core) -> None:
    @router.get("/characters/{character_id}/memory-export")
    def export(request: Request, character_id: str) -> Response:
        place = place_of(core, request, character_id)
        form = request.query_params.get("form", "jsonl")
        if form == "jsonl":
            content = "".join(f"{line}\n" for line in place.memory.export_lines(scope=place.scope))
            kind = "text/plain"
        elif form == "md":
            content, kind = place.memory.export_markdown(scope=place.scope), "text/markdown"
        else:
            raise ApiError(400, "expected form=jsonl or form=md", code="invalid_body", param="form")
        name = f"{slug(place.entry.id)}-memories.{form}"
        return Response(
            content.encode("utf-8", "replace"),
            media_type=kind,
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @router.post("/characters/{character_id}/memory-import")
    async def take(request: Request, character_id: str) -> JSONResponse:
        body = parse(_Import, await request.body())

        def work() -> int:
            place = place_of(core, request, character_id)
            require_room(core, place.bot, place.user, num_more_chars=len(body.lines))
            if body.form == "md":
                return place.memory.import_markdown(body.lines, scope=place.scope, where="the file")
            return place.memory.import_lines(body.lines.split("\n"), scope=place.scope, where="the file")

        try:
            return JSONResponse({"num_new": await run_in_threadpool(work)})
        except DataError as error:
            raise ApiError(400, error.sentence(), code="bad_memories", param="lines") from error


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _documents(place: Place, lines: Sequence[StoredLine]) -> list[dict[str, Any]]:
    titles = _titles(place, {line.session_id for line in lines})
    return [
        {
            "id": line.memory_id,
            "kind": line.kind,
            "text": line.text,
            "original": line.original if line.is_edited else "",
            "speaker": line.speaker,
            "name": line.name,
            "session_id": line.session_id if line.session_id in titles else "",
            "session": titles.get(line.session_id, ""),
            "message_id": line.message_id,
            "said_at": line.said_at,
            "slot": line.slot,
            "value": line.value,
            "is_pinned": line.is_pinned,
            "is_private": line.is_private,
            "used_until": line.used_until,
        }
        for line in lines
    ]


def _titles(place: Place, session_ids: set[str]) -> dict[str, str]:
    """Return the titles of those of the visitor's chats that are still there."""
    infos = place.bot.sessions.list_sessions(character=place.bot.model_id, user=place.user)
    return {info.id: info.title for info in infos[:_MAX_SESSIONS_NAMED] if info.id in session_ids}


def _recalled(place: Place, line: RecalledLine) -> dict[str, Any]:
    titles = _titles(place, {line.session_id})
    return {
        "id": line.memory_id,
        "kind": line.kind,
        "text": line.text,
        "speaker": line.speaker,
        "said_at": line.said_at,
        "score": line.score,
        "parts": {"words": line.by_words, "meaning": line.by_meaning, "rest": line.by_rest},
        "is_pinned": line.is_pinned,
        "is_guess": line.is_guess,
        "origin": line.origin,
        "message_id": line.message_id,
        "session_id": line.session_id if line.session_id in titles else "",
        "session": titles.get(line.session_id, ""),
    }


def _receipt(receipt: Receipt) -> dict[str, Any]:
    document = asdict(receipt)
    return {**document, "ids": list(receipt.ids), "notes": list(receipt.notes), "is_proved": receipt.is_proved}
