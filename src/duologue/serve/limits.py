"""What a request may reach and cost: paths, size and time of its body, requests per client; and safe answer headers.

Pure ASGI, so that streams pass through untouched.
"""

import asyncio
import base64
import hashlib
import re
import time
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from duologue.serve.refusal import ApiError

MAX_BODY_BYTES = 2**20
MAX_ARRIVING_BYTES = 64 * MAX_BODY_BYTES  # of all bodies together that are not complete yet
BODY_SECONDS = 20.0
# Paths whose bodies are large: they are passed on while they arrive, and their route writes them to disk.
STREAMED_BODIES = {"/page/uploads": 512 * 2**20}
_STREAM_PART_SECONDS = 60.0  # between two parts of such a body
_STREAM_BYTES_PER_SECOND = 16 * 2**10  # less than this over the whole time, beyond that of one part, is no upload
# What the page needs of Gradio. The rest (uploads, proxies, file access, its own API) stays shut.
_PATHS = frozenset({"/", "/health", "/login", "/logout", "/age", "/theme.css", "/favicon.ico"})
_PATHS |= {"/metrics", "/openapi.json", "/props", "/tokenize", "/detokenize", "/completion"}
_PATHS_BELOW = ("/v1/", "/page/", "/age/", "/assets/", "/static/", "/gradio_api/heartbeat/")
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
_INLINE_SCRIPT = re.compile(rb"<script(?:\s[^>]*)?>(.*?)</script>", re.DOTALL)


class KnownPaths:
    """Answers 404 to every path that neither the API nor the page needs.

    Args:
        app: The app behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Keep the app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at one request's path."""
        if scope["type"] == "http" and scope["path"] not in _PATHS and not scope["path"].startswith(_PATHS_BELOW):
            await _answer(ApiError(404, f"there is no {scope['path']}", code="not_found"), scope, receive, send)
            return
        await self._app(scope, receive, send)


class BodyLimit:
    """Reads the whole body before the app sees the request: too large is 413, too slow is 408.

    Args:
        app: The app behind it.
        max_bytes: Largest body.
        max_seconds: Longest time the body may take to arrive.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int = MAX_BODY_BYTES, max_seconds: float = BODY_SECONDS) -> None:
        """Keep the limits."""
        self._app = app
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._num_arriving_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] in STREAMED_BODIES:
            await self._app(scope, _streamed(scope, receive), send)
            return
        try:
            async with asyncio.timeout(self._max_seconds):
                body = await self._read(scope, receive)
        except TimeoutError:
            error = ApiError(408, f"the request did not arrive within {self._max_seconds:g} seconds", code="timeout")
            await _answer(error, scope, receive, send)
            return
        except _TooMuchArriving:
            error = ApiError(503, "too much is being sent at once", code="busy", retry_after_seconds=2.0)
            await _answer(error, scope, receive, send)
            return
        if body is None:
            needed = f"the request is larger than {self._max_bytes} bytes"
            await _answer(ApiError(413, needed, code="request_too_large"), scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared) > self._max_bytes:
            return None
        parts, num_bytes = [], 0
        try:
            while True:
                message = await receive()
                parts.append(message.get("body", b""))
                num_bytes += len(parts[-1])
                self._num_arriving_bytes += len(parts[-1])
                if num_bytes > self._max_bytes:
                    return None
                if not message.get("more_body"):  # the last part, or a disconnect
                    return b"".join(parts)
                if self._num_arriving_bytes > MAX_ARRIVING_BYTES:
                    raise _TooMuchArriving
        finally:
            self._num_arriving_bytes -= num_bytes


class _TooMuchArriving(Exception):
    """Bodies that are not complete take as much memory as they may."""


class SafeHeaders:
    """Adds headers that forbid loading anything from elsewhere, framing, and guessing of content types.

    The page's own inline scripts are allowed by their hash, so a script that reached the page in a message is not.

    Args:
        app: The app behind it.
        frame_ancestors: Sites that may frame the page all the same.
    """

    def __init__(self, app: ASGIApp, *, frame_ancestors: Sequence[str] = ()) -> None:
        """Keep the app."""
        self._app = app
        self._framing = " ".join(frame_ancestors) or "'none'"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request with the headers added."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held: list[Message] = []  # a page is held back until its scripts can be hashed, so it must come uncompressed
        if scope["path"] == "/":
            scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                _add_headers(headers, framing=self._framing)
                if headers.get("content-type", "").startswith("text/html"):
                    held.append(message)
                    return
            elif held:
                held.append(message)
                if message.get("more_body"):
                    return
                body = b"".join(part.get("body", b"") for part in held[1:])
                is_report = _is_report(scope["path"])
                policy = _REPORT_POLICY if is_report else content_security_policy(body, framing=self._framing)
                MutableHeaders(scope=held[0])["Content-Security-Policy"] = policy
                for part in held:
                    await send(part)
                held.clear()
                return
            await send(message)

        await self._app(scope, receive, send_with_headers)


def content_security_policy(page: bytes = b"", *, framing: str = "'none'") -> str:
    """Return the policy for a page: everything from this server, and only the inline scripts the page has now."""
    digests = (
        base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _INLINE_SCRIPT.findall(page) if script
    )
    scripts = " ".join(["'self'", *dict.fromkeys(f"'sha256-{digest}'" for digest in digests)])
    return (
        f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
        f"frame-ancestors {framing}"
    )


def _is_report(path: str) -> bool:
    """Return whether a path is that of a run's report, a page that needs nothing but what it brings."""
    return path.startswith("/page/characters/") and path.endswith("/report")


def _add_headers(headers: MutableHeaders, *, framing: str) -> None:
    headers["X-Content-Type-Options"] = "nosniff"
    if framing == "'none'":  # this older header can name no site
        headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=()"
    headers["Content-Security-Policy"] = content_security_policy(framing=framing)


def _streamed(scope: Scope, receive: Receive) -> Receive:
    """Pass a large body on as it comes; its route sees the refusal, and answers with it."""
    max_bytes = STREAMED_BODIES[scope["path"]]
    declared = Headers(scope=scope).get("content-length", "0")
    num_bytes = int(declared) if declared.isdecimal() else 0
    too_large = ApiError(413, f"the file is larger than {max_bytes // 2**20} MiB", code="request_too_large")
    num_seen = 0
    began = time.monotonic()

    async def count() -> Message:
        nonlocal num_seen
        if num_bytes > max_bytes:
            raise too_large
        try:
            async with asyncio.timeout(_STREAM_PART_SECONDS):
                message = await receive()
        except TimeoutError as error:
            raise ApiError(408, "the file stopped arriving", code="timeout") from error
        num_seen += len(message.get("body", b""))
        if num_seen > max_bytes:
            raise too_large
        if time.monotonic() - began > _STREAM_PART_SECONDS + num_seen / _STREAM_BYTES_PER_SECOND:
            raise ApiError(408, "the file arrives too slowly", code="timeout")
        return message

    return count


def _replay(body: bytes, receive: Receive) -> Receive:
    is_replayed = False

    async def replay() -> Message:
        nonlocal is_replayed
        if is_replayed:
            return await receive()
        is_replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _answer(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {**error.headers(), "Connection": "close"} if error.status in (408, 413, 503) else error.headers()
    await JSONResponse(error.body(), status_code=error.status, headers=headers)(scope, receive, send)
