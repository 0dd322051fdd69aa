"""A few connections to one server, lent to one thread at a time; dead ones are dropped, new ones made when needed."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg

from duologue.errors import DataError

Connection: TypeAlias = psycopg.Connection[dict[str, Any]]


class Pool:
    """Connections that threads share.

    Args:
        connect: Makes a connection.
        size: Most connections at a time; who asks for one more waits.
        patience_seconds: How long to wait for one.
        label: The server, for messages.
    """

    def __init__(
        self, connect: Callable[[], Connection], *, size: int = 8, patience_seconds: float = 10.0, label: str = ""
    ) -> None:
        """Make no connection yet."""
        self._connect = connect
        self._patience_seconds = patience_seconds
        self._label = label
        self._free = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._is_closed = False

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """Yield a connection of its own to a thread; it comes back unless it died or is inside a transaction.

        Raises:
            DataError: All of them were busy for too long.
            psycopg.Error: No connection came about.
        """
        if not self._free.acquire(timeout=self._patience_seconds):
            raise DataError(
                "all connections to the database are busy", where=self._label, action="Try again in a moment."
            )
        try:
            connection = self._take()
            try:
                yield connection
            finally:
                self._give_back(connection)
        finally:
            self._free.release()

    def drop_idle(self) -> None:
        """Close what lies unused, because the server it was connected to has gone."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def close(self) -> None:
        """Close what is unused now, and what is lent when it comes back."""
        self._is_closed = True
        self.drop_idle()

    def _take(self) -> Connection:
        assert not self._is_closed, "the database is closed"
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _give_back(self, connection: Connection) -> None:
        is_clean = not connection.closed and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        with self._lock:
            if is_clean and not self._is_closed:
                self._idle.append(connection)
                return
        connection.close()
