import time

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


def test_only_a_bounded_number_of_clients_is_remembered() -> None:
    limiter = RateLimiter(1, 1, max_clients=3)
    for client in ("ann", "ben", "cleo", "dora"):
        limiter.take(client)
    limiter.take("ann")  # seen longest ago, so forgotten
    with pytest.raises(GuardError):
        limiter.take("dora")
