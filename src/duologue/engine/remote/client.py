"""The HTTP side: one request per call, any of them cancelled at once by closing its connection."""

import asyncio
import json
import queue
import threading
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from duologue.engine.remote.sse import SseReader
from duologue.errors import EngineError

_POLL_SECONDS = 0.05  # how long a set `cancel` can go unseen while the server is silent
_CONNECT_SECONDS = 10.0
_MAX_ERROR_BYTES = 2**16
_MAX_LIST_BYTES = 2**24
_MAX_TOLD_CHARS = 300
_ADVICE = {
    400: "If the server names an unknown field: set generation.top_k = 0, min_p = 0 and repetition_penalty = 1.",
    401: "Check the API key.",
    403: "Check the API key.",
    404: "Check the address; it usually ends in /v1.",
    429: "The server limits its requests; wait and try again.",
    503: "The server is busy or still loads its model; wait and try again.",
}

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
        self._url = url
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._tls = httpx.create_ssl_context(trust_env=False)  # once: it reads all root certificates
        self._timeout = httpx.Timeout(timeout_seconds, connect=min(_CONNECT_SECONDS, timeout_seconds))

    def list_models(self) -> list[Chunk]:
        """Return the entries of `/models`; none when the server has no such page.

        Raises:
            EngineError: The server cannot be reached, refuses, or answers something else.
        """
        with ThreadPoolExecutor(1) as thread:  # the caller may itself run inside an event loop
            return thread.submit(asyncio.run, self._list_models()).result()

    def stream(self, body: Chunk, *, cancel: threading.Event) -> Generator[Chunk, None, None]:
        """Yield the chunks of a chat completion; ends early, with the connection closed, once `cancel` is set.

        Raises:
            EngineError: The server cannot be reached, refuses, falls silent, or sends an error.
        """
        chunks: queue.SimpleQueue[Chunk | BaseException | None] = queue.SimpleQueue()
        abandoned = threading.Event()

        def should_stop() -> bool:
            return cancel.is_set() or abandoned.is_set()

        worker = threading.Thread(
            target=lambda: asyncio.run(self._pump(body, chunks.put, should_stop)), name="duologue-remote"
        )
        worker.start()
        try:
            while (chunk := chunks.get()) is not None:
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk
        finally:
            abandoned.set()
            worker.join()

    async def _pump(self, body: Chunk, put: _Put, should_stop: Callable[[], bool]) -> None:
        reading = asyncio.ensure_future(self._read(body, put))
        while not reading.done():
            await asyncio.wait({reading}, timeout=_POLL_SECONDS)
            if should_stop():
                reading.cancel()
        put(None if reading.cancelled() else reading.exception())

    async def _read(self, body: Chunk, put: _Put) -> None:
        headers = {**self._headers, "Accept": "text/event-stream"}
        try:
            async with (
                self._http() as http,
                http.stream("POST", f"{self._url}/chat/completions", json=body, headers=headers) as answer,
            ):
                await _check(answer, self._url)
                async for event in _events(answer):
                    if event.strip() == "[DONE]":
                        return
                    put(_parse(event))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._translate(error) from error

    async def _list_models(self) -> list[Chunk]:
        try:
            async with self._http() as http, http.stream("GET", f"{self._url}/models", headers=self._headers) as answer:
                if answer.status_code in (404, 405):
                    return []
                await _check(answer, self._url)
                document = json.loads(await _read_up_to(answer, _MAX_LIST_BYTES))
                return [entry for entry in document["data"] if isinstance(entry["id"], str)]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._translate(error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise EngineError(
                "the answer to /models is not a list of models",
                where=self._url,
                needed="an OpenAI-compatible server",
                action="Check the address; it usually ends in /v1.",
            ) from error

    def _http(self) -> httpx.AsyncClient:
        # The environment (proxies, .netrc) is not asked: a key goes to the address that was named, nowhere else.
        return httpx.AsyncClient(verify=self._tls, timeout=self._timeout, trust_env=False)

    def _translate(self, error: httpx.HTTPError | httpx.InvalidURL) -> EngineError:
        if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
            found = f"the server was silent for {self._timeout.read:g} seconds"
        elif isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            found = "the server cannot be reached"
        else:
            found = f"the connection to the server failed ({_printable(str(error)) or type(error).__name__})"
        return EngineError(found, where=self._url, action="Check that it runs and that the address is right.")


async def _check(answer: httpx.Response, url: str) -> None:
    if answer.status_code == httpx.codes.OK:
        return
    told = _told(await _read_up_to(answer, _MAX_ERROR_BYTES))
    found = f"the server answered {answer.status_code}" + (f": {told}" if told else "")
    action = _ADVICE.get(answer.status_code, "")
    if wait := _printable(answer.headers.get("Retry-After", "")):
        action = f"Try again in {wait} seconds." if wait.isdecimal() else f"Try again after {wait}."
    raise EngineError(found, where=url, action=action)


async def _read_up_to(answer: httpx.Response, num_bytes: int) -> bytes:
    raw = bytearray()
    async for part in answer.aiter_bytes():
        raw += part
        if len(raw) > num_bytes:
            break
    return bytes(raw[:num_bytes])


async def _events(answer: httpx.Response) -> AsyncIterator[str]:
    kind = answer.headers.get("Content-Type", "")
    if "json" in kind or "html" in kind:
        told = _told(await _read_up_to(answer, _MAX_ERROR_BYTES))
        raise EngineError(f"the server answered with {kind} instead of a stream: {told}")
    reader = SseReader()
    async for raw in answer.aiter_bytes():
        for event in reader.feed(raw):
            yield event
    for event in reader.rest():
        yield event


def _parse(event: str) -> Chunk:
    try:
        chunk = json.loads(event)
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        raise EngineError(f"the server sent an event that is not a JSON object: {_printable(event)}")
    if chunk.get("error"):
        raise EngineError(f"the server broke off the reply: {_told(event.encode())}")
    return chunk


def _told(raw: bytes) -> str:
    """Return what a body says about an error: OpenAI's shape, FastAPI's, or its beginning."""
    text = raw.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except ValueError:
        return _printable(text)
    if isinstance(document, dict):
        error = document.get("error") or document.get("message") or document.get("detail") or document
        document = error.get("message", error) if isinstance(error, dict) else error
    return _printable(str(document))


def _printable(text: str) -> str:
    """Return `text` on one line without control characters: it is shown in a terminal."""
    kept = "".join(character if character.isprintable() else " " for character in text[: 4 * _MAX_TOLD_CHARS])
    line = " ".join(kept.split())
    return line if len(line) <= _MAX_TOLD_CHARS else line[: _MAX_TOLD_CHARS - 3] + "..."
