"""Routes of the page: the gallery, cards and lorebooks."""

from fastapi import APIRouter

from duologue.serve.core import Core


def character_routes(core: Core) -> APIRouter:
    """Return the routes of the panel."""
    assert core.home.server.port >= 0
    return APIRouter()
