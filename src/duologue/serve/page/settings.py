"""Routes of the page: what a visitor and an operator may choose."""

from fastapi import APIRouter

from duologue.serve.core import Core


def settings_routes(core: Core) -> APIRouter:
    """Return the routes of the panel."""
    assert core.home.server.port >= 0
    return APIRouter()
