"""The server: an address that is checked and bound before anything starts, and an end that keeps what was said."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from duologue.errors import ConfigError
from duologue.serve.access import is_loopback
from duologue.serve.app import ServeFacts

GRACEFUL_SECONDS = 3
_FINISH_SECONDS = 1.5  # replies may finish this long after the signal; then they are stopped and stored


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
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # X-Forwarded-For is the client's own word
            ws="none",
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
        ),
        facts=facts,
        on_ready=lambda: on_ready(f"http://{shown_host}:{listener.getsockname()[1]}"),
    )
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


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *, facts: ServeFacts, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._facts = facts
        self._on_ready = on_ready

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
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._facts.ending.set()
        stopping = asyncio.create_task(self._stop_replies())
        await super().shutdown(sockets)
        stopping.cancel()

    async def _stop_replies(self) -> None:
        await asyncio.sleep(_FINISH_SECONDS)
        self._facts.generations.cancel_all()


def _check_exposure(facts: ServeFacts, *, host: str) -> None:
    if is_loopback(host):
        return
    if facts.rating != "general":
        raise ConfigError(
            f"the content rating is '{facts.rating}' and '{host}' can be reached from the network",
            where="guard.rating",
            needed="rating 'general', or a host that only this machine can reach",
            action="There is no age gate for the network yet. Use host 127.0.0.1, or set guard.rating to 'general'.",
        )
    if not facts.has_api_key:
        raise ConfigError(
            f"'{host}' can be reached from the network and there is no API key",
            where="server.host",
            needed="an API key, or a host that only this machine can reach",
            action="Set DUOLOGUE_API_KEY, or use host 127.0.0.1.",
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
