"""What a visitor may ask for: requests and generated tokens, counted under every name the visitor is known by."""

from collections.abc import Sequence

from duologue.config import GuardSection
from duologue.guard.rate import Allowance, RateLimiter


class Limits:
    """Counts what visitors ask for.

    Args:
        settings: How much is granted.
        redis_url: Address of a Redis server that several replicas share; empty counts in this process.
    """

    def __init__(self, settings: GuardSection, *, redis_url: str = "") -> None:
        """Start with nobody seen."""
        assert not redis_url
        self._requests = RateLimiter(settings.requests_per_minute, settings.burst)

    def take(self, names: Sequence[str]) -> Allowance:
        """Grant one request for a reply.

        Args:
            names: Every name the visitor is counted under, such as `account:lila` and `address:10.0.0.7`.

        Raises:
            GuardError: With reason `rate_limit_exceeded` and the seconds until the next request is granted.
        """
        return min((self._requests.take(name) for name in names), key=lambda allowance: allowance.remaining)

    def spend(self, names: Sequence[str], *, num_tokens: int) -> None:
        """Count tokens that were generated."""
