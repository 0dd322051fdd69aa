"""Fault 11, clock jumps: a clock set an hour back or forth neither locks anyone out nor gives a free burst."""

import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest

from tests.faults.load import load_benchmark

pytestmark = pytest.mark.load
benchmark = load_benchmark()
BODY = {"model": "lila-quill", "messages": [{"role": "user", "content": "Hi"}]}


def ask(port: int) -> httpx.Response:
    headers = {"Authorization": f"Bearer {benchmark.KEY}"}
    return httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=BODY, headers=headers, timeout=60)


def wait_for_jump(port: int) -> None:
    """Wait until the server's clock is an hour away from ours."""
    deadline = time.monotonic() + 30
    while True:
        said = httpx.get(f"http://127.0.0.1:{port}/health", timeout=60).headers["date"]
        if abs(parsedate_to_datetime(said).timestamp() - time.time()) > 3000:
            return
        assert time.monotonic() < deadline, "the server's clock has not jumped"
        time.sleep(0.2)


@pytest.mark.parametrize("jump", ["-1h", "+1h"])
def test_a_client_at_its_limit_waits_as_long_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: str
) -> None:
    library = next(Path("/usr/lib").glob("**/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("faketime is not installed")
    shift, home = tmp_path / "shift", tmp_path / "home"
    shift.write_text("+0")
    home.mkdir()
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(shift))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")  # setting a clock does not touch the monotonic one
    limits = ("--set", "guard.burst=2", "--set", "guard.requests_per_minute=1")
    with benchmark.serving(home, extra=limits) as server:
        monkeypatch.delenv("LD_PRELOAD")
        before = [ask(server.port) for _ in range(3)]
        shift.write_text(jump)
        wait_for_jump(server.port)
        after = [ask(server.port) for _ in range(3)]

    assert [answer.status_code for answer in before] == [200, 200, 429]
    assert {answer.status_code for answer in after} == {429}, "no free burst"
    assert all(0 < int(answer.headers["retry-after"]) <= 60 for answer in after), "nobody is locked out"
