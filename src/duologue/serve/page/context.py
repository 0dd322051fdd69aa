"""Routes of the page: what the model was sent."""

from fastapi import APIRouter

from duologue.serve.core import Core


def context_routes(core: Core) -> APIRouter:
    """Return the routes of the panel."""
    assert core.home.server.port >= 0
    return APIRouter()
