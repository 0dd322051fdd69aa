"""The server as a process: where it may listen, and how it ends."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from duologue.chat import Sessions
from duologue.config import GuardSection, Home
from duologue.errors import ConfigError
from duologue.serve import serve
from duologue.serve.app import ServeFacts
from duologue.serve.crowd import Crowd
from duologue.serve.door import Door
from duologue.serve.generation import Generations

PROGRAM = """
import sys
from pathlib import Path
from duologue.config import Home
from duologue.engine.fake import FakeGenerator
from duologue.serve import Library, build_app, serve
from tests.serve.running import CARD, make_bot, make_test_config

folder = Path(sys.argv[1])
bot = make_bot(folder, generator=FakeGenerator(reply="word " * 2000, delay_seconds=0.02))
config = make_test_config()
home = Home(server=config.server, guard=config.guard, age=config.age)
app = build_app(Library.of(bot, home=home, folder=folder, card=CARD), home=home)
serve(app, host="127.0.0.1", port=0, on_ready=lambda url: print(url, flush=True))
bot.close()
print("closed", flush=True)
"""


def refusal(folder: Path, *, host: str, port: int = 0, key: str = "", rating: str = "general") -> ConfigError:
    app = FastAPI()
    home = Home(guard=GuardSection.model_validate({"rating": rating}))
    door = Door.open(folder, home, shared_key=key)
    app.state.facts = ServeFacts(Generations(1), home.guard.rating, door, Crowd(1))
    with pytest.raises(ConfigError) as caught:
        serve(app, host=host, port=port, on_ready=lambda url: pytest.fail(f"it answers at {url}"))
    door.close()
    return caught.value


def test_a_port_in_use_is_told_with_what_to_do(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = refusal(tmp_path, host="127.0.0.1", port=port)

    assert error.found == f"port {port} is in use"
    assert "server.port=0" in error.action


def test_an_address_that_cannot_be_bound_is_told(tmp_path, monkeypatch):
    def refuse(self, address) -> None:
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    error = refusal(tmp_path, host="127.0.0.1")

    assert "cannot listen here (cannot assign requested address)" in str(error)
    assert "server.host" in error.action


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "203.0.113.1"])
def test_the_network_needs_an_api_key_or_an_account(tmp_path, host):
    error = refusal(tmp_path, host=host)

    assert "no API key" in str(error)
    assert error.where == "server.host"


@pytest.mark.parametrize("rating", ["mature", "adult"])
def test_another_rating_than_general_stays_on_this_machine(tmp_path, rating):
    error = refusal(tmp_path, host="0.0.0.0", key="a key", rating=rating)

    assert rating in str(error)
    assert "age.provider" in str(error)


def test_a_signal_ends_the_server_in_time_and_keeps_what_was_said(tmp_path, repository):
    environment = {**os.environ, "PYTHONPATH": f"{repository / 'src'}{os.pathsep}{repository}"}
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path)],
        cwd=repository,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            url = process.stdout.readline().strip()
            assert httpx.get(f"{url}/health").json() == {"status": "ok"}
            body = {"model": "lila-quill", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
            with (
                httpx.stream("GET", f"{url}/gradio_api/heartbeat/a", timeout=20) as heartbeat,  # as an open page has it
                httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=20) as answer,
            ):
                assert heartbeat.status_code == 200
                lines = answer.iter_lines()
                first = next(lines)
                process.send_signal(signal.SIGTERM)
                signalled = time.monotonic()
                rest = [line for line in lines if line]
                heartbeat.read()
            output, errors = process.communicate(timeout=20)
            seconds = time.monotonic() - signalled
        finally:
            process.kill()

    assert first.startswith("data: ")
    assert rest[-1] == "data: [DONE]"
    assert seconds < 20  # the exact bound is tests/faults/test_load_end.py's
    assert process.returncode == 0, errors
    assert output == "closed\n"
    assert errors == ""
    Sessions.open(tmp_path / "chats.sqlite").close()
