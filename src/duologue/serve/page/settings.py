"""Routes of the page: what a visitor and an operator may choose."""

import time
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field, ValidationError
from starlette.concurrency import run_in_threadpool

from duologue.chat import DRAWN_KEYS, Person, Wish, drawn_config
from duologue.config import (
    CONFIG_NAME,
    HOME_NAME,
    Config,
    Home,
    make_config,
    preset_about,
    preset_names,
    set_key,
    with_key,
)
from duologue.errors import ConfigError, GuardError
from duologue.guard import ContentPolicy, InputValidator
from duologue.serve.core import Core
from duologue.serve.page.body import Body, parse
from duologue.serve.page.places import Place, place_of
from duologue.serve.refusal import ApiError
from duologue.store import is_of_storage

# What an admin may change from the page. Addresses, proxies and who is believed stay in the file.
HOME_KEYS = (
    *("guard.rating", "guard.requests_per_minute", "guard.burst", "guard.reply_tokens_per_minute"),
    *("guard.page_requests_per_minute",),
    *("guard.reply_tokens_per_day", "guard.max_input_chars", "guard.discloses_ai", "guard.break_reminder_minutes"),
    *("guard.crisis_region", "server.max_waiting", "server.max_models"),
)
CHARACTER_KEYS = (
    *("guard.rating", "character.user_name", "character.persona", "character.author_note"),
    *("character.author_note_depth", "memory.enabled", "memory.num_recalled", "generation.preset"),
    *("generation.max_new_tokens", "generation.temperature", "generation.context_tokens", "generation.summarise"),
)
_MAX_NAME_CHARS = 80
_MAX_PERSONA_CHARS = 4000
_MAX_VALUE_CHARS = 20_000


class _Wish(Body):
    preset: Annotated[str, Field(max_length=60)] = ""
    values: Annotated[dict[Annotated[str, Field(max_length=40)], float], Field(max_length=40)] = Field(
        default_factory=dict
    )


class _Persona(Body):
    name: Annotated[str, Field(max_length=_MAX_NAME_CHARS)]
    persona: Annotated[str, Field(max_length=_MAX_PERSONA_CHARS)]


class _Key(Body):
    key: Annotated[str, Field(max_length=60)]
    value: Annotated[str, Field(max_length=_MAX_VALUE_CHARS)] | bool | int | float


def settings_routes(core: Core) -> APIRouter:
    """Return the routes of the panel."""
    router = APIRouter()
    _add_person_routes(router, core)
    _add_key_routes(router, core, started=time.monotonic())
    return router


def _add_person_routes(router: APIRouter, core: Core) -> None:
    @router.get("/characters/{character_id}/me")
    def me(request: Request, character_id: str) -> JSONResponse:
        return JSONResponse(_me(place_of(core, request, character_id)))

    @router.put("/characters/{character_id}/me/persona")
    async def persona(request: Request, character_id: str) -> JSONResponse:
        body = parse(_Persona, await request.body())

        def work() -> dict[str, Any]:
            place = place_of(core, request, character_id)
            name, text = " ".join(body.name.split()), body.persona
            name, text = _checked_person(place, name, text)
            config = place.bot.config.character
            old = place.bot.people.get(place.user)
            own = "" if name == config.user_name else name
            place.bot.people.put(place.user, Person(own, None if text == config.persona else text, old.wishes))
            return _me(place)

        return JSONResponse(await run_in_threadpool(work))

    @router.put("/characters/{character_id}/me/replies")
    async def replies(request: Request, character_id: str) -> JSONResponse:
        body = parse(_Wish, await request.body())

        def work() -> dict[str, Any]:
            place = place_of(core, request, character_id)
            wish = Wish(body.preset, {key: _plain(value) for key, value in body.values.items()})
            try:
                drawn_config(place.bot.config, wish)
            except ConfigError as error:
                raise ApiError(400, error.sentence(), code="invalid_body", param="values") from error
            old = place.bot.people.get(place.user)
            kept = {key: value for key, value in old.wishes.items() if key != place.bot.model_id}
            wishes = kept if wish == Wish() else {**kept, place.bot.model_id: wish}
            place.bot.people.put(place.user, Person(old.name, old.persona, wishes))
            return _me(place)

        return JSONResponse(await run_in_threadpool(work))


