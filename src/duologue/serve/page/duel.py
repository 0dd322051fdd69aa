"""Routes of the page: a blind duel between two runs of a character, or a run and the base model."""

import secrets
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from duologue.chat import duels
from duologue.messages import Message
from duologue.serve.core import Core
from duologue.serve.library import BASE_RUN, Entry
from duologue.serve.page.body import Body, parse
from duologue.serve.page.fight import Fight
from duologue.serve.refusal import ApiError
from duologue.serve.visitor import visitor_of

_MAX_KNOWN = 200  # duels that can be looked at while they are written; older ones are forgotten
_BELOW = "/characters/{character_id}/duels"


class _Asked(Body):
    message: Annotated[str, Field(min_length=1, max_length=8000)]
    after: Annotated[str, Field(max_length=40)] = ""
    """The duel whose turn and picked reply come before this one."""
    first: Annotated[str, Field(max_length=40)] = ""
    """A run; the newest when empty."""
    second: Annotated[str, Field(max_length=40)] = BASE_RUN


class _Picked(Body):
    pick: Literal["left", "right", "tie", "both_bad"]


def duel_routes(core: Core) -> APIRouter:
    """Return the routes of duels: for everyone who may talk to the character."""
    router = APIRouter()
    router.include_router(_fight_routes(core), prefix=_BELOW)
    router.include_router(_pick_routes(core), prefix=_BELOW)
    return router


def _fight_routes(core: Core) -> APIRouter:
    router = APIRouter()
    fights: dict[str, Fight] = {}

    def find(request: Request, character_id: str, duel_id: str) -> Fight:
        core.entry(request.scope, character_id)
        found = fights.get(duel_id)
        if found is None or found.account != visitor_of(request.scope).account:
            raise ApiError(404, "there is no such duel", code="not_found")
        return found

    @router.post("")
    async def start(request: Request, character_id: str) -> JSONResponse:
        entry = core.entry(request.scope, character_id)
        asked = parse(_Asked, await request.body())
        account = visitor_of(request.scope).account
        runs = _runs(entry, asked)
        earlier = await run_in_threadpool(_earlier, entry, asked, account)
        for other in fights.values():
            if other.account == account:
                other.stop()  # a visitor looks at one at a time
        while len(fights) >= _MAX_KNOWN:
            del fights[next(iter(fights))]
        fight = Fight(account, runs, (*earlier, Message("user", asked.message)))
        fights[fight.id] = fight
        fight.start(core, request.scope, entry)
        return JSONResponse(fight.as_json(), status_code=202)

    @router.get("/{duel_id}")
    async def look(request: Request, character_id: str, duel_id: str, seen: int = 0) -> JSONResponse:
        fight = find(request, character_id, duel_id)
        await fight.wait(seen)
        return JSONResponse(fight.as_json())

    @router.post("/{duel_id}/stop")
    async def stop(request: Request, character_id: str, duel_id: str) -> JSONResponse:
        fight = find(request, character_id, duel_id)
        fight.stop()
        return JSONResponse(fight.as_json())

    return router


def _pick_routes(core: Core) -> APIRouter:
    router = APIRouter()

    @router.get("")
    async def stand(request: Request, character_id: str) -> JSONResponse:
        entry = core.entry(request.scope, character_id)
        return JSONResponse(await run_in_threadpool(_standing_json, request.scope, entry))

    @router.post("/{duel_id}/pick")
    async def pick(request: Request, character_id: str, duel_id: str) -> JSONResponse:
        entry = core.entry(request.scope, character_id)
        picked = parse(_Picked, await request.body())
        account = visitor_of(request.scope).account
        found = await run_in_threadpool(duels.find, entry.folder, duel_id, account=account, character=entry.id)
        if found is None:
            raise ApiError(404, "there is no such duel", code="not_found")
        if not await run_in_threadpool(duels.put_pick, entry.folder, found, picked.pick):
            raise ApiError(409, "something was picked here before; it stays", code="picked_already")
        standing = await run_in_threadpool(_standing_json, request.scope, entry)
        return JSONResponse({"left": found.left_run, "right": found.right_run, "pick": picked.pick, **standing})

    return router


def _runs(entry: Entry, asked: _Asked) -> tuple[str, str]:
    """Return whose reply is left and whose right, drawn here so that no page can know.

    Raises:
        ApiError: There are not two different runs to compare.
    """
    if not entry.runs:
        raise ApiError(409, f"{entry.name} is not trained yet, so there is nothing to compare", code="not_trained")
    pair = asked.first or entry.runs[-1], asked.second
    for run in pair:
        if run not in (*entry.runs, BASE_RUN):
            raise ApiError(404, f"{entry.name} has no finished run '{run}'", code="not_found", param="first")
    if pair[0] == pair[1]:
        raise ApiError(400, "a run cannot be compared with itself", code="same_run", param="second")
    return (pair[1], pair[0]) if secrets.randbits(1) else pair


def _earlier(entry: Entry, asked: _Asked, account: str) -> tuple[Message, ...]:
    """Return what was said before this turn: an earlier duel's turn with the reply that was picked."""
    if not asked.after:
        return ()
    before = duels.find(entry.folder, asked.after, account=account, character=entry.id)
    if before is None:
        raise ApiError(404, "there is no such duel to go on from", code="not_found", param="after")
    said = [Message("user" if each["role"] == "user" else "assistant", each["content"]) for each in before.messages]
    reply = before.right_reply if before.pick == "right" else before.left_reply
    return (*said, Message("assistant", reply))


def _standing_json(scope: Scope, entry: Entry) -> dict[str, Any]:
    """Return how the runs stand; an admin sees the picks of all visitors."""
    visitor = visitor_of(scope)
    account = "" if visitor.role == "admin" else visitor.account
    found = duels.standings(entry.folder, character=entry.id, account=account)
    return {
        "standings": [each.as_json() for each in found],
        "strengths": duels.strengths_of(found).as_json(),
        "runs": [*reversed(entry.runs), BASE_RUN],
        "prompts": list(entry.config.evaluation.prompts) if entry.config else [],
    }
