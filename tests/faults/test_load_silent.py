"""Fault 13, slowloris: a normal visitor hardly notices a thousand connections that never finish their request."""

import asyncio
import socket
import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.load import load_benchmark

pytestmark = pytest.mark.load
benchmark = load_benchmark()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with benchmark.serving(tmp_path_factory.mktemp("home")) as server:
        asyncio.run(benchmark.visits(server.port, 10))
        yield server


@pytest.mark.parametrize("num_silent", [100, 1000])
def test_a_visitors_first_byte_takes_at_most_twice_as_long(served: Any, num_silent: int) -> None:
    alone: list[float] = []
    beside: list[float] = []
    for _ in range(3):  # in turns: the machine is shared, and what else runs changes
        alone += asyncio.run(benchmark.visits(served.port, 20))
        with benchmark.holding_silent(served.port, num_silent):
            beside += asyncio.run(benchmark.visits(served.port, 20))

    # Half of the visits see what the other half does not: a machine that is busy with something else.
    assert statistics.median(beside) < 2 * statistics.median(alone) + 0.02


def test_half_sent_headers_are_closed_within_ten_seconds_and_a_sweep(served: Any) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as silent:
        silent.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        answer = silent.recv(65536)
        seconds = time.monotonic() - began

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 9 < seconds < 20


def test_a_slow_body_is_408_within_twenty_seconds(served: Any) -> None:
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {benchmark.KEY}\r\nContent-Length: 1000\r\n\r\n"
    )
    began, answer = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", served.port), timeout=1) as slow:
        slow.sendall(head.encode())
        while not answer and time.monotonic() - began < 60:
            try:
                slow.sendall(b"a")
                answer = slow.recv(65536)
            except TimeoutError:
                continue
        seconds = time.monotonic() - began

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 19 < seconds < 40
