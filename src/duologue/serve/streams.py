"""Answers that grow: server-sent events whose reply is stopped when the client goes away or stops reading."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import Response
from starlette.types import Receive, Scope, Send

from duologue.serve.generation import Generation

_SEND_SECONDS = 60.0  # a client that stops reading is dropped after this time


class EventStream(Response):
    """Server-sent events.

    Args:
        frames: What is sent.
        generation: The reply that ends with its client.
    """

    def __init__(self, frames: AsyncIterator[bytes], generation: Generation) -> None:
        """Prepare the headers."""
        super().__init__(
            media_type="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        )
        del self.headers["content-length"]
        self._frames = frames
        self._generation = generation

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send the frames."""
        async with cancelled_on_disconnect(self._generation, receive):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            try:
                async for part in self._frames:
                    async with asyncio.timeout(_SEND_SECONDS):
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            except (TimeoutError, OSError):
                self._generation.cancel.set()


@contextlib.asynccontextmanager
async def cancelled_on_disconnect(generation: Generation, receive: Receive) -> AsyncIterator[None]:
    """Stop a reply when its client goes away while the block runs."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        generation.cancel.set()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except BaseException:
        generation.cancel.set()
        raise
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher
