"""Guessing is slow: attempts to log in are counted for the name and for the address."""

import hashlib

from duologue.guard import MAX_CLIENTS, RateLimiter, open_counts

_OF_ADDRESS = (20, 20)  # attempts a minute, and at once
_OF_NAME = (6, 12)
_OF_KEY = (10, 10)
_KINDS = 3  # of names that one client is counted under


class Throttle:
    """Counts attempts. A name is counted whether there is such an account or not.

    An attempt is counted before the password is looked at, so that guessing costs the guesser's patience and not this
    machine's time. Whoever guesses at a name keeps its owner from logging in anew, not from using a login that is
    there: otherwise the limit for a name would be none.

    Args:
        redis_url: Where replicas count together; empty counts in this process.
    """

    def __init__(self, redis_url: str = "") -> None:
        """Start with nobody seen."""
        counts, self._shared = open_counts(redis_url, max_clients=_KINDS * MAX_CLIENTS)
        self._addresses = RateLimiter(*_OF_ADDRESS, counts=counts)
        self._names = RateLimiter(*_OF_NAME, counts=counts)
        self._wrong_keys = RateLimiter(*_OF_KEY, counts=counts)

    def attempt(self, *, address: str, name: str) -> None:
        """Count an attempt with a password.

        Raises:
            GuardError: With reason `rate_limit_exceeded`.
        """
        self._addresses.take(f"door:login:{address}")
        self._names.take(f"door:name:{hashlib.sha256(name.casefold().encode('utf-8', 'replace')).hexdigest()[:32]}")

    def wrong_key(self, *, address: str) -> None:
        """Count a wrong key; the right one is never refused.

        Raises:
            GuardError: With reason `rate_limit_exceeded`.
        """
        self._wrong_keys.take(f"door:key:{address}")

    def answer(self, *, address: str) -> None:
        """Count an answer of a wallet, which costs signatures to check.

        Raises:
            GuardError: With reason `rate_limit_exceeded`.
        """
        self._addresses.take(f"door:answer:{address}")

    def close(self) -> None:
        """Let the connection to Redis go."""
        if self._shared:
            self._shared.close()
