"""The routes of the door itself: accounts and proofs of age."""

from fastapi import APIRouter

from duologue.serve.door.account_routes import account_routes, accounts_routes
from duologue.serve.door.age_routes import age_routes
from duologue.serve.door.door import Door
from duologue.serve.library import Library


def make_door_routes(door: Door, library: Library) -> APIRouter:
    """Return every route of the door but `/login` and `/logout`, which `Access` answers itself."""
    router = APIRouter()
    for part in (account_routes(door), accounts_routes(door), age_routes(door, library)):
        router.include_router(part)
    return router
