"""Fault 2, through the server: a disk that fills up is named, loses nothing that was stored, and ends nothing.

The server runs in a process of its own with a limit on the size of its files, which the system enforces as it enforces
the end of a disk (EFBIG for ENOSPC), and which needs no administrator.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.serve.page.panels import make_home

SERVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.faults.served import served
with served(Path(sys.argv[1]), is_made=True) as home:
    cookie = "; ".join(f"{name}={value}" for name, value in home.client.cookies.items())
    print(home.client.base_url, home.values["session_id"], cookie, sep="\\t", flush=True)
    sys.stdin.read()
"""
ROOM = 2**20


@pytest.fixture
def server(tmp_path, repository):
    root = make_home(tmp_path / "home")
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(root), str(repository)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
    )
    try:
        line = process.stdout.readline()
        assert line, "the server did not start"
        url, session, cookie = line.rstrip("\n").split("\t")
        headers = {"Origin": url.rstrip("/"), "Cookie": cookie}
        with httpx.Client(base_url=url, timeout=60, headers=headers) as client:
            yield process, client, session, root
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def largest_file(root: Path) -> int:
    return max(path.stat().st_size for path in root.rglob("*") if path.is_file())


def test_a_full_disk_is_named_loses_nothing_and_ends_nothing(server):
    process, client, session, root = server
    chats = "/page/characters/ada-bell/chats"
    note = f"{chats}/{session}/note"
    assert client.put(note, json={"text": "before", "depth": 4}).status_code == 200
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest_file(root) + ROOM, hard))

    stored, refused = ["before"], []
    for number in range(600):
        text = f"{number} " + "tea " * 900
        answer = client.put(note, json={"text": text, "depth": 4})
        if answer.is_success:
            stored.append(text)
        else:
            refused.append(answer)
            break
    assert refused, "the disk was never full"
    assert refused[0].status_code == 503, refused[0].text
    assert refused[0].json()["error"]["code"] == "storage"
    assert refused[0].headers["retry-after"] == "30"
    assert str(root) not in refused[0].text
    assert any(word in refused[0].text.lower() for word in ("disk", "full", "space", "too large")), refused[0].text

    said = client.post(f"{chats}/{session}/messages", json={"text": "Are you there?"})
    assert said.status_code < 600
    card = client.get("/page/characters/ada-bell/card").json()
    client.put("/page/characters/ada-bell/card", json={"version": card["version"], "fields": {"scenario": "x" * 5_000}})
    assert json.loads((root / "ada" / "character.json").read_text(encoding="utf-8"))["data"]["name"] == "Ada Bell"

    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert client.get("/health").status_code == 200
    assert client.get(note).json()["text"] == stored[-1]
    deadline = time.monotonic() + 30
    while not client.put(note, json={"text": "after", "depth": 4}).is_success:
        assert time.monotonic() < deadline, "the server did not recover"
        time.sleep(0.1)
    assert client.get(note).json()["text"] == "after"
