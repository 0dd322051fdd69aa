"""How many requests are worked on at the same time: beyond what the line of replies holds, more only make all slower.

Whoever comes while there are too many is told so at once, before anything is read, looked up or computed: a thousand
clients at once are answered within a second, most of them with a time to try again.
"""

import json
from collections import Counter

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from duologue.serve.limits import STREAMED_BODIES
from duologue.serve.refusal import ApiError
from duologue.serve.visitor import address_of

_BESIDE_LINE = 16  # requests of other kinds, and those on their way into the line
_RETRY_SECONDS = 2.0
_ALWAYS_PATHS = frozenset({"/health"})


class Crowd:
    """Counts the requests that have arrived whole and have no answer yet.

    Args:
        max_line: Replies that may run and wait.
    """

    def __init__(self, max_line: int) -> None:
        """Start with none."""
        self._max_inside = max_line + _BESIDE_LINE
        self._inside: Counter[str] = Counter()  # by address
        self.num_inside = 0
        self.num_refused = 0

    @property
    def is_full(self) -> bool:
        """Whether one more would only wait."""
        return self.num_inside >= self._max_inside

    def enter(self, address: str) -> bool:
        """Let a request in; return False when it is one too many, of all or of its address.

        An address may have as much as leaves a share for one more: alone half of the room, beside another a third.
        """
        num_addresses = len(self._inside) + (address not in self._inside)
        if self.is_full or self._inside[address] >= max(1, self._max_inside // (num_addresses + 1)):
            self._forget(address)
            return False
        self.num_inside += 1
        self._inside[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Let a request go, whose answer has begun or will never begin."""
        self.num_inside -= 1
        self._inside[address] -= 1
        self._forget(address)

    def _forget(self, address: str) -> None:
        if not self._inside[address]:
            del self._inside[address]

    def refusal(self) -> ApiError:
        """Return what one too many is told."""
        self.num_refused += 1
        return ApiError(
            503, "too many requests at this moment; try again soon", code="busy", retry_after_seconds=_RETRY_SECONDS
        )

    def raw_refusal(self) -> bytes:
        """Return the same as a whole answer on the wire."""
        error = self.refusal()
        body = json.dumps(error.body()).encode()
        headers = {**error.headers(), "Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 503 Service Unavailable\r\n{lines}Connection: close\r\n\r\n".encode() + body


class InCrowd:
    """Counts a request from its arrival to the start of its answer, and refuses one too many.

    Args:
        app: The app behind it.
        crowd: Who is inside.
    """

    def __init__(self, app: ASGIApp, *, crowd: Crowd) -> None:
        """Keep the crowd."""
        self._app = app
        self._crowd = crowd

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http" or scope["path"] in _ALWAYS_PATHS or scope["path"] in STREAMED_BODIES:
            await self._app(scope, receive, send)
            return
        address = address_of(scope)
        if not self._crowd.enter(address):
            error = self._crowd.refusal()
            await JSONResponse(error.body(), status_code=error.status, headers=error.headers())(scope, receive, send)
            return
        is_inside = True

        async def send_and_leave(message: Message) -> None:
            nonlocal is_inside
            if is_inside and message["type"] == "http.response.start":
                is_inside = False
                self._crowd.leave(address)
            await send(message)

        try:
            await self._app(scope, receive, send_and_leave)
        finally:
            if is_inside:
                self._crowd.leave(address)
