"""Requests and tokens of one visitor, under every name they are known by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.config import GuardSection
from duologue.errors import GuardError
from duologue.guard import Limits
from duologue.guard.limits import SHARED_ADDRESS_FACTOR
from duologue.guard.rate import Charge, MemoryCounts, Quota
from tests.guard.test_rate import Clock

NAMES = ("key:k1", "account:ann", "address:10.0.0.7")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def limits(**settings: int) -> Limits:
    return Limits(GuardSection.model_validate(settings))


def num_granted(limited: Limits, names: tuple[str, ...], *, tries: int = 100) -> int:
    return sum(limited.ask(names).refusal is None for _ in range(tries))


def test_of_a_key_that_everybody_has_no_address_takes_all(clock: Clock) -> None:
    limited = limits(burst=5)

    granted = [num_granted(limited, ("key:shared", f"address:10.0.0.{number}")) for number in range(6)]
    assert granted == [5, 5, 5, 5, 0, 0]


def test_a_visitor_with_two_keys_has_one_allowance(clock: Clock) -> None:
    limited = limits(burst=5)

    assert num_granted(limited, ("key:k1", "account:ann", "address:10.0.0.7")) == 5
    assert num_granted(limited, ("key:k2", "account:ann", "address:10.0.0.8")) == 0
    assert num_granted(limited, ("account:ben", "address:10.0.0.7")) == 5


def test_people_behind_one_address_have_more_together_than_each_alone_but_not_without_end(clock: Clock) -> None:
    limited = limits(burst=5)
    granted = [num_granted(limited, (f"account:{number}", "address:10.0.0.7")) for number in range(10)]

    assert granted[0] == 5
    assert sum(granted) == 5 * SHARED_ADDRESS_FACTOR


def test_what_is_refused_under_one_name_costs_nothing_under_the_others(clock: Clock) -> None:
    limited = limits(burst=3)
    num_granted(limited, ("account:ann",))
    num_granted(limited, ("account:ann", "address:10.0.0.7"))

    assert limited.ask(("address:10.0.0.7",)).requests.remaining == 2


def test_a_long_reply_is_a_debt_that_the_next_request_waits_for(clock: Clock) -> None:
    limited = limits(reply_tokens_per_minute=600)
    limited.take(NAMES)
    limited.spend(NAMES, num_tokens=900)
    with pytest.raises(GuardError) as caught:
        limited.take(NAMES)

    assert caught.value.reason == "rate_limit_exceeded"
    assert caught.value.found == "too many generated tokens"
    assert "600 per minute" in caught.value.needed
    assert caught.value.retry_after_seconds == pytest.approx(30.1)
    clock.seconds += caught.value.retry_after_seconds + 0.001
    limited.take(NAMES)


def test_a_debt_is_never_more_than_the_whole_quota(clock: Clock) -> None:
    limited = limits(reply_tokens_per_minute=600, reply_tokens_per_day=10_000_000)
    for _ in range(9):
        limited.spend(NAMES, num_tokens=5000)
    grant = limited.ask(NAMES)
    assert grant.refusal is not None
    assert grant.refusal.retry_after_seconds == pytest.approx(60.1)


def test_the_tokens_of_a_day_end_too(clock: Clock) -> None:
    limited = limits(reply_tokens_per_minute=1000, reply_tokens_per_day=2000)
    for _ in range(3):
        limited.take(NAMES)
        limited.spend(NAMES, num_tokens=1000)
        clock.seconds += 70
    with pytest.raises(GuardError, match="2000 per day") as caught:
        limited.take(NAMES)

    assert 36_000 < caught.value.retry_after_seconds < 43_300


def test_a_grant_says_what_is_left_under_the_name_with_the_least(clock: Clock) -> None:
    limited = limits(burst=4, requests_per_minute=60, reply_tokens_per_minute=600)
    limited.take(("account:ann",))
    limited.spend(("account:ann",), num_tokens=60)
    grant = limited.ask(NAMES)

    assert (grant.requests.limit, grant.requests.remaining) == (4, 2)
    assert grant.requests.reset_seconds == pytest.approx(2.0)
    assert (grant.tokens.limit, grant.tokens.remaining) == (600, 540)
    assert grant.refusal is None


def test_a_flood_of_addresses_is_bounded_and_does_not_free_the_one_that_is_at_its_limit(clock: Clock) -> None:
    limited = Limits(GuardSection(burst=5), max_clients=50)
    assert num_granted(limited, ("account:ann",)) == 5
    for number in range(2000):
        limited.ask((f"account:{number}", f"address:10.0.{number // 250}.{number % 250}"))
    counts = limited._counts

    assert isinstance(counts, MemoryCounts)
    assert len(counts) <= 50 * 12
    assert num_granted(limited, ("account:ann",)) == 0


@given(
    burst=st.integers(1, 20),
    interval=st.floats(0.01, 5.0),
    asked=st.lists(st.tuples(st.floats(0.0, 30.0), st.integers(1, 3)), max_size=40),
)
def test_no_order_of_requests_gets_more_than_the_burst_and_the_rate(
    burst: int, interval: float, asked: list[tuple[float, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch)
        quota, counts, granted, start = Quota("requests", burst, interval), MemoryCounts(), 0, clock.seconds
        for pause, amount in asked:
            clock.seconds += pause
            outcome = counts.charge([Charge("ann", quota, amount)])
            granted += amount if not outcome.wait_seconds else 0
            assert granted <= burst + (clock.seconds - start) / interval + 1e-3
            if outcome.wait_seconds and amount <= burst:
                clock.seconds += outcome.wait_seconds + 1e-4
                assert not counts.charge([Charge("ann", quota, amount)]).wait_seconds
                granted += amount
