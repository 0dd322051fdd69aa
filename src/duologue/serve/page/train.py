"""Routes of the page: training and duels."""

from fastapi import APIRouter

from duologue.serve.core import Core


def train_routes(core: Core) -> APIRouter:
    """Return the routes of the panel."""
    assert core.home.server.port >= 0
    return APIRouter()
