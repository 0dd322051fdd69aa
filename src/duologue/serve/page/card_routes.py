"""Routes of the page: one character's card and lorebook, looked at, changed and taken along."""

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from duologue.characters import Card, Character, save_card
from duologue.chat import slug
from duologue.config import CONFIG_NAME, set_key
from duologue.errors import GuardError
from duologue.serve.core import Core
from duologue.serve.library import Entry
from duologue.serve.page import folders
from duologue.serve.page.body import Body, parse
from duologue.serve.page.cards import (
    card_document,
    changed_character,
    check_card,
    open_card,
    require_version,
    store_card,
)
from duologue.serve.page.lore_entries import with_entry, without_entry
from duologue.serve.refusal import ApiError

T = TypeVar("T")
Text = Annotated[str, Field(max_length=200_000)]
Short = Annotated[str, Field(max_length=2_000)]
Key = Annotated[str, Field(max_length=1_000)]
Number = Annotated[int, Field(ge=0, le=1_000_000)]
FORMS = {"png": "image/png", "json": "application/octet-stream", "charx": "application/zip"}


class _Note(Body):
    text: Text
    depth: Annotated[int, Field(ge=0, le=1000)] = 4
    role: Literal["system", "user", "assistant"] = "system"


class _Fields(Body):
    nickname: Annotated[str, Field(max_length=200)] | None = None
    description: Text | None = None
    personality: Text | None = None
    scenario: Text | None = None
    greeting: Text | None = None
    example_dialogue: Text | None = None
    system_prompt: Text | None = None
    post_history_instructions: Text | None = None
    creator_notes: Text | None = None
    creator: Short | None = None
    character_version: Short | None = None
    alternate_greetings: Annotated[list[Text], Field(max_length=200)] | None = None
    group_only_greetings: Annotated[list[Text], Field(max_length=200)] | None = None
    tags: Annotated[list[Short], Field(max_length=200)] | None = None
    depth_prompt: _Note | None = None


class _Edit(Body):
    version: Annotated[str, Field(max_length=64)]
    fields: _Fields


class _LoreFields(Body):
    title: Short = ""
    keys: Annotated[list[Key], Field(max_length=500)] = Field(default_factory=list)
    secondary_keys: Annotated[list[Key], Field(max_length=500)] = Field(default_factory=list)
    content: Text = ""
    is_enabled: bool = True
    is_constant: bool = False
    is_selective: bool = False
    order: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 100
    position: Literal[
        "before_char", "after_char", "note_top", "note_bottom", "at_depth", "before_examples", "after_examples"
    ] = "before_char"
    logic: Literal["and_any", "not_all", "not_any", "and_all"] = "and_any"
    probability: Annotated[int, Field(ge=0, le=100)] = 100
    case_sensitive: bool = False
    depth: Number = 4
    sticky: Number = 0
    cooldown: Number = 0
    delay: Number = 0


class _LoreEdit(Body):
    version: Annotated[str, Field(max_length=64)]
    entry: _LoreFields


class _Version(Body):
    version: Annotated[str, Field(max_length=64)]


def card_routes(core: Core) -> APIRouter:
    """Return the routes of a card."""
    router = APIRouter()
    writing = threading.Lock()  # an edit reads, compares and writes; two at once would both think they were first
    _add_card_routes(router, core, writing)
    _add_export_route(router, core)
    _add_lore_routes(router, core, writing)
    return router


def is_admin(core: Core, request: Request) -> bool:
    """Return whether this visitor may change characters."""
    try:
        core.require_admin(request.scope)
    except GuardError:
        return False
    return True


def _add_card_routes(router: APIRouter, core: Core, writing: threading.Lock) -> None:
    @router.get("/characters/{character_id}/card")
    async def show(request: Request, character_id: str) -> JSONResponse:
        entry = core.entry(request.scope, character_id)
        may_edit = is_admin(core, request)
        return JSONResponse(await run_in_threadpool(_shown if may_edit else _public, entry))

    @router.put("/characters/{character_id}/card")
    async def edit(request: Request, character_id: str) -> JSONResponse:
        entry = _editable(core, request, character_id)
        body = parse(_Edit, await request.body())
        values = body.fields.model_dump(exclude_unset=True)
        nulls = [key for key, value in values.items() if value is None and key != "depth_prompt"]
        if nulls:
            raise ApiError(400, f"fields.{nulls[0]}: a text is needed", code="invalid_body", param=f"fields.{nulls[0]}")

        @_alone(writing)
        def work() -> dict[str, Any]:
            if entry.card is None:
                return _first_card(core, entry, values)
            return _store(core, entry, body.version, lambda character: changed_character(character, values))

        return JSONResponse(await run_in_threadpool(work))

    @router.post("/characters/{character_id}/card/undo")
    async def undo(request: Request, character_id: str) -> JSONResponse:
        entry = _editable(core, request, character_id)
        body = parse(_Version, await request.body())

        @_alone(writing)
        def work() -> dict[str, Any]:
            found = open_card(entry)
            require_version(found, body.version)
            folders.undo_card(found.path)
            core.library.forget(entry.id)
            return _shown(core.library.entry(entry.id))

        return JSONResponse(await run_in_threadpool(work))


