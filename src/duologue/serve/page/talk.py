"""Routes of the page: chats and messages."""

from fastapi import APIRouter

from duologue.serve.core import Core


def talk_routes(core: Core) -> APIRouter:
    """Return the routes of the panel."""
    assert core.home.server.port >= 0
    return APIRouter()
