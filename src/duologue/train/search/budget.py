"""The time of a search: what was used, also before an interruption, and what is left."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from duologue.train.search.records import write_json

_FILE = "clock.json"
_KEEP_EVERY_SECONDS = 5.0  # what a killed search forgets at most


class Budget:
    """Wall time. It goes on where it ended: what a killed process used counts, to within seconds."""

    def __init__(
        self,
        folder: Path,
        *,
        seconds: float,
        used_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the clock.

        Args:
            folder: Of the search; what was used is kept there.
            seconds: In all.
            used_seconds: By this process before the clock started.
            clock: Seconds that only go forward.
        """
        self.seconds = seconds
        self._path = folder / _FILE
        self._clock = clock
        self._started = clock() - used_seconds
        self._before = _read(self._path)
        self._kept_at = clock()

    @property
    def used(self) -> float:
        """Seconds used so far."""
        return self._before + self._clock() - self._started

    @property
    def left(self) -> float:
        """Seconds left; negative when it was overrun."""
        return self.seconds - self.used

    def tick(self, *, at_once: bool = False) -> None:
        """Write down what was used, every few seconds or at once."""
        if at_once or self._clock() - self._kept_at >= _KEEP_EVERY_SECONDS:
            self._kept_at = self._clock()
            write_json(self._path, {"used_seconds": round(self.used, 2)})


def _read(path: Path) -> float:
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["used_seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
