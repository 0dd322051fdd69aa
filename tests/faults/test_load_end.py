"""Fault 7, SIGTERM with streams in flight; fault 8, clients that vanish."""

import contextlib
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from duologue.chat import Sessions
from tests.faults.load import load_benchmark, slow_server

pytestmark = pytest.mark.load
benchmark = load_benchmark()
NUM_STREAMS = 50
SHUTDOWN_SECONDS = 4.0
BODY = {"model": "lila-quill", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


def slowness_seconds() -> float:
    """Return what a machine that is busy with something else may add: next to nothing where nothing else runs."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-S", "-c", ""], check=True)
    return 10 * (time.monotonic() - began)


def follow(url: str, address: str, statuses: list[int], answers: list[tuple[int, list[str]]]) -> None:
    """Ask for a stream and keep what came of it; from an address of its own, since one gets but a share of the room."""
    with (
        httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=120) as client,
        client.stream("POST", f"{url}/v1/chat/completions", json=BODY) as answer,
    ):
        statuses.append(answer.status_code)
        answers.append((answer.status_code, [line for line in answer.iter_lines() if line.startswith("data: ")]))


def test_a_signal_ends_fifty_streams_in_order_and_loses_nothing(tmp_path: Path) -> None:
    statuses: list[int] = []
    answers: list[tuple[int, list[str]]] = []
    with slow_server(tmp_path, shutdown_seconds=SHUTDOWN_SECONDS) as (process, url, session_id):
        heartbeat = threading.Thread(target=lambda: httpx.get(f"{url}/gradio_api/heartbeat/a", timeout=60))
        clients = [
            threading.Thread(target=follow, args=(url, f"127.0.1.{number + 1}", statuses, answers))
            for number in range(NUM_STREAMS)
        ]
        for thread in (heartbeat, *clients):
            thread.start()
        deadline = time.monotonic() + 90
        while len(statuses) < NUM_STREAMS and time.monotonic() < deadline:
            time.sleep(0.1)  # those who wait in line have their headers after a few seconds
        process.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        late = httpx.post(f"{url}/v1/chat/completions", json=BODY, timeout=20)
        for thread in (heartbeat, *clients):
            thread.join(30)
        output, errors = process.communicate(timeout=30)
        seconds = time.monotonic() - signalled

    assert late.status_code == 503
    assert int(late.headers["retry-after"]) > 0
    assert len(answers) == NUM_STREAMS
    assert {status for status, _ in answers} == {200}
    assert all(lines[-1] == "data: [DONE]" for _, lines in answers)
    ends = [json.loads(lines[-2].removeprefix("data: ")) for _, lines in answers]
    assert all("error" in end or end["choices"][0]["finish_reason"] for end in ends)
    assert {end["error"]["code"] for end in ends if "error" in end} == {"ending"}
    assert process.returncode == 0, errors
    assert (output, errors) == ("closed\n", "")
    assert seconds < SHUTDOWN_SECONDS + 1 + slowness_seconds()
    with contextlib.closing(Sessions.open(tmp_path / "chats.sqlite")) as sessions:
        *_, question, reply = sessions.path(session_id)
    assert question.message.content == "Tell me a story"
    assert reply.message.content.startswith("word word word")


def test_fifty_clients_that_vanish_free_the_model_and_the_line(tmp_path: Path) -> None:
    with slow_server(tmp_path, shutdown_seconds=SHUTDOWN_SECONDS) as (_, url, _):
        port = int(url.rpartition(":")[2])
        vanishing = []
        for number in range(NUM_STREAMS):
            source = (f"127.0.1.{number + 1}", 0)
            connection = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=source)
            connection.sendall(benchmark.request(source[0]))
            vanishing.append(connection)
        time.sleep(1)
        for connection in vanishing:  # a reset, as of a phone that has lost its network
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=BODY, timeout=90) as answer:
            lines = answer.iter_lines()
            texts = [json.loads(next(line for line in lines if line)[6:])["choices"][0]["delta"] for _ in range(3)]

    assert answer.status_code == 200
    assert any(text.get("content") for text in texts), "the fifty before it would have taken half an hour"
