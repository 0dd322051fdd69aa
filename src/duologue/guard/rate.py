"""How much a client may ask for: GCRA on a monotonic clock, with a bounded number of clients in memory.

GCRA (https://brandur.org/rate-limiting) keeps one time for each client and quota: when the client has its whole quota
again. Whoever asks moves that time on; whoever would move it beyond the quota's window is refused. What is only known
afterwards, such as the length of a reply, may move it further: that is a debt, and it is waited for.
"""

import heapq
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from duologue.errors import GuardError

MAX_CLIENTS = 10_000  # about 3 MB; the client that has used least of its quota is forgotten first
_FORGOTTEN_SHARE = 0.1  # of the clients, at once: the search for them is long
_ROUNDING = 1e-6  # seconds; sums of many small times are not exact


@dataclass(frozen=True, slots=True)
class Quota:
    """What is granted: so much at once, and so much over time.

    Attributes:
        name: What is counted: `requests`, `tokens` or `day`.
        burst: Granted at once after a pause.
        interval_seconds: Time in which one more is granted.
        may_owe: Whether more can be used than was left, because use is only known afterwards.
    """

    name: str
    burst: int
    interval_seconds: float
    may_owe: bool = False

    @property
    def window_seconds(self) -> float:
        """Time in which a used-up quota is whole again."""
        return self.burst * self.interval_seconds

    @property
    def longest_seconds(self) -> float:
        """Longest time until it is whole again; a debt is never more than the whole quota."""
        return self.window_seconds * (2 if self.may_owe else 1)


@dataclass(frozen=True, slots=True)
class Charge:
    """An amount of a quota that somebody asks for or has used.

    Attributes:
        key: Who, and of which quota.
        quota: The quota.
        amount: How much; 0 asks for nothing but that there be no debt.
    """

    key: str
    quota: Quota
    amount: int

    def missing_seconds(self, ahead_seconds: float) -> float:
        """Return the time until the charge fits, for a quota that is whole again in so many seconds."""
        needed = max(self.amount, 1) * self.quota.interval_seconds
        missing = ahead_seconds + needed - self.quota.window_seconds
        return missing if missing > _ROUNDING else 0.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to a client.

    Attributes:
        remaining: How much it can still have at once.
        limit: How much it can have at once after a pause.
        reset_seconds: Time until it has all of that again.
    """

    remaining: int
    limit: int
    reset_seconds: float = 0.0

    @classmethod
    def of(cls, quota: Quota, ahead_seconds: float) -> "Allowance":
        """Return what is left of a quota that is whole again in so many seconds."""
        left = math.floor((quota.window_seconds - ahead_seconds + _ROUNDING) / quota.interval_seconds)
        return cls(max(0, left), quota.burst, max(0.0, ahead_seconds))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of charges that stand or fall together.

    Attributes:
        wait_seconds: 0 when they were granted, else the time until they would be.
        ahead_seconds: For each charge, the time until its quota is whole again.
    """

    wait_seconds: float
    ahead_seconds: tuple[float, ...]


class Counts(Protocol):
    """Where it is kept who has used how much."""

    def charge(self, charges: Sequence[Charge], *, is_used: bool = False) -> Outcome:
        """Grant all charges or none; what is used already is charged whatever it is."""
        ...


class MemoryCounts:
    """Counts in this process.

    Args:
        max_clients: Keys remembered at the same time. Those whose quota is whole again are forgotten first, then those
            that have used least: a flood of new addresses cannot make the heavy ones be forgotten.
    """

    def __init__(self, *, max_clients: int = MAX_CLIENTS) -> None:
        """Start with nobody seen."""
        self._max_clients = max_clients
        self._lock = threading.Lock()
        self._whole_at: dict[str, float] = {}  # monotonic

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._whole_at)

    def charge(self, charges: Sequence[Charge], *, is_used: bool = False) -> Outcome:
        """Grant all charges or none; what is used already is charged whatever it is."""
        with self._lock:
            now = time.monotonic()
            ahead = [max(0.0, self._whole_at.get(charge.key, now) - now) for charge in charges]
            wait = max(
                (charge.missing_seconds(seconds) for charge, seconds in zip(charges, ahead, strict=True)), default=0.0
            )
            if wait and not is_used:
                return Outcome(wait, tuple(ahead))
            for at, charge in enumerate(charges):
                owed = ahead[at] + charge.amount * charge.quota.interval_seconds
                ahead[at] = min(owed, charge.quota.longest_seconds)
                if charge.amount:
                    self._whole_at[charge.key] = now + ahead[at]
            if len(self._whole_at) > self._max_clients:
                self._forget(now)
            return Outcome(0.0, tuple(ahead))

    def _forget(self, now: float) -> None:
        num_kept = int(self._max_clients * (1 - _FORGOTTEN_SHARE))
        for key in [key for key, whole_at in self._whole_at.items() if whole_at <= now]:
            del self._whole_at[key]
        num_over = len(self._whole_at) - num_kept
        if len(self._whole_at) > self._max_clients:
            for key in heapq.nsmallest(num_over, self._whole_at, key=self._whole_at.__getitem__):
                del self._whole_at[key]


class RateLimiter:
    """Grants `burst` requests at once and `requests_per_minute` over time, to each client by itself.

    The clock is monotonic, so a change of the machine's time neither locks a client out nor gives it a free burst.

    Args:
        requests_per_minute: Requests granted over time.
        burst: Requests granted at once.
        max_clients: Clients remembered at the same time.
        counts: Where they are counted; by default in this limiter alone.
    """

    def __init__(
        self, requests_per_minute: int, burst: int, *, max_clients: int = MAX_CLIENTS, counts: "Counts | None" = None
    ) -> None:
        """Start with no client seen."""
        self._requests_per_minute = requests_per_minute
        self._quota = Quota("requests", burst, 60.0 / requests_per_minute)
        self._counts = counts or MemoryCounts(max_clients=max_clients)

    def take(self, client: str) -> Allowance:
        """Grant one request to `client`.

        Raises:
            GuardError: With reason `rate_limit_exceeded` and the seconds until the next request is granted.
        """
        outcome = self._counts.charge([Charge(client, self._quota, 1)])
        if outcome.wait_seconds:
            raise too_many("requests", f"at most {self._requests_per_minute} per minute", outcome.wait_seconds)
        return Allowance.of(self._quota, outcome.ahead_seconds[0])


def too_many(what: str, needed: str, seconds: float) -> GuardError:
    """Return the refusal of somebody who has used up a quota."""
    return GuardError(
        f"too many {what}",
        reason="rate_limit_exceeded",
        retry_after_seconds=seconds,
        needed=needed,
        action=f"Wait {max(seconds, 0.1):.1f} seconds and try again.",
    )