def _add_key_routes(router: APIRouter, core: Core, *, started: float) -> None:
    @router.get("/settings")
    def limits() -> JSONResponse:
        guard = core.home.guard
        shown = {
            "rating": guard.rating,
            "requests_per_minute": guard.requests_per_minute,
            "burst": guard.burst,
            "reply_tokens_per_minute": guard.reply_tokens_per_minute,
            "reply_tokens_per_day": guard.reply_tokens_per_day,
            "max_input_chars": guard.max_input_chars,
            "age_provider": core.home.age.provider,
            "version": version("duologue"),
        }
        return JSONResponse(shown)

    @router.get("/settings/server")
    def server(request: Request) -> JSONResponse:
        core.require_admin(request.scope)
        bots = core.library.open_bots()
        path = _home_file(core)
        return JSONResponse(
            {
                "file": path.name,
                "keys": _keys(_home_tree(path), core.home, HOME_KEYS),
                "version": version("duologue"),
                "uptime_seconds": int(time.monotonic() - started),
                "num_running": core.generations.num_running,
                "max_waiting": core.home.server.max_waiting,
                "max_models": core.home.server.max_models,
                "open": [{"id": bot.model_id, "name": bot.name, "base": bot.base_id} for bot in bots],
                "address": core.home.server.host,
                "public_url": core.home.server.public_url,
            }
        )

    @router.put("/settings/server")
    async def change(request: Request) -> JSONResponse:
        core.require_admin(request.scope)
        body = parse(_Key, await request.body())
        path = _home_file(core)
        await run_in_threadpool(_set, path, body, HOME_KEYS)
        keys = _keys(await run_in_threadpool(_home_tree, path), core.home, HOME_KEYS)
        return JSONResponse({"file": path.name, "keys": keys})

    @router.get("/characters/{character_id}/settings")
    def of_character(request: Request, character_id: str) -> JSONResponse:
        core.require_admin(request.scope)
        entry = core.entry(request.scope, character_id)
        if entry.config is None:
            raise GuardError(entry.fault, reason="broken", where=entry.name)
        return JSONResponse({"file": CONFIG_NAME, "keys": _keys({}, entry.config, CHARACTER_KEYS)})

    @router.put("/characters/{character_id}/settings")
    async def change_character(request: Request, character_id: str) -> JSONResponse:
        core.require_admin(request.scope)
        entry = core.entry(request.scope, character_id)
        body = parse(_Key, await request.body())

        def work() -> dict[str, Any]:
            if entry.config is not None and isinstance(body.value, str):
                if body.value.strip():
                    InputValidator(_MAX_VALUE_CHARS).validate(body.value)
                ContentPolicy(entry.rating).check([body.value], where=body.key)
            _set(entry.folder / CONFIG_NAME, body, CHARACTER_KEYS)
            core.library.forget(entry.id)
            config = core.library.entry(entry.id).config
            assert config is not None, "what was written has been checked"
            return {"file": CONFIG_NAME, "keys": _keys({}, config, CHARACTER_KEYS)}

        return JSONResponse(await run_in_threadpool(work))


def _me(place: Place) -> dict[str, Any]:
    bot = place.bot
    person, config = bot.people.get(place.user), bot.config_of(place.user)
    wish = person.wishes.get(bot.model_id, Wish())
    return {
        "name": config.character.user_name,
        "persona": config.character.persona,
        "is_own": bool(person.name) or person.persona is not None,
        "max_persona_chars": _MAX_PERSONA_CHARS,
        "preset": wish.preset,
        "values": dict(wish.values),
        "drawn": {key: getattr(config.generation, key) for key in DRAWN_KEYS},
        "presets": [{"name": name, "about": preset_about(name)} for name in preset_names()],
    }


def _checked_person(place: Place, name: str, text: str) -> tuple[str, str]:
    if not name:
        raise ApiError(400, "a name is needed: what the character calls you", code="invalid_body", param="name")
    name = InputValidator(_MAX_NAME_CHARS).validate(name)
    if text.strip():
        text = InputValidator(_MAX_PERSONA_CHARS).validate(text)
    ContentPolicy(place.entry.rating).check([name, text], where="persona")
    return name, text


def _plain(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def _home_file(core: Core) -> Path:
    return core.library.root / (CONFIG_NAME if core.library.is_single else HOME_NAME)


def _home_tree(path: Path) -> dict[str, Any]:
    """Return what the file says now; it takes effect when the server starts again."""
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _keys(tree: dict[str, Any], running: Home | Config, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return each key with the value in force and the one in the file, where that waits for the next start."""
    listed = []
    for key in keys:
        section, _, name = key.partition(".")
        now = getattr(getattr(running, section), name)
        field = type(getattr(running, section)).model_fields[name]
        written = tree.get(section, {}).get(name, now) if tree else now
        choices = [str(choice) for choice in getattr(field.annotation, "__args__", ()) if isinstance(choice, str)]
        listed.append({"key": key, "value": now, "written": written, "choices": choices})
    return listed


def _set(path: Path, body: _Key, allowed: tuple[str, ...]) -> None:
    if body.key not in allowed:
        raise ApiError(400, f"'{body.key}' is not changed from the page; it stays in the file", code="invalid_body")
    if body.key == "generation.preset" and body.value and body.value not in preset_names():
        raise ApiError(400, f"there is no preset '{body.value}'", code="invalid_body", param="value")
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        tree = tomllib.loads(with_key(text, body.key, body.value, where=path.name))
        if path.name == CONFIG_NAME:
            make_config(tree, where=path.name, folder=path.parent)
        else:
            Home.model_validate(tree)
        set_key(path, body.key, body.value)
    except ValidationError as error:
        message = "; ".join(detail["msg"] for detail in error.errors()[:3])
        raise ApiError(400, f"{body.key}: {message}", code="invalid_body", param="value") from error
    except ConfigError as error:
        if is_of_storage(error.__cause__):  # the disk is full, which is not the fault of the value
            raise
        raise ApiError(400, error.sentence(), code="invalid_body", param="value") from error
