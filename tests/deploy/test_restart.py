"""A server that is stopped, killed and started again: at once, on the same port, with everything there."""

import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from duologue.cli.notify import notify
from tests.deploy.served import free_port, make_character, serving


@pytest.fixture
def folder(tmp_path):
    return make_character(tmp_path / "lila")


@pytest.mark.slow
def test_it_starts_again_at_once_on_the_same_port_with_all_chats(folder):
    port = free_port()
    with serving(folder, port=port) as first:
        chat = first.new_chat()
        first.say(chat, "Do you hear the rain?")
        before = first.wait_for(chat, num_messages=3)
        with httpx.stream("GET", f"{first.url}/gradio_api/heartbeat/a", timeout=30):  # a page that stays open
            first.say(chat, "And now?")
            first.process.send_signal(signal.SIGTERM)
            first.process.wait(timeout=60)
        assert first.process.returncode == 0

    with serving(folder, port=port) as second:
        assert second.url.endswith(f":{port}")
        texts = second.texts(chat)
        second.say(chat, "You are back.")
        after = second.wait_for(chat, num_messages=len(texts) + 2)

    assert texts[: len(before) + 1] == [*before, "And now?"]
    assert after[len(texts)] == "You are back."


@pytest.mark.slow
def test_what_was_acknowledged_is_there_after_a_kill_and_stale_locks_hold_nobody_up(folder):
    port = free_port()
    chats = {}
    for number in range(2):
        with serving(folder, port=port) as server:
            chat = server.new_chat()
            server.say(chat, f"This is night {number}.")
            server.process.send_signal(signal.SIGKILL)
            server.process.wait(timeout=30)
            chats[chat] = f"This is night {number}."

    with serving(folder, port=port) as last:
        kept = {chat: last.texts(chat) for chat in chats}
        chat = last.new_chat()
        last.say(chat, "Good evening.")
        assert last.wait_for(chat, num_messages=3)[1] == "Good evening."
    assert all(said in kept[chat] for chat, said in chats.items())


def test_an_address_in_use_is_told_with_its_port(folder):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "duologue", "serve", str(folder), "--engine", "fake", "--port", str(port)],
            check=False,
            capture_output=True,
            text=True,
        )

    assert ended.returncode == 2, "a service manager is told not to try again by this code"
    assert f"port {port} is in use" in ended.stderr
    assert "--set server.port=0" in ended.stderr


@pytest.mark.slow
def test_the_service_manager_is_told_when_it_answers_and_not_before(folder, tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(60)
        with serving(folder, port=free_port(), environment={"NOTIFY_SOCKET": str(path)}) as server:
            said = manager.recv(64)
            status = httpx.get(f"{server.url}/health", timeout=10).status_code

    assert (said, status) == (b"READY=1", 200)


def test_without_a_service_manager_or_with_one_that_is_gone_nothing_happens(monkeypatch, tmp_path):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify("READY=1")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="abstract addresses are Linux's")
def test_an_abstract_address_is_understood(monkeypatch):
    name = f"duologue-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        assert notify("READY=1")
        assert manager.recv(64) == b"READY=1"
