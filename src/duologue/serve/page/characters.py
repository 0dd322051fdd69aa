"""Routes of the page: the gallery; a character made of a card, put aside and brought back."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from duologue.characters import Character, load_card
from duologue.config import RECIPES
from duologue.errors import ConfigError, GuardError
from duologue.serve.core import Core
from duologue.serve.library import Entry
from duologue.serve.page import folders
from duologue.serve.page.body import Body, parse
from duologue.serve.page.card_routes import card_routes, is_admin
from duologue.serve.page.cards import card_document, lowest_rating
from duologue.serve.page.uploads import uploaded
from duologue.serve.refusal import ApiError


class _New(Body):
    upload: Annotated[str, Field(max_length=40)]
    recipe: Annotated[str, Field(max_length=40)] = "quickstart"


class _Removed(Body):
    removed: Annotated[str, Field(max_length=100)]


def character_routes(core: Core) -> APIRouter:
    """Return the routes of the panel."""
    router = APIRouter()
    _add_gallery_routes(router, core)
    router.include_router(card_routes(core))
    return router


def _add_gallery_routes(router: APIRouter, core: Core) -> None:
    @router.get("/characters")
    async def gallery(request: Request) -> JSONResponse:
        may_edit = is_admin(core, request)

        def read() -> dict[str, Any]:
            return {
                "characters": [_listed(core, request, entry, may_edit=may_edit) for entry in core.library.entries()],
                "removed": folders.removed_characters(core.library) if may_edit else [],
                "is_single": core.library.is_single,
                "may_edit": may_edit,
                "recipes": list(RECIPES),
            }

        return JSONResponse(await run_in_threadpool(read))

    @router.get("/cards/{upload_id}")
    async def preview(request: Request, upload_id: str) -> JSONResponse:
        core.require_admin(request.scope)
        return JSONResponse(await run_in_threadpool(_preview, core, upload_id))

    @router.post("/characters")
    async def make(request: Request) -> JSONResponse:
        core.require_admin(request.scope)
        body = parse(_New, await request.body())
        if body.recipe not in RECIPES:
            raise ApiError(400, f"there is no recipe '{body.recipe}'", code="invalid_body", param="recipe")

        def work() -> str:
            card = uploaded(core.library.root, body.upload)
            character = _asked(card)
            folder = folders.make_character(core.library, core.home, card, character, recipe=body.recipe)
            return next(entry.id for entry in core.library.entries() if entry.folder == folder)

        return JSONResponse({"id": await run_in_threadpool(work)}, status_code=201)

    @router.delete("/characters/{character_id}")
    async def remove(request: Request, character_id: str) -> JSONResponse:
        core.require_admin(request.scope)
        entry = core.entry(request.scope, character_id)
        return JSONResponse({"removed": await run_in_threadpool(folders.put_aside, core.library, entry)})

    @router.post("/removed")
    async def restore(request: Request) -> JSONResponse:
        core.require_admin(request.scope)
        body = parse(_Removed, await request.body())
        folder = await run_in_threadpool(folders.bring_back, core.library, body.removed)
        entries = await run_in_threadpool(core.library.entries)
        return JSONResponse({"id": next(entry.id for entry in entries if entry.folder == folder)})


def _listed(core: Core, request: Request, entry: Entry, *, may_edit: bool) -> dict[str, Any]:
    try:
        core.entry(request.scope, entry.id)
        needs_age = False
    except GuardError:
        needs_age = True
    character = None if needs_age else entry.character
    book = character.lorebook if character else None
    return {
        "id": entry.id,
        "name": entry.name,
        "rating": entry.rating,
        "needs_age": needs_age,
        "is_trained": bool(entry.runs),
        "num_runs": len(entry.runs),
        "has_picture": entry.card is not None and entry.card.suffix.lower() in (".png", ".charx"),
        "fault": _fault(core, entry, may_edit=may_edit),
        "creator": character.creator[:200] if character else "",
        "tags": [tag[:60] for tag in character.tags[:12]] if character else [],
        "about": (character.creator_notes or character.greeting)[:280] if character else "",
        "num_lore": len(book.entries) if book else 0,
    }


def _fault(core: Core, entry: Entry, *, may_edit: bool) -> str:
    """Return what is wrong with a character; where folders are is not a visitor's business."""
    if not entry.fault or may_edit:
        return entry.fault.replace(f"{core.library.root}/", "")
    return "This character has a fault that an admin must mend."


def _asked(card: Path) -> Character:
    """Return the character of an uploaded card; its faults are the person's to mend."""
    try:
        return load_card(card).character
    except ConfigError as error:
        message = error.sentence().replace(str(card), card.name)
        raise ApiError(400, message, code="bad_card", param="upload") from error


def _preview(core: Core, upload_id: str) -> dict[str, Any]:
    card = uploaded(core.library.root, upload_id)
    character = _asked(card)
    refusal, rating = "", core.home.guard.rating
    try:
        rating = lowest_rating(character, highest=core.home.guard.rating)
    except GuardError as error:
        refusal = error.sentence()
    is_there = any(entry.name.casefold() == character.display_name.casefold() for entry in core.library.entries())
    return {
        **card_document(character),
        "file": card.name,
        "num_bytes": card.stat().st_size,
        "rating": rating,
        "refusal": refusal,
        "is_there": is_there,
        "folder": "" if core.library.is_single else folders.free_folder(core.library.root, character.name).name,
        "is_single": core.library.is_single,
        "recipes": list(RECIPES),
    }
