"""Guessing is slow: attempts to log in are counted for the name and for the address."""

import hashlib

from duologue.guard import RateLimiter

_OF_ADDRESS = (20, 20)  # attempts a minute, and at once
_OF_NAME = (6, 12)
_OF_KEY = (10, 10)


class Throttle:
    """Counts attempts. A name is counted whether there is such an account or not.

    An attempt is counted before the password is looked at, so that guessing costs the guesser's patience and not this
    machine's time. Whoever guesses at a name keeps its owner from logging in anew, not from using a login that is
    there: otherwise the limit for a name would be none.
    """

    def __init__(self) -> None:
        """Start with nobody seen."""
        self._addresses = RateLimiter(*_OF_ADDRESS)
        self._names = RateLimiter(*_OF_NAME)
        self._wrong_keys = RateLimiter(*_OF_KEY)

    def attempt(self, *, address: str, name: str) -> None:
        """Count an attempt with a password.

        Raises:
            GuardError: With reason `rate_limit_exceeded`.
        """
        self._addresses.take(f"login:{address}")
        self._names.take(f"name:{hashlib.sha256(name.casefold().encode('utf-8', 'replace')).hexdigest()[:32]}")

    def wrong_key(self, *, address: str) -> None:
        """Count a wrong key; the right one is never refused.

        Raises:
            GuardError: With reason `rate_limit_exceeded`.
        """
        self._wrong_keys.take(f"key:{address}")

    def answer(self, *, address: str) -> None:
        """Count an answer of a wallet, which costs signatures to check.

        Raises:
            GuardError: With reason `rate_limit_exceeded`.
        """
        self._addresses.take(f"answer:{address}")
