"""Limits that replicas share, in a real Redis; and what holds when it goes away."""

import logging
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from duologue.config import GuardSection
from duologue.errors import GuardError
from duologue.guard import Limits
from duologue.guard import shared_rate as shared_rate_module
from duologue.serve.door.throttle import Throttle

NAMES = ("account:ann", "address:10.0.0.7")


@dataclass
class RedisServer:
    """A Redis of our own, which can be killed and started again."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder]
        self.process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        with redis.Redis(port=self.port) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    assert time.monotonic() < deadline, "redis-server does not answer"
                    time.sleep(0.02)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(20)
            self.process = None


@pytest.fixture(scope="module")
def one_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server on this machine")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = RedisServer(tmp_path_factory.mktemp("redis"), port)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(one_redis: RedisServer) -> RedisServer:
    if one_redis.process is None:
        one_redis.start()
    with redis.Redis(port=one_redis.port) as client:
        client.flushall()
    return one_redis


@pytest.fixture
def replica(server: RedisServer) -> Iterator[Limits]:
    made = limits(server)
    yield made
    made.close()


def limits(server: RedisServer, **settings: int) -> Limits:
    return Limits(GuardSection.model_validate({"requests_per_minute": 1, "burst": 5, **settings}), redis_url=server.url)


def num_granted(limited: Limits, *, tries: int) -> int:
    return sum(limited.ask(NAMES).refusal is None for _ in range(tries))


def test_two_replicas_grant_together_what_one_would(server: RedisServer, replica: Limits) -> None:
    other = limits(server)

    assert replica.is_shared
    assert num_granted(replica, tries=3) == 3
    assert other.ask(NAMES).requests.remaining == 1
    assert num_granted(other, tries=9) == 1
    refusal = replica.ask(NAMES).refusal
    other.close()
    assert refusal is not None
    assert refusal.reason == "rate_limit_exceeded"
    assert 50 < refusal.retry_after_seconds <= 60


def test_guesses_at_one_replica_are_counted_at_the_other(server: RedisServer) -> None:
    replicas = Throttle(server.url), Throttle(server.url)
    alone = Throttle()

    def num_let_through(*doors: Throttle) -> int:
        num = 0
        for at in range(40):
            with suppress(GuardError):
                doors[at % len(doors)].attempt(address=f"10.0.0.{at}", name="Mara")
                num += 1
        return num

    assert num_let_through(*replicas) == num_let_through(alone) == 12
    with pytest.raises(GuardError, match="too many") as refused:
        replicas[0].attempt(address="10.0.1.1", name="mara")
    assert refused.value.retry_after_seconds > 5
    for door in replicas:
        door.close()


def test_tokens_of_one_replica_are_a_debt_at_the_other(server: RedisServer, replica: Limits) -> None:
    other = limits(server, reply_tokens_per_minute=600)
    other.spend(NAMES, num_tokens=900)
    refusal = other.ask(NAMES).refusal
    third = limits(server, reply_tokens_per_minute=600)
    refusal_there = third.ask(NAMES).refusal
    other.close()
    third.close()

    for each in (refusal, refusal_there):
        assert each is not None
        assert each.found == "too many generated tokens"
        assert 29 < each.retry_after_seconds < 31


def test_under_contention_not_one_request_too_many_is_granted(server: RedisServer) -> None:
    replicas = [limits(server, burst=40) for _ in range(4)]
    granted: list[int] = []
    start = threading.Barrier(8)

    def ask(limited: Limits) -> None:
        start.wait(20)
        granted.append(num_granted(limited, tries=10))

    threads = [threading.Thread(target=ask, args=(replicas[at % 4],)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for each in replicas:
        each.close()

    assert sum(granted) == 40


def test_a_killed_redis_lifts_no_limit_and_breaks_no_request(
    server: RedisServer, replica: Limits, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared_rate_module, "_AWAY_SECONDS", 0.0)
    assert num_granted(replica, tries=3) == 3
    server.kill()
    with caplog.at_level(logging.WARNING):
        granted_alone = num_granted(replica, tries=9)
        server.start()
        granted_again = num_granted(replica, tries=9)

    assert granted_alone == 2, "what was granted before counts, and the limit holds"
    assert granted_again == 5, "Redis has forgotten; it counts anew"
    assert replica.num_failures == 9
    assert [record.message.partition(" (")[0] for record in caplog.records] == [
        "Redis does not answer",
        "Redis answers again: limits are shared",
    ]


def test_a_redis_that_hangs_is_asked_only_now_and_then(server: RedisServer, replica: Limits) -> None:
    assert server.process
    replica.ask(NAMES)
    server.process.send_signal(signal.SIGSTOP)
    try:
        granted = num_granted(replica, tries=50)
    finally:
        server.process.send_signal(signal.SIGCONT)

    assert granted == 4
    assert replica.num_failures == 1
    assert not replica.is_shared


def test_a_clock_of_redis_that_was_set_back_locks_nobody_out(server: RedisServer, replica: Limits) -> None:
    num_granted(replica, tries=5)
    with redis.Redis(port=server.port, decode_responses=True) as client:
        for key in client.keys("*:requests:*"):  # as after a jump of an hour: every time lies an hour further ahead
            client.set(key, float(client.get(key)) + 3600)
    fresh = limits(server, requests_per_minute=60)
    refusal = fresh.ask(NAMES).refusal
    fresh.close()

    assert refusal is not None
    assert refusal.retry_after_seconds <= 1.1


def test_what_is_no_longer_needed_is_forgotten_by_redis(server: RedisServer) -> None:
    quick = limits(server, requests_per_minute=100_000)
    quick.ask(NAMES)
    with redis.Redis(port=server.port) as client:
        lifetimes = [client.pttl(key) for key in client.keys("*:requests:*")]
        deadline = time.monotonic() + 20
        while client.dbsize():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    quick.close()

    assert all(-2 <= lifetime <= 10 for lifetime in lifetimes)
