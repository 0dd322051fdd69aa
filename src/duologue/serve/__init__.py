"""A bot on the web: an OpenAI-compatible API and a page to chat on."""

from duologue.serve.app import build_app
from duologue.serve.run import check_address, serve

__all__ = ["build_app", "check_address", "serve"]
