"""The server: an address that is checked and bound before anything starts, and an end that keeps what was said."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

from duologue.errors import ConfigError
from duologue.serve.app import ServeFacts
from duologue.serve.deadlines import Connections, Deadlines, room_for_connections
from duologue.serve.door import is_loopback

# Shares of `server.shutdown_seconds`: replies may finish until the first, are stored until the second, and what is
# still being sent may be sent until the third.
_FINISH_SHARE, _STORE_SHARE, _SEND_SHARE = 0.5, 0.7, 0.85
_LOOK_SECONDS = 0.02


def serve(app: FastAPI, *, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve until the process is told to stop (SIGINT, SIGTERM), then return.

    Args:
        app: What `build_app` returned.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        on_ready: Called with the true address once the server answers.

    Raises:
        ConfigError: The address is in use or not this machine's, or the app must not be reachable from the network.
    """
    facts: ServeFacts = app.state.facts
    _check_exposure(facts, host=host)
    listener = _bind(host, port)
    shown_host = f"[{host}]" if ":" in host else host
    server = Server(app, on_ready=lambda: on_ready(f"http://{shown_host}:{listener.getsockname()[1]}"))
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()


def check_address(*, host: str, port: int) -> None:
    """Find out before long work whether an address can be listened on.

    Raises:
        ConfigError: The address is in use or not this machine's.
    """
    _bind(host, port).close()


class Server(uvicorn.Server):
    """Uvicorn with deadlines for connections and an end in order.

    Args:
        app: What `build_app` returned.
        on_ready: Called once it answers.
        deadlines: What a connection may take.
    """

    def __init__(self, app: FastAPI, *, on_ready: Callable[[], None], deadlines: Deadlines | None = None) -> None:
        """Prepare; nothing is listened to yet."""
        deadlines = deadlines or Deadlines()
        num_connections = room_for_connections(deadlines.max_connections)
        self._facts: ServeFacts = app.state.facts
        self.connections = Connections(replace(deadlines, max_connections=num_connections), crowd=self._facts.crowd)
        config = uvicorn.Config(
            app,
            http=cast("Any", self.connections.protocol()),
            port=0,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # `Forwarded` believes the operator's proxies and nobody else
            ws="none",
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=2 * deadlines.max_header_bytes,  # ours is looked at first, and says 431
        )
        super().__init__(config)
        self._on_ready = on_ready
        self._sweeping: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals as a wish to end; uvicorn would raise them again and so kill whoever called `serve`."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        self._sweeping = asyncio.create_task(self.connections.keep_sweeping())
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: refuse what is new, let replies finish, then stop and store them, then close every connection."""
        seconds, began = self._facts.shutdown_seconds, time.monotonic()
        generations, ending = self._facts.generations, self._facts.ending
        ending.begin()
        generations.end()
        await self._until_idle(began + _FINISH_SHARE * seconds)
        generations.cancel_all()
        await self._until_idle(began + _STORE_SHARE * seconds)
        await ending.close(grace_seconds=began + _SEND_SHARE * seconds - time.monotonic())
        closing = asyncio.create_task(self._drop_what_is_left(began + seconds - time.monotonic()))
        await super().shutdown(sockets)
        for task in (closing, self._sweeping):
            if task:
                task.cancel()

    async def _until_idle(self, deadline: float) -> None:
        while self._facts.generations.num_running and time.monotonic() < deadline and not self.force_exit:
            await asyncio.sleep(_LOOK_SECONDS)

    async def _drop_what_is_left(self, seconds: float) -> None:
        """End the connections of clients that do not read their answer to the end."""
        await asyncio.sleep(max(0.2, min(seconds, 0.8)))  # before uvicorn's own end, which would complain
        self.connections.drop_all()


def _check_exposure(facts: ServeFacts, *, host: str) -> None:
    if is_loopback(host):
        return
    if facts.rating != "general" and facts.door.age.provider is None:
        raise ConfigError(
            f"the content rating is '{facts.rating}' and '{host}' can be reached from the network",
            where="guard.rating",
            needed="a provider of proofs of age, rating 'general', or a host that only this machine can reach",
            action="Set age.provider, or use host 127.0.0.1, or set guard.rating to 'general'.",
        )
    if not facts.door.is_guarded():
        raise ConfigError(
            f"'{host}' can be reached from the network and there is no API key and no account",
            where="server.host",
            needed="an account, an API key, or a host that only this machine can reach",
            action="Make one with: duologue account add FOLDER NAME; or set DUOLOGUE_API_KEY, or use host 127.0.0.1.",
        )


def _bind(host: str, port: int) -> socket.socket:
    """Return a bound socket; binding it here tells a used port before the model is asked anything."""
    where = f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(f"the host '{host}' is unknown", where="server.host") from error
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} is in use",
                where=where,
                action="Stop the program that uses it, or take a free port with: --set server.port=0",
            ) from error
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"cannot listen here ({reason})", where=where, action="Choose another server.host or server.port."
        ) from error
    return listener
