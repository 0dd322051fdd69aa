"""The end of the server for connections that would never end by themselves, such as the page's heartbeat."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OPEN_ENDED_PATHS = "/gradio_api/"


class EndsWithServer:
    """Tells the page's event streams that their client has gone, once the server is to end, and closes them in order.

    Args:
        app: The app behind it.
        ending: Set when the server is to end.
    """

    def __init__(self, app: ASGIApp, *, ending: asyncio.Event) -> None:
        """Keep the event."""
        self._app = app
        self._ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, with an end."""
        if scope["type"] != "http" or not scope["path"].startswith(_OPEN_ENDED_PATHS):
            await self._app(scope, receive, send)
            return
        is_open = False

        async def receive_or_end() -> Message:
            return await _first(receive, self._ending)

        async def send_and_note(message: Message) -> None:
            nonlocal is_open
            is_open = message["type"] == "http.response.start" or bool(message.get("more_body"))
            await send(message)

        await self._app(scope, receive_or_end, send_and_note)
        if is_open and self._ending.is_set():
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _first(receive: Receive, ending: asyncio.Event) -> Message:
    message, end = asyncio.ensure_future(receive()), asyncio.ensure_future(ending.wait())
    try:
        await asyncio.wait({message, end}, return_when=asyncio.FIRST_COMPLETED)
        return message.result() if message.done() else {"type": "http.disconnect"}
    finally:
        message.cancel()
        end.cancel()
