"""A line to a PostgreSQL server that is cut at the worst moment."""

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path


class CuttingLine:
    """Stands between a client and the socket of a server, and cuts the first connection at its COMMIT.

    Args:
        server: Path of the server's socket.
        folder: Where clients connect.
        passes_on: Whether the server hears the COMMIT before the line is cut.
    """

    def __init__(self, server: Path, folder: Path, *, passes_on: bool) -> None:
        self._server = server
        self._passes_on = passes_on
        self._is_armed = True
        self._sockets: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / server.name))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            _hang_up(each)
        for thread in self._threads:
            thread.join(2)
        for each in (self._listener, *self._sockets):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._server))
            self._sockets += [client, server]
            for carry in (lambda c=client, s=server: self._ask(c, s), lambda c=client, s=server: self._copy(s, c)):
                self._threads.append(threading.Thread(target=carry, daemon=True))
                self._threads[-1].start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self._is_armed and b"COMMIT" in data:
                    self._is_armed = False
                    if self._passes_on:
                        self._hear(server, client, data)
                    break
                server.sendall(data)
        _hang_up(client)
        _hang_up(server)

    def _hear(self, server: socket.socket, client: socket.socket, data: bytes) -> None:
        _hang_up(client)  # first, so that no answer gets through
        server.sendall(data)
        time.sleep(0.2)

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        _hang_up(source)
        _hang_up(target)


def _hang_up(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
