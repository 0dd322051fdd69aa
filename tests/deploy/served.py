"""`duologue serve` as a service manager starts it: a process of its own, told apart by its address."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from duologue.characters import LILA_FOLDER, lila_data_files
from duologue.config.folder import make_folder

CHARACTER = "lila-quill"


@dataclass(frozen=True)
class Served:
    """A server that answers.

    Attributes:
        process: The program.
        url: Its address.
    """

    process: subprocess.Popen[str]
    url: str

    def say(self, chat: str, text: str) -> None:
        """Say something on the page; it is acknowledged when this returns."""
        answer = httpx.post(f"{chats_at(self.url)}/{chat}/messages", json={"text": text}, timeout=30)
        assert answer.status_code == 202, answer.text

    def new_chat(self) -> str:
        """Begin a chat."""
        return str(httpx.post(chats_at(self.url), json={}, timeout=30).raise_for_status().json()["id"])

    def texts(self, chat: str) -> list[str]:
        """Return what is said in a chat."""
        return [message["text"] for message in self._chat(chat)["messages"]]

    def _chat(self, chat: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{chats_at(self.url)}/{chat}", timeout=30).raise_for_status().json()
        return found

    def wait_for(self, chat: str, *, num_messages: int) -> list[str]:
        """Return what is said once there is that much of it and no reply is on its way."""
        deadline = time.monotonic() + 60
        while len((found := self._chat(chat))["messages"]) < num_messages or found["is_running"]:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return self.texts(chat)


def chats_at(url: str) -> str:
    return f"{url}/page/characters/{CHARACTER}/chats"


def make_character(folder: Path, *, server: Mapping[str, Any] | None = None) -> Path:
    """Make Lila's folder, with a few keys of `[server]`."""
    make_folder(folder, recipe="quickstart", data=tuple(lila_data_files()), card=LILA_FOLDER / "character.png")
    if server:
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in server.items())
        with (folder / "duologue.toml").open("a", encoding="utf-8") as stream:
            stream.write(f"\n[server]\n{lines}")
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(
    folder: Path, *, port: int, environment: Mapping[str, str] | None = None, engine: str = "fake"
) -> Iterator[Served]:
    """Start it on a port and wait until it says that it answers; it is killed at the end if it still runs."""
    command = [sys.executable, "-m", "duologue", "serve", str(folder), "--engine", engine]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--json"],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate(timeout=30)[1])
        document = json.loads(line)
        assert "address" in document, document
        yield Served(process, document["address"])
    finally:
        process.kill()
        process.communicate(timeout=30)
