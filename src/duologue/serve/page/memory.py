"""Routes of the page: what is remembered."""

from fastapi import APIRouter

from duologue.serve.core import Core


def memory_routes(core: Core) -> APIRouter:
    """Return the routes of the panel."""
    assert core.home.server.port >= 0
    return APIRouter()
