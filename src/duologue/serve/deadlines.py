"""Connections that cost something without asking for anything: silent, slow, endless or too many.

Uvicorn waits for ever for the rest of a request and for a client that does not read. This protocol gives each
connection a time for its headers, for the rest of its body once it is answered, and for taking what is written to it,
and bounds how many there are. One sweep a second looks at all of them.
"""

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from duologue.serve.crowd import Crowd

_HEAD_END = b"\r\n\r\n"
_ALWAYS_ANSWERED = (b"GET /health ", b"HEAD /health ")
_SWEEP_SECONDS = 1.0
_LEAST_READ_BYTES = 1024  # within `reader_seconds`; a client that takes a byte now and then does not read
_ANSWERS = {
    408: b"the headers did not arrive in time",
    431: b"the headers are too large",
    503: b"too many connections",
}
_PHRASES = {408: b"Request Timeout", 431: b"Request Header Fields Too Large", 503: b"Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Deadlines:
    """What a connection may take.

    Attributes:
        header_seconds: From the connection, or the first byte of a later request, to the end of its headers.
        reader_seconds: A client that takes next to nothing of what is written to it is dropped after this time.
        rest_seconds: A body that goes on after its answer is cut after this time.
        max_header_bytes: Longest headers.
        max_connections: Connections at the same time; beyond that the one that has waited longest for its headers goes,
            or else the one that has sent its body for longest, of the address with the most of them.
    """

    header_seconds: float = 10.0
    reader_seconds: float = 60.0
    rest_seconds: float = 2.0
    max_header_bytes: int = 65_536
    max_connections: int = 2_048


class Connections:
    """The connections of a server.

    Args:
        deadlines: What each may take.
        crowd: The requests that are worked on; while they are too many, a new one is refused here.
    """

    def __init__(self, deadlines: Deadlines | None = None, *, crowd: Crowd | None = None) -> None:
        """Start with none."""
        self.deadlines = deadlines or Deadlines()
        self.crowd = crowd
        self.num_dropped = 0
        self._all: set[Connection] = set()
        # Both in the order in which they began.
        self._without_head: dict[Connection, None] = {}
        self._with_body: dict[Connection, None] = {}  # its rest is still to come

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._all)

    @property
    def num_with_body(self) -> int:
        """How many have not sent the whole of their body."""
        return len(self._with_body)

    def protocol(self) -> Callable[..., "Connection"]:
        """Return what makes the protocol of a new connection."""
        return functools.partial(Connection, connections=self)

    def add(self, connection: "Connection") -> bool:
        """Take a new connection; return False when there are too many and none can go."""
        if len(self._all) >= self.deadlines.max_connections:
            oldest = next(iter(self._without_head), None) or self._slowest(connection.address)
            if oldest is None:
                return False
            self.drop(oldest)
        self._all.add(connection)
        return True

    def discard(self, connection: "Connection") -> None:
        """Forget a connection that has ended."""
        self._all.discard(connection)
        self._without_head.pop(connection, None)
        self._with_body.pop(connection, None)

    def drop(self, connection: "Connection") -> None:
        """End a connection at once."""
        self.num_dropped += 1
        self.discard(connection)
        connection.transport.abort()

    def note_head(self, connection: "Connection", *, is_awaited: bool) -> None:
        """Take note of whether a connection's headers are still to come."""
        if not is_awaited:
            self._without_head.pop(connection, None)
        elif connection in self._all:
            self._without_head.setdefault(connection)

    def note_body(self, connection: "Connection", *, is_awaited: bool) -> None:
        """Take note of whether the rest of a connection's body is still to come."""
        if not is_awaited:
            self._with_body.pop(connection, None)
        elif connection in self._all:
            self._with_body.setdefault(connection)

    def _slowest(self, newcomer: str) -> "Connection | None":
        """Return the connection that has sent its body for longest, of the address that sends most of them.

        None for a newcomer of that very address, which holds more than its share already: behind a proxy, where all
        come from one address, nobody is put out for anybody else.
        """
        addresses = Counter(connection.address for connection in self._with_body)
        address, _ = next(iter(addresses.most_common(1)), ("", 0))
        if not address or address == newcomer:
            return None
        return next(connection for connection in self._with_body if connection.address == address)

    def sweep(self) -> None:
        """End every connection whose time is over."""
        now = time.monotonic()
        for connection in list(self._all):
            connection.look(now)

    async def keep_sweeping(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self.sweep()

    def drop_all(self) -> None:
        """End every connection at once."""
        for connection in list(self._all):
            self.drop(connection)


class _Counted:
    """A transport that counts what is written to it, so that what a client has taken is known."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.num_written = 0

    def write(self, data: bytes) -> None:
        self.num_written += len(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever the transport has)
        return getattr(self._transport, name)


class Connection(H11Protocol):
    """One connection, speaking HTTP/1.1, with deadlines.

    Args:
        connections: All of them.
        config: As uvicorn gives it, like what follows.
    """

    def __init__(self, config: Config, *, connections: Connections, **rest: Any) -> None:  # noqa: ANN401
        """Start with nothing received."""
        super().__init__(config, **rest)
        self._all = connections
        self._deadlines = connections.deadlines
        self._counted: _Counted | None = None
        self._head_since: float | None = None
        self._num_head_bytes = 0
        self._head_tail = b""
        self._refused_since: float | None = None
        self._answered_since: float | None = None
        self._read_since: float | None = None
        self._num_read_then = 0

    @property
    def address(self) -> str:
        """Where it comes from; empty when that is not known."""
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it when there are too many."""
        self._counted = _Counted(transport)
        super().connection_made(self._counted)  # type: ignore[arg-type]
        if not self._all.add(self):
            self._refuse(503)
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._all.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        if self.transport.is_closing() or self._refused_since is not None:
            return
        if self.conn.their_state is h11.IDLE:
            if self._head_since is None:
                self._await_head()
            crowd = self._all.crowd
            if crowd is not None and crowd.is_full and not data.startswith(_ALWAYS_ANSWERED):
                self._answer_and_close(crowd.raw_refusal())
                return
            if not self._fits(data):
                self._refuse(431)
                return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head_since, self._num_head_bytes, self._head_tail = None, 0, b""
            self._all.note_head(self, is_awaited=False)
        self._all.note_body(self, is_awaited=self.conn.their_state is h11.SEND_BODY)

    def look(self, now: float) -> None:
        """End the connection if its time is over."""
        limits = self._deadlines
        if self._refused_since is not None:
            if now - self._refused_since > limits.rest_seconds:
                self._all.drop(self)
        elif self._head_since is not None and now - self._head_since > limits.header_seconds:
            if self._num_head_bytes and not self.transport.is_closing():
                self._refuse(408)
            else:
                self._all.drop(self)
        elif self._is_stuck(now) or self._rest_seconds(now) > limits.rest_seconds:
            self._all.drop(self)

    def _await_head(self) -> None:
        self._head_since = time.monotonic()
        self._all.note_head(self, is_awaited=True)

    def _fits(self, data: bytes) -> bool:
        """Count what belongs to the headers."""
        seen = self._head_tail + data
        end = seen.find(_HEAD_END)
        self._num_head_bytes += len(data) if end < 0 else max(0, end + len(_HEAD_END) - len(self._head_tail))
        self._head_tail = seen[-(len(_HEAD_END) - 1) :]
        return self._num_head_bytes <= self._deadlines.max_header_bytes

    def _is_stuck(self, now: float) -> bool:
        """Return whether the client has taken next to nothing for too long."""
        assert self._counted is not None
        num_left = self._counted.get_write_buffer_size()
        num_read = self._counted.num_written - num_left
        if self._read_since is None or not num_left or num_read - self._num_read_then >= _LEAST_READ_BYTES:
            self._read_since, self._num_read_then = now, num_read
        return now - self._read_since > self._deadlines.reader_seconds

    def _rest_seconds(self, now: float) -> float:
        """Return for how long a body has gone on after its answer."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or not cycle.response_complete or self.conn.their_state is not h11.SEND_BODY:
            self._answered_since = None
        elif self._answered_since is None:
            self._answered_since = now
        return 0.0 if self._answered_since is None else now - self._answered_since

    def _refuse(self, status: int) -> None:
        """Answer in plain bytes and close: there is no request that an app could be asked about."""
        self._all.num_dropped += 1
        body = _ANSWERS[status]
        retry = b"Retry-After: 5\r\n" if status == 503 else b""
        self._answer_and_close(
            b"HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n%sContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%s" % (status, _PHRASES[status], retry, len(body), body)
        )

    def _answer_and_close(self, answer: bytes) -> None:
        """Write and say that no more will come; what the client still sends is thrown away for a moment.

        Closing at once would reset the connection under a client that is still sending, before it has read the answer.
        """
        self._unset_keepalive_if_required()
        self.transport.write(answer)
        self._head_since, self._refused_since = None, time.monotonic()
        self._all.note_head(self, is_awaited=False)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()


def room_for_connections(wanted: int) -> int:
    """Return how many connections the process may have, after asking for as many open files as that needs."""
    num_other_files = 512  # stores, models, threads, page
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + num_other_files
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, soft - num_other_files if soft > 2 * num_other_files else soft // 2))
