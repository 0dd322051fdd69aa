"""The OpenAI-compatible API."""

from duologue.serve.api.routes import make_routes

__all__ = ["make_routes"]
