"""Requests that are being answered, so that the end of a login, a key or an account ends their streams too."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from starlette.types import Message, Receive, Send

from duologue.errors import DuologueError
from duologue.serve.visitor import Visitor

WATCH_SECONDS = 2.0  # how soon a change made by another process, such as the command line, is seen

IsIn = Callable[[Visitor], Awaitable[bool]]


@dataclass(eq=False, slots=True)
class OpenRequest:
    """A request that is being answered.

    Attributes:
        visitor: Whose.
        ended: Set when the visitor is in no longer.
    """

    visitor: Visitor
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _has_started: bool = False
    _is_complete: bool = False

    def receiving(self, receive: Receive) -> Receive:
        """Return a `receive` that says the client has gone once the visitor is in no longer."""

        async def receive_or_end() -> Message:
            message, end = asyncio.ensure_future(receive()), asyncio.ensure_future(self.ended.wait())
            try:
                await asyncio.wait({message, end}, return_when=asyncio.FIRST_COMPLETED)
                return message.result() if message.done() else {"type": "http.disconnect"}
            finally:
                for waiting in (message, end):
                    if not waiting.done():
                        waiting.cancel()

        return receive_or_end

    def sending(self, send: Send) -> Send:
        """Return a `send` that lets nothing out once the visitor is in no longer."""

        async def send_unless_ended(message: Message) -> None:
            if self.ended.is_set():
                return
            if message["type"] == "http.response.start":
                self._has_started = True
            elif message["type"] == "http.response.body":
                self._is_complete = not message.get("more_body")
            await send(message)

        return send_unless_ended

    @property
    def is_cut(self) -> bool:
        """Whether an answer has begun and will not be completed."""
        return self.ended.is_set() and self._has_started and not self._is_complete

    @property
    def is_unanswered(self) -> bool:
        """Whether nothing has been answered and nothing will."""
        return self.ended.is_set() and not self._has_started


class OpenRequests:
    """The requests that are being answered. Used in one event loop, except for `end`.

    Args:
        is_in: Says whether a visitor who came in still is.
    """

    def __init__(self, is_in: IsIn, *, watch_seconds: float = WATCH_SECONDS) -> None:
        """Start with none."""
        self._is_in = is_in
        self._watch_seconds = watch_seconds
        self._open: set[OpenRequest] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watching: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def entered(self, visitor: Visitor) -> AsyncIterator[OpenRequest]:
        """Know of a request while the block runs."""
        request = OpenRequest(visitor)
        self._loop = asyncio.get_running_loop()
        self._open.add(request)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        try:
            yield request
        finally:
            self._open.discard(request)

    def end(self, is_ended: Callable[[Visitor], bool]) -> None:
        """End the requests of visitors who are in no longer; may be called from any thread."""

        def end() -> None:
            for request in self._open:
                if is_ended(request.visitor):
                    request.ended.set()

        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the server has ended
                self._loop.call_soon_threadsafe(end)

    async def _watch(self) -> None:
        while self._open:
            await asyncio.sleep(self._watch_seconds)
            for visitor in {request.visitor for request in self._open}:
                with contextlib.suppress(DuologueError):  # the book cannot be read now: it is asked again
                    if await self._is_in(visitor):
                        continue
                    self.end(lambda other, gone=visitor: other == gone)  # type: ignore[misc]
