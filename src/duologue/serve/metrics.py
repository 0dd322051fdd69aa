"""What the server measures of itself, as Prometheus reads it: numbers only, never a text, a name or an address."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from duologue.chat import Chain, ReplyStream
from duologue.engine import Piece
from duologue.messages import Reply
from duologue.serve.generation import OpenStream

if TYPE_CHECKING:
    from duologue.serve.core import Core

_KEY = "duologue.refusals"
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_BAD_REQUEST = 400
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ROUTES = frozenset(
    {
        *("/", "/health", "/metrics", "/props", "/tokenize", "/detokenize", "/openapi.json", "/login"),
        *("/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/completion"),
    }
)


class Metrics:
    """Counts for one server.

    Attributes:
        media_type: Of what `render` returns.

    Args:
        clock: Seconds that only go forward.
    """

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with nothing counted, in a registry of its own: several servers in one process do not mix."""
        self._clock = clock
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "duologue_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self._refusals = Counter("duologue_refusals", "Requests refused, by reason.", ("reason",), registry=registry)
        self._replies = Counter("duologue_replies", "Replies that ended, by how.", ("end",), registry=registry)
        self._prompt = Counter("duologue_prompt_tokens", "Tokens of prompts.", registry=registry)
        self._cached = Counter(
            "duologue_cached_prompt_tokens", "Tokens of prompts that the engine still had.", registry=registry
        )
        self._generated = Counter("duologue_generated_tokens", "Tokens generated.", registry=registry)
        self._wait = Histogram(
            "duologue_wait_seconds", "From a request to its turn at the model.", buckets=_SECONDS, registry=registry
        )
        self._first = Histogram(
            "duologue_first_token_seconds", "From a request to its first text.", buckets=_SECONDS, registry=registry
        )
        self._whole = Histogram(
            "duologue_reply_seconds", "From a request to the end of its reply.", buckets=_SECONDS, registry=registry
        )
        self._running = Gauge("duologue_replies_running", "Replies running or waiting.", registry=registry)
        self._waiting = Gauge("duologue_replies_waiting", "Replies that wait in line.", registry=registry)
        self._open = Gauge("duologue_bots_open", "Characters whose chats are open.", registry=registry)
        self._fallbacks = Gauge(
            "duologue_limiter_fallbacks",
            "Times that the shared counter of requests did not answer and this server counted alone.",
            registry=registry,
        )

    def render(self, core: "Core") -> bytes:
        """Return everything in Prometheus' text format."""
        self._running.set(core.generations.num_running)
        self._waiting.set(core.generations.num_waiting)
        self._open.set(len(core.library.open_bots()))
        self._fallbacks.set(core.limits.num_failures)
        return generate_latest(self._registry)

    def watched(self, open_stream: OpenStream) -> OpenStream:
        """Return the same, with its reply measured."""
        asked_at = self._clock()

        def open_watched(cancel: threading.Event) -> ReplyStream | Chain:
            # It has what whoever runs a reply needs of a stream; it is no chain and no reply of its own.
            return cast("ReplyStream", _Watched(open_stream(cancel), self, asked_at))

        return open_watched

    def note_answer(self, scope: Scope, status: int, reasons: list[str]) -> None:
        """Count an answer, and why it was refused."""
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(_route(scope["path"]), method, str(status)).inc()
        if status >= _BAD_REQUEST:
            self._refusals.labels(reasons[-1] if reasons else f"http_{status}").inc()

    def pieces(self, stream: ReplyStream | Chain, asked_at: float) -> Iterator[Piece]:
        """Yield a reply's pieces, measured."""
        self._wait.observe(self._clock() - asked_at)
        has_text, end = False, "error"
        try:
            for piece in stream:
                if piece.text and not has_text:
                    has_text = True
                    self._first.observe(self._clock() - asked_at)
                yield piece
            end = self._count(stream.reply)
        finally:
            self._whole.observe(self._clock() - asked_at)
            self._replies.labels(end).inc()

    def _count(self, reply: Reply) -> str:
        self._prompt.inc(reply.num_prompt_tokens)
        self._cached.inc(max(0, reply.num_cached_tokens))
        self._generated.inc(reply.num_reply_tokens)
        return reply.finish_reason


class _Watched:
    """A stream whose pieces are measured on their way."""

    def __init__(self, stream: ReplyStream | Chain, metrics: Metrics, asked_at: float) -> None:
        self._stream = stream
        self._metrics = metrics
        self._asked_at = asked_at

    def __iter__(self) -> Iterator[Piece]:
        return self._metrics.pieces(self._stream, self._asked_at)

    @property
    def reply(self) -> Reply:
        return self._stream.reply

    def close(self) -> None:
        self._stream.close()


class Measured:
    """Counts every answer; the outermost part, so that what the door refuses is counted too.

    Args:
        app: The app behind it.
        metrics: Where it is counted.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        """Keep the parts."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        reasons: list[str] = []
        scope[_KEY] = reasons

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.note_answer(scope, message["status"], reasons)
            await send(message)

        await self._app(scope, receive, send_counted)


def note_refusal(scope: Scope, code: str) -> None:
    """Say why a request is refused."""
    reasons = scope.get(_KEY)
    if isinstance(reasons, list) and code:
        reasons.append(code)


def _route(path: str) -> str:
    """Return a path, or the kind of it: the number of names stays bounded whatever is asked for."""
    if path in _ROUTES:
        return path
    kinds = ("/v1/models/", "/v1/", "/page/static/", "/page/", "/gradio_api/")
    return next((f"{kind}*" for kind in kinds if path.startswith(kind)), "other")
