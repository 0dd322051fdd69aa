"""The HTTP side: one request per call, any of them cancelled at once by closing its connection."""

import asyncio
import json
import math
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from duologue.engine.remote.faults import ServerFault, printable, refused, told_in
from duologue.engine.remote.sse import SseReader
from duologue.errors import EngineError

_POLL_SECONDS = 0.05  # how long a set `cancel` can go unseen while the server is silent
_CONNECT_SECONDS = 10.0
_MAX_ERROR_BYTES = 2**16
_MAX_LIST_BYTES = 2**24
_LOOK_AT_IT = "Check that it runs and that the address is right."
_LOOK_SECONDS = 5.0  # a server that failed has this long to show that it is back

Chunk = dict[str, Any]
_Put = Callable[[Chunk | BaseException | None], None]


class RemoteClient:
    """Requests to one server.

    Args:
        url: Address up to and with `/v1`.
        api_key: Sent as bearer token; empty sends none.
        timeout_seconds: Longest silence of the server, reading the prompt included.
    """

    def __init__(self, url: str, *, api_key: str, timeout_seconds: float) -> None:
        """Keep the settings; every call opens its own connection."""
        self.url = url
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._tls = httpx.create_ssl_context(trust_env=False)  # once: it reads all root certificates
        self._timeout = httpx.Timeout(timeout_seconds, connect=min(_CONNECT_SECONDS, timeout_seconds))

    def list_models(self) -> list[Chunk]:
        """Return the entries of `/models`; none when the server has no such page.

        Raises:
            ServerFault: The server cannot be reached, refuses, or answers something else.
        """
        with ThreadPoolExecutor(1) as thread:  # the caller may itself run inside an event loop
            return thread.submit(asyncio.run, self._list_models()).result()

    def stream(
        self, body: Chunk, *, cancel: threading.Event, looks_for: str = "", max_seconds: float = math.inf
    ) -> Generator[Chunk, None, None]:
        """Yield the chunks of a chat completion; ends early, with the connection closed, once `cancel` is set.

        Args:
            body: The request.
            cancel: Ends it.
            looks_for: Name of a model that the server must list within a few seconds before it is asked, because it
                failed not long ago; empty asks at once.
            max_seconds: Longest time from now to the end of the reply.

        Raises:
            ServerFault: The server cannot be reached, refuses, falls silent, or sends an error.
        """
        chunks: queue.SimpleQueue[Chunk | BaseException | None] = queue.SimpleQueue()
        abandoned = threading.Event()
        deadline = time.monotonic() + max_seconds

        def should_stop() -> bool:
            return cancel.is_set() or abandoned.is_set()

        async def ask() -> None:
            if looks_for:
                await self._look(looks_for)
            await self._read(body, chunks.put)

        async def pump() -> None:
            asking = asyncio.ensure_future(ask())
            is_late = False
            while not asking.done():
                await asyncio.wait({asking}, timeout=_POLL_SECONDS)
                is_late = is_late or (time.monotonic() > deadline and not asking.done())
                if is_late or should_stop():
                    asking.cancel()
            if not asking.cancelled():
                chunks.put(asking.exception())
            else:
                chunks.put(
                    ServerFault(f"the reply took more than {max_seconds:g} seconds", self.url) if is_late else None
                )

        worker = threading.Thread(target=lambda: asyncio.run(pump()), name="duologue-remote")
        worker.start()
        try:
            while (chunk := chunks.get()) is not None:
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk
        finally:
            abandoned.set()
            worker.join()

    async def _look(self, model: str) -> None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                entries = await self._list_models()
        except TimeoutError as error:
            raise self._silent(_LOOK_SECONDS) from error
        if entries and all(entry["id"] != model for entry in entries):
            raise ServerFault(f"the server has no model '{model}'", self.url, again="elsewhere", is_down=True)

    async def _read(self, body: Chunk, put: _Put) -> None:
        headers = {**self._headers, "Accept": "text/event-stream"}
        try:
            async with (
                self._http() as http,
                http.stream("POST", f"{self.url}/chat/completions", json=body, headers=headers) as answer,
            ):
                await _check(answer, self.url)
                async for event in _events(answer, self.url):
                    if event.strip() == "[DONE]":
                        return
                    put(_parse(event, self.url))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._translate(error) from error

    async def _list_models(self) -> list[Chunk]:
        try:
            async with self._http() as http, http.stream("GET", f"{self.url}/models", headers=self._headers) as answer:
                if answer.status_code in (404, 405):
                    return []
                await _check(answer, self.url)
                document = json.loads(await _read_up_to(answer, _MAX_LIST_BYTES))
                return [entry for entry in document["data"] if isinstance(entry["id"], str)]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._translate(error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ServerFault(
                "the answer to /models is not a list of models",
                self.url,
                needed="an OpenAI-compatible server",
                action="Check the address; it usually ends in /v1.",
                again="elsewhere",
                is_down=True,
            ) from error

    def _http(self) -> httpx.AsyncClient:
        # The environment (proxies, .netrc) is not asked: a key goes to the address that was named, nowhere else.
        return httpx.AsyncClient(verify=self._tls, timeout=self._timeout, trust_env=False)

    def _translate(self, error: httpx.HTTPError | httpx.InvalidURL) -> ServerFault:
        if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
            return self._silent(self._timeout.read)
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            found = "the server cannot be reached"
        else:
            found = f"the connection to the server failed ({printable(str(error)) or type(error).__name__})"
        return ServerFault(found, self.url, action=_LOOK_AT_IT, again="anywhere", is_down=True)

    def _silent(self, seconds: float | None) -> ServerFault:
        found = f"the server was silent for {seconds:g} seconds"
        return ServerFault(found, self.url, action=_LOOK_AT_IT, again="elsewhere", is_down=True)


async def _check(answer: httpx.Response, url: str) -> None:
    if answer.status_code != httpx.codes.OK:
        told = told_in(await _read_up_to(answer, _MAX_ERROR_BYTES))
        raise refused(answer.status_code, told, url, retry_after=answer.headers.get("Retry-After", ""))


async def _read_up_to(answer: httpx.Response, num_bytes: int) -> bytes:
    raw = bytearray()
    async for part in answer.aiter_bytes():
        raw += part
        if len(raw) > num_bytes:
            break
    return bytes(raw[:num_bytes])


async def _events(answer: httpx.Response, url: str) -> AsyncIterator[str]:
    kind = answer.headers.get("Content-Type", "")
    if "json" in kind or "html" in kind:
        told = told_in(await _read_up_to(answer, _MAX_ERROR_BYTES))
        raise ServerFault(
            f"the server answered with {printable(kind)} instead of a stream: {told}",
            url,
            again="elsewhere",
            is_down=True,
        )
    reader = SseReader()
    try:
        async for raw in answer.aiter_bytes():
            for event in reader.feed(raw):
                yield event
        for event in reader.rest():
            yield event
    except EngineError as error:
        raise ServerFault(error.found, url, again="elsewhere", is_down=True) from error


def _parse(event: str, url: str) -> Chunk:
    try:
        chunk = json.loads(event)
    except (ValueError, RecursionError):
        chunk = None
    if not isinstance(chunk, dict):
        found = f"the server sent an event that is not a JSON object: {printable(event)}"
        raise ServerFault(found, url, again="elsewhere", is_down=True)
    if chunk.get("error"):
        raise ServerFault(f"the server broke off the reply: {told_in(event.encode())}", url, again="elsewhere")
    return chunk
