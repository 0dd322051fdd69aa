"""Connections that are silent, slow, endless or too many."""

import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from duologue.engine.fake import FakeGenerator
from duologue.serve.deadlines import Deadlines, room_for_connections
from tests.serve.running import Running, make_bot, running

QUICK = Deadlines(header_seconds=0.5, reader_seconds=1.5, rest_seconds=0.5, max_connections=20)
FLOOD = FakeGenerator(reply="x" * 60_000 + " " + " ".join(["word " * 4000] * 40), context_tokens=10**7)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    bot = make_bot(tmp_path_factory.mktemp("bot"), generator=FLOOD)
    with running(bot, deadlines=QUICK) as started:
        yield started


def connect(server: Running, sent: bytes = b"", *, address: str = "") -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    made = socket.create_connection((host, int(port)), timeout=20, source_address=(address, 0) if address else None)
    made.sendall(sent)
    return made


def rest_of(connection: socket.socket) -> bytes:
    """Return what comes until the server closes; fail when it does not."""
    parts = []
    with connection, contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def drip(connection: socket.socket) -> bytes:
    """Send a byte now and then until the server closes; return what it said."""
    parts, deadline = [], time.monotonic() + 20
    with connection:
        connection.settimeout(0.1)
        while time.monotonic() < deadline:
            try:
                connection.sendall(b"a")
                parts.append(connection.recv(65536))
            except TimeoutError:
                continue
            except OSError:
                return b"".join(parts)
            if not parts[-1]:
                return b"".join(parts)
    raise AssertionError("the server did not close the connection")


def test_a_silent_connection_is_closed_without_a_word(quick: Running) -> None:
    assert rest_of(connect(quick)) == b""


def test_half_sent_headers_are_408_even_when_a_byte_comes_now_and_then(quick: Running) -> None:
    connection = connect(quick, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")

    assert drip(connection).startswith(b"HTTP/1.1 408 ")


def test_half_a_second_request_on_a_used_connection_is_408_too(quick: Running) -> None:
    connection = connect(quick, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    first = connection.recv(65536)
    connection.sendall(b"GET /health HT")

    assert b" 200 " in first
    assert b"HTTP/1.1 408 " in rest_of(connection)


@pytest.mark.parametrize("num_parts", [1, 7])
def test_headers_of_seventy_kilobytes_are_431(quick: Running, num_parts: int) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 70_000 + b"\r\n\r\n"
    size = len(head) // num_parts + 1
    connection = connect(quick)
    try:
        for at in range(0, len(head), size):
            connection.sendall(head[at : at + size])
    except OSError:
        assert num_parts > 1, "it was refused before the end"

    assert rest_of(connection).startswith(b"HTTP/1.1 431 ")


def test_long_headers_with_a_long_body_are_fine(quick: Running) -> None:
    answer = httpx.post(
        f"{quick.url}/v1/chat/completions", headers={"X-Long": "a" * 60_000}, content=b" " * 200_000, timeout=20
    )

    assert answer.status_code == 400


def test_a_body_that_goes_on_after_its_answer_is_cut(quick: Running) -> None:
    head = b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"

    assert b" 404 " in drip(connect(quick, head))


def test_a_gigabyte_is_413_before_it_is_read(quick: Running) -> None:
    connection = connect(
        quick, b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n"
    )

    assert rest_of(connection).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_never_reads_is_dropped_and_its_reply_stopped(quick: Running) -> None:
    message = b'{"role": "user", "content": "Hi"}'
    body = b'{"model": "lila-quill", "stream": true, "max_tokens": 100000, "messages": [%s]}' % message
    connection = connect(quick)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    with connection:
        wait_for(lambda: quick.num_running() == 1 and len(quick.server.connections) == 1)
        wait_for(lambda: len(quick.server.connections) == 0)
        quick.wait_until_idle()


def test_new_connections_push_out_the_one_that_is_silent_longest(tmp_path: Path) -> None:
    slow = Deadlines(header_seconds=600, max_connections=10)
    with running(make_bot(tmp_path), deadlines=slow) as server:
        silent = [connect(server) for _ in range(10)]
        wait_for(lambda: len(server.server.connections) == 10)
        answers = [httpx.get(f"{server.url}/health").status_code for _ in range(3)]
        first_is_gone = silent[0].recv(1) == b""
        for connection in silent:
            connection.close()

    assert answers == [200, 200, 200]
    assert first_is_gone


def test_bodies_that_one_address_sends_slowly_keep_no_other_out(tmp_path: Path) -> None:
    begun = b"POST /v1/tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
    with running(make_bot(tmp_path), deadlines=Deadlines(max_connections=10)) as server:
        slow = [connect(server, begun) for _ in range(9)]
        other = connect(server, begun, address="127.0.0.3")
        wait_for(lambda: server.server.connections.num_with_body == 10)
        same = rest_of(connect(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        answers = []
        for _ in range(3):
            with connect(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", address="127.0.0.2") as made:
                answers.append(made.recv(12))
        gone = slow[0].recv(1) == b""
        other.settimeout(0.3)
        with pytest.raises(TimeoutError):  # it is still waited for
            other.recv(1)
        for connection in (*slow, other):
            connection.close()

    assert same.startswith(b"HTTP/1.1 503 ")  # the address that has them all gets no more
    assert answers == [b"HTTP/1.1 200"] * 3
    assert gone


def test_where_everyone_is_busy_one_more_is_503(tmp_path: Path) -> None:
    bot = make_bot(tmp_path, generator=FakeGenerator(reply="word " * 2000, delay_seconds=0.01))
    body = {"model": "lila-quill", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    with (
        running(bot, deadlines=Deadlines(max_connections=1)) as server,
        httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body, timeout=20) as stream,
    ):
        lines = stream.iter_lines()
        next(lines)
        answer = rest_of(connect(server))

    assert re.match(rb"HTTP/1.1 503 .*\r\nRetry-After: 5\r\n", answer, re.DOTALL)


def test_the_process_asks_for_as_many_open_files_as_its_connections_need() -> None:
    assert 0 < room_for_connections(64) <= 64


def wait_for(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
