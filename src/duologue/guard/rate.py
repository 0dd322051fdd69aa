"""How many requests a client may make: GCRA on a monotonic clock, with a bounded number of clients in memory."""

from dataclasses import dataclass

from duologue.errors import GuardError

MAX_CLIENTS = 10_000  # about 3 MB; the client that was seen longest ago is forgotten first


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to a client after a request was granted.

    Attributes:
        remaining: Requests it can still make at once.
        limit: Requests it can make at once after a pause.
    """

    remaining: int
    limit: int


class RateLimiter:
    """Grants `burst` requests at once and `requests_per_minute` over time, to each client by itself.

    GCRA (https://brandur.org/rate-limiting) keeps one time per client. The clock is monotonic, so a change of the
    machine's time neither locks a client out nor gives it a free burst.

    Args:
        requests_per_minute: Requests granted over time.
        burst: Requests granted at once.
        max_clients: Clients remembered at the same time.
    """

    def __init__(self, requests_per_minute: int, burst: int, *, max_clients: int = MAX_CLIENTS) -> None:
        """Start with no client seen."""
        from throttled import MemoryStore, RateLimiterType, Throttled, per_min  # 0.1 s that only a server needs

        self._requests_per_minute = requests_per_minute
        self._throttled = Throttled(
            using=RateLimiterType.GCRA.value,
            quota=per_min(requests_per_minute, burst=burst),
            store=MemoryStore(options={"MAX_SIZE": max_clients}),
        )

    def take(self, client: str) -> Allowance:
        """Grant one request to `client`.

        Raises:
            GuardError: With reason `rate_limit_exceeded` and the seconds until the next request is granted.
        """
        result = self._throttled.limit(client)
        if result.limited:
            seconds = result.state.retry_after
            raise GuardError(
                "too many requests",
                reason="rate_limit_exceeded",
                retry_after_seconds=seconds,
                needed=f"at most {self._requests_per_minute} per minute",
                action=f"Wait {max(seconds, 0.1):.1f} seconds and try again.",
            )
        return Allowance(remaining=result.state.remaining, limit=result.state.limit)
