"""Characters on the web: an OpenAI-compatible API, a page to talk on, and the door in front of both."""

from duologue.serve.app import build_app
from duologue.serve.door import Accounts, Door
from duologue.serve.library import Library
from duologue.serve.run import check_address, serve

__all__ = ["Accounts", "Door", "Library", "build_app", "check_address", "serve"]
