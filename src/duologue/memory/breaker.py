"""A service that does not answer is left alone for a while: it costs one turn its patience and not every one."""

import threading
import time
from collections.abc import Callable

_FIRST_PAUSE_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 600.0


class Breaker:
    """Whether a service may be asked. Threads may share it.

    Args:
        num_failures: Failures in a row after which it is left alone.
        clock: Monotonic seconds.
    """

    def __init__(self, *, num_failures: int = 2, clock: Callable[[], float] = time.monotonic) -> None:
        """Start closed: the service may be asked."""
        self._most_failures = num_failures
        self._clock = clock
        self._lock = threading.Lock()
        self._num_failures = 0
        self._open_until: float | None = None
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    @property
    def is_open(self) -> bool:
        """Whether the service is left alone."""
        return self._open_until is not None

    def may_try(self) -> bool:
        """Return whether its pause is over, so that one question may find out how it is; true once per pause."""
        with self._lock:
            if self._open_until is None or self._clock() < self._open_until:
                return False
            self._open_until = self._clock() + self._pause_seconds
            return True

    def succeeded(self) -> bool:
        """Store an answer; return whether the service was left alone until now."""
        with self._lock:
            was_open, self._open_until = self._open_until is not None, None
            self._num_failures = 0
            self._pause_seconds = _FIRST_PAUSE_SECONDS
            return was_open

    def failed(self, *, pause_seconds: float = 0.0) -> bool:
        """Store a failure; return whether the service is left alone from now on.

        Args:
            pause_seconds: Leave it alone at once and for so long; 0 leaves it to the number of failures.
        """
        with self._lock:
            self._num_failures += 1
            was_open = self._open_until is not None
            if not was_open and not pause_seconds and self._num_failures < self._most_failures:
                return False
            if was_open:
                self._pause_seconds = min(_LONGEST_PAUSE_SECONDS, 2 * self._pause_seconds)
            self._open_until = self._clock() + max(pause_seconds, self._pause_seconds)
            return not was_open
