"""Routes of the page: a first character, made of a few sentences or of the example that comes with duologue."""

import shutil
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from duologue.characters import LILA_FOLDER, Character, lila_data_files, load_character, write_card
from duologue.config import make_folder
from duologue.errors import ConfigError
from duologue.serve.core import Core
from duologue.serve.page.body import Body, parse
from duologue.serve.page.folders import free_folder, make_character, single_home
from duologue.serve.page.uploads import fresh_folder, uploaded
from duologue.serve.refusal import ApiError

_RECIPE = "quickstart"  # runs on any machine; the panel offers larger ones


class _Made(Body):
    name: Annotated[str, Field(min_length=1, max_length=80, pattern=r"\S")]
    description: Annotated[str, Field(max_length=8000)] = ""
    greeting: Annotated[str, Field(max_length=4000)] = ""
    picture: Annotated[str, Field(max_length=40)] = ""
    """An upload; none when empty."""


def welcome_routes(core: Core) -> APIRouter:
    """Return the routes of a first character; only an admin may use them."""
    router = APIRouter(prefix="/welcome")

    @router.post("/character")
    async def make(request: Request) -> JSONResponse:
        core.require_admin(request.scope)
        body = parse(_Made, await request.body())
        return JSONResponse({"id": await run_in_threadpool(_make, core, body)}, status_code=201)

    @router.post("/example")
    async def take_example(request: Request) -> JSONResponse:
        core.require_admin(request.scope)
        return JSONResponse({"id": await run_in_threadpool(_make_example, core)}, status_code=201)

    return router


def _make(core: Core, body: _Made) -> str:
    """Make a character's folder from what was written and return the character's id."""
    library = core.library
    if library.is_single:
        raise single_home()
    picture = uploaded(library.root, body.picture) if body.picture else None
    character = Character(body.name.strip(), description=body.description.strip(), greeting=body.greeting.strip())
    place = fresh_folder(library.root)
    card = place / ("character.png" if picture else "character.json")
    try:
        place.mkdir(parents=True)
        write_card(character, card, image=picture)
        folder = make_character(library, core.home, card, load_character(card), recipe=_RECIPE)
    except ConfigError as error:
        raise ApiError(400, error.sentence().replace(str(place), ""), code="bad_card", param="picture") from error
    except OSError as error:
        raise ApiError(507, f"the folder cannot be made ({error.strerror})", code="disk_full") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if picture is not None:
        shutil.rmtree(picture.parent, ignore_errors=True)
    return _id_of(core, folder)


def _make_example(core: Core) -> str:
    """Make the folder of the character that comes with duologue, with her conversations."""
    library = core.library
    if library.is_single:
        raise single_home()
    card = LILA_FOLDER / "character.png"
    folder = free_folder(library.root, load_character(card).name)
    return _id_of(core, make_folder(folder, recipe=_RECIPE, data=lila_data_files(), card=card))


def _id_of(core: Core, folder: Path) -> str:
    return next(entry.id for entry in core.library.entries() if entry.folder == folder)