def _add_export_route(router: APIRouter, core: Core) -> None:
    @router.get("/characters/{character_id}/card/export")
    async def export(request: Request, character_id: str) -> Response:
        entry = _editable(core, request, character_id)
        form = request.query_params.get("form", "png")
        if form not in FORMS:
            raise ApiError(400, f"expected form={' or '.join(FORMS)}", code="invalid_body", param="form")

        def write() -> tuple[bytes, tuple[str, ...]]:
            card = open_card(entry).card
            with tempfile.TemporaryDirectory() as place:
                target = Path(place) / f"card.{form}"
                left_out = save_card(card, target)
                return target.read_bytes(), left_out

        content, left_out = await run_in_threadpool(write)
        headers = {
            "Content-Disposition": f'attachment; filename="{slug(entry.id)}.{form}"',
            "X-Left-Out": ", ".join(left_out).encode("ascii", "replace").decode()[:500],
        }
        return Response(content, media_type=FORMS[form], headers=headers)


def _add_lore_routes(router: APIRouter, core: Core, writing: threading.Lock) -> None:
    @router.post("/characters/{character_id}/lorebook")
    async def add(request: Request, character_id: str) -> JSONResponse:
        return await write(request, character_id, None)

    @router.put("/characters/{character_id}/lorebook/{place}")
    async def change(request: Request, character_id: str, place: int) -> JSONResponse:
        return await write(request, character_id, place)

    @router.delete("/characters/{character_id}/lorebook/{place}")
    async def remove(request: Request, character_id: str, place: int) -> JSONResponse:
        entry = _editable(core, request, character_id)
        version = request.query_params.get("version", "")

        @_alone(writing)
        def work() -> dict[str, Any]:
            return _store(core, entry, version, lambda character: without_entry(character, place))

        return JSONResponse(await run_in_threadpool(work))

    async def write(request: Request, character_id: str, place: int | None) -> JSONResponse:
        entry = _editable(core, request, character_id)
        body = parse(_LoreEdit, await request.body())
        values = body.entry.model_dump(exclude_unset=place is not None)

        @_alone(writing)
        def work() -> dict[str, Any]:
            return _store(core, entry, body.version, lambda character: with_entry(character, place, values))

        return JSONResponse(await run_in_threadpool(work), status_code=201 if place is None else 200)


def _editable(core: Core, request: Request, character_id: str) -> Entry:
    core.require_admin(request.scope)
    entry = core.entry(request.scope, character_id)
    if entry.fault:
        raise GuardError(entry.fault, reason="broken", where=entry.name)
    return entry


def _alone(lock: threading.Lock) -> Callable[[Callable[[], T]], Callable[[], T]]:
    def decorate(work: Callable[[], T]) -> Callable[[], T]:
        def alone() -> T:
            with lock:
                return work()

        return alone

    return decorate


def _public(entry: Entry) -> dict[str, Any]:
    """Return what a visitor may see: not the definition, which is the author's and would spoil the talk."""
    character = entry.character or Character(entry.name)
    return {
        "may_edit": False,
        "name": entry.name,
        "rating": entry.rating,
        "creator": character.creator,
        "creator_notes": character.creator_notes,
        "greeting": character.greeting,
        "tags": list(character.tags),
    }


def _shown(entry: Entry) -> dict[str, Any]:
    shown = {"may_edit": True, "rating": entry.rating, "folder": entry.folder.name}
    if entry.card is None:
        character = entry.character or Character(entry.name)
        return {**shown, **card_document(character), "version": "none", "file": "", "num_earlier": 0}
    found = open_card(entry)
    earlier = len(folders.backups(found.path))
    more = {"version": found.version, "file": found.path.name, "num_earlier": earlier}
    return {**shown, **card_document(found.card.character), **more}


def _store(core: Core, entry: Entry, version: str, change: Callable[[Character], Character]) -> dict[str, Any]:
    """Change a card: checked first, the old one kept, whole or not at all."""
    found = open_card(entry)
    require_version(found, version)
    character = change(found.card.character)
    if character != found.card.character:
        check_card(character, entry.rating)
        folders.keep_backup(found.path)
        store_card(found, character)
        core.library.forget(entry.id)
    return _shown(core.library.entry(entry.id))


def _first_card(core: Core, entry: Entry, values: dict[str, Any]) -> dict[str, Any]:
    """Give a character without a card its first one."""
    character = changed_character(entry.character or Character(entry.name), values)
    check_card(character, entry.rating)
    card = entry.folder / "character.json"
    if card.exists():
        raise ApiError(409, f"there is a {card.name} in the folder that duologue.toml does not name", code="conflict")
    save_card(Card(character), card)
    set_key(entry.folder / CONFIG_NAME, "character.card", card.name)
    core.library.forget(entry.id)
    return _shown(core.library.entry(entry.id))
