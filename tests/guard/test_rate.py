import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from duologue.errors import GuardError
from duologue.guard import RateLimiter


class Clock:
    """Stands in for the machine's monotonic clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.seconds)


def test_after_a_burst_the_next_request_is_refused_with_a_waiting_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Clock(monkeypatch)
    limiter = RateLimiter(60, 3)
    assert [limiter.take("ann").remaining for _ in range(3)] == [2, 1, 0]
    with pytest.raises(GuardError) as caught:
        limiter.take("ann")
    assert caught.value.reason == "rate_limit_exceeded"
    assert caught.value.retry_after_seconds == pytest.approx(1.0)
    assert "60 per minute" in str(caught.value)


def test_after_the_waiting_time_the_request_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    limiter = RateLimiter(6, 1)
    assert limiter.take("ann").limit == 1
    clock.seconds += 9.9
    with pytest.raises(GuardError) as caught:
        limiter.take("ann")
    clock.seconds += caught.value.retry_after_seconds + 0.001
    limiter.take("ann")


def test_clients_do_not_share_their_allowance() -> None:
    limiter = RateLimiter(1, 1)
    limiter.take("ann")
    limiter.take("ben")
    with pytest.raises(GuardError):
        limiter.take("ann")


def test_two_limiters_do_not_share_their_clients() -> None:
    RateLimiter(1, 1).take("ann")
    RateLimiter(1, 1).take("ann")


@pytest.mark.parametrize("jump_seconds", [-3600.0, 3600.0])
def test_a_jump_of_the_wall_clock_neither_locks_out_nor_gives_a_burst(
    monkeypatch: pytest.MonkeyPatch, jump_seconds: float
) -> None:
    clock = Clock(monkeypatch)
    limiter = RateLimiter(60, 2)
    limiter.take("ann")
    limiter.take("ann")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump_seconds)
    with pytest.raises(GuardError) as caught:
        limiter.take("ann")
    assert caught.value.retry_after_seconds == pytest.approx(1.0)
    clock.seconds += 1.001
    limiter.take("ann")


def test_only_a_bounded_number_of_clients_is_remembered_and_the_heaviest_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Clock(monkeypatch)
    limiter = RateLimiter(1, 2, max_clients=3)
    limiter.take("ann")
    limiter.take("ann")
    for client in ("ben", "cleo", "dora", "ed", "fay"):
        limiter.take(client)

    assert len(limiter._counts) <= 3
    with pytest.raises(GuardError):
        limiter.take("ann")


JUMPING = """
import os, sys, time
from duologue.errors import GuardError
from duologue.guard import RateLimiter

limiter = RateLimiter(60, 2)
limiter.take("ann"), limiter.take("ann")
before = time.time()
with open(os.environ["FAKETIME_TIMESTAMP_FILE"], "w") as file:
    file.write(sys.argv[1])
while abs(time.time() - before) < 1800:  # until the clock has jumped
    pass
try:
    limiter.take("ann")
except GuardError as error:
    print(error.retry_after_seconds)
else:
    print("a free burst")
"""


@pytest.mark.parametrize("jump", ["-1h", "+1h"])
def test_a_real_jump_of_the_machines_clock_changes_nothing(tmp_path: Path, jump: str) -> None:
    library = next(Path("/usr/lib").glob("**/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("faketime is not installed")
    shift = tmp_path / "shift"
    shift.write_text("+0")
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(shift),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # as in life: setting the clock does not touch the monotonic one
    }
    command = [sys.executable, "-c", JUMPING, jump]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout

    assert 0 < float(output) <= 1.0
