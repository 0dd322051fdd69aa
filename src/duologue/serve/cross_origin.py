"""Pages of other sites that may ask the API from a browser; the page's own routes answer none.

A request of theirs is let in by the key it brings and by nothing else: no answer ever allows credentials, so a browser
neither sends this server's cookie along for them nor shows them what it would open.
"""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from duologue.errors import ConfigError

ANY = "*"
_PATHS = frozenset({"/openapi.json", "/props", "/tokenize", "/detokenize", "/completion"})
_PATHS_BELOW = "/v1/"
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")  # as browsers write it
_GRANTS = b"access-control-"
_TOLD = (
    *("Retry-After", "X-Duologue-Ignored", "X-Duologue-Truncated", "X-Should-Retry"),
    *(f"X-RateLimit-{what}-{of}" for what in ("Limit", "Remaining", "Reset") for of in ("Requests", "Tokens")),
)


def check_origins(origins: Sequence[str]) -> None:
    """Refuse what no browser would say of itself.

    Raises:
        ConfigError: One is no origin.
    """
    wrong = next((each for each in origins if each != ANY and not _ORIGIN.fullmatch(each)), None)
    if wrong is not None:
        raise ConfigError(
            f"'{wrong}' is no origin",
            where="server.allowed_origins",
            needed="scheme and host in lower case, with a port where there is one, and no path",
            action="Write it like https://chat.example or http://127.0.0.1:5173.",
        )


class CrossOrigin:
    """Answers browsers that ask whether a page of another site may use the API, and lets nothing behind it answer.

    Args:
        app: The app behind it.
        origins: Their addresses, such as `https://chat.example`, or `*` for every site.
    """

    def __init__(self, app: ASGIApp, *, origins: Sequence[str]) -> None:
        """Keep the origins."""
        self._app = _Silent(app)
        self._origins = frozenset(origins)
        self._answering = CORSMiddleware(
            self._app, allow_origins=origins, allow_methods=("GET", "POST"), allow_headers=(ANY,), expose_headers=_TOLD
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request; what other sites may not ask is refused as without this."""
        is_theirs = scope["type"] == "http" and self._is_allowed(scope)
        await (self._answering if is_theirs else self._app)(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        path = scope["path"]
        if not self._origins or (path not in _PATHS and not path.startswith(_PATHS_BELOW)):
            return False
        origin = Headers(scope=scope).get("origin", "")
        is_asking = scope["method"] == "OPTIONS"
        return not is_asking or ANY in self._origins or origin in self._origins


class _Silent:
    """Takes from answers what lets other sites read them: Gradio allows any site, with credentials."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                kept = [(name, value) for name, value in headers if not name.lower().startswith(_GRANTS)]
                message = {**message, "headers": kept}
            await send(message)

        await self._app(scope, receive, send_without)
