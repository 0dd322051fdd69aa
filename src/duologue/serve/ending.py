"""The end of the server: new requests are refused, and what would never end by itself is ended in order."""

import asyncio
import time

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from duologue.serve.refusal import ApiError

_LOOK_SECONDS = 0.02
_STREAM_SECONDS = 0.3  # for the last frames of a reply to be sent
_CANCEL_SECONDS = 0.5


class Ending:
    """How far the end has come.

    Attributes:
        has_begun: Whether new requests are refused.
    """

    def __init__(self) -> None:
        """Start with no end in sight."""
        self.has_begun = False
        self._open: dict[asyncio.Task[object], bool] = {}  # whether it is a stream of events
        self._cut: set[asyncio.Task[object]] = set()

    def begin(self) -> None:
        """Refuse new requests from now on."""
        self.has_begun = True

    def enter(self, task: "asyncio.Task[object]") -> None:
        """Take note of a request that is being answered."""
        self._open[task] = False

    def note_stream(self, task: "asyncio.Task[object]") -> None:
        """Take note of an answer that may have no end of its own."""
        self._open[task] = True

    def leave(self, task: "asyncio.Task[object]") -> bool:
        """Forget a request; return whether it was cut."""
        self._open.pop(task, None)
        was_cut = task in self._cut
        self._cut.discard(task)
        return was_cut

    async def close(self, *, grace_seconds: float) -> None:
        """Wait for the requests that are being answered, then cut those that are left.

        Streams of events are cut early: no reply is being made any more, so what is left is without an end of its own.
        """
        deadline = time.monotonic() + grace_seconds
        await self._wait(min(_STREAM_SECONDS, grace_seconds))
        self._cut_open(only_streams=True)
        await self._wait(deadline - time.monotonic())
        self._cut_open(only_streams=False)
        await self._wait(_CANCEL_SECONDS)

    def _cut_open(self, *, only_streams: bool) -> None:
        for task, is_stream in self._open.items():
            if task not in self._cut and (is_stream or not only_streams):
                self._cut.add(task)
                task.cancel()

    async def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._open and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_SECONDS)


class EndsWithServer:
    """Refuses what comes once the server is about to end, and completes the answers that are cut then.

    Args:
        app: The app behind it.
        ending: How far the end has come.
    """

    def __init__(self, app: ASGIApp, *, ending: Ending) -> None:
        """Keep the ending."""
        self._app = app
        self._ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, with an end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._ending.has_begun:
            await _refuse(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None, "an app is called in a task"
        sent: list[Message] = []  # the first and the last

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_stream(message):
                self._ending.note_stream(task)
            sent[1:] = [message]
            await send(message)

        was_cut = False
        self._ending.enter(task)
        try:
            await self._app(scope, receive, send_and_note)
        except asyncio.CancelledError:
            was_cut = self._ending.leave(task)
            if not was_cut:
                raise
            task.uncancel()
        finally:
            self._ending.leave(task)
        if was_cut and not sent:
            await _refuse(scope, receive, send)
        elif was_cut and (len(sent) == 1 or sent[-1].get("more_body")):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _is_stream(start: Message) -> bool:
    return Headers(raw=start["headers"]).get("content-type", "").startswith("text/event-stream")


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    error = ApiError(503, "the server is about to stop", code="ending", retry_after_seconds=10.0)
    await JSONResponse(error.body(), status_code=503, headers={**error.headers(), "Connection": "close"})(
        scope, receive, send
    )
