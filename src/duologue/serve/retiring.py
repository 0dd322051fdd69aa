"""Bots whose folder has changed: each is closed once the last reply on it has ended, and never before."""

import logging
import threading
import time
from collections import Counter
from weakref import WeakSet

from duologue.chat import Bot
from duologue.errors import DuologueError, GuardError

log = logging.getLogger("duologue.serve")
REST_SECONDS = 5.0  # a request that has just been given the bot has asked it, or has begun its reply, by then


class Retiring:
    """Counts the replies on each bot, and closes the bots that nobody shall be given any more when they are free.

    Args:
        rest_seconds: Time that a bot is left open at least.
    """

    def __init__(self, *, rest_seconds: float = REST_SECONDS) -> None:
        """Start with no bot."""
        self._rest_seconds = rest_seconds
        self._changed = threading.Condition()
        self._num_replies: Counter[Bot] = Counter()
        self._waiting: dict[Bot, float] = {}  # until when each rests, monotonic
        self._closed: WeakSet[Bot] = WeakSet()
        self._thread: threading.Thread | None = None

    def hold(self, bot: Bot) -> None:
        """Keep a bot open until `release`.

        Raises:
            GuardError: With reason `busy`: it has been closed since the caller was given it.
        """
        with self._changed:
            if bot in self._closed:
                raise GuardError(
                    f"{bot.name} has just been changed",
                    reason="busy",
                    retry_after_seconds=1.0,
                    action="Ask again.",
                )
            self._num_replies[bot] += 1

    def release(self, bot: Bot) -> None:
        """Take back one `hold`."""
        with self._changed:
            self._num_replies[bot] -= 1
            if not self._num_replies[bot]:
                del self._num_replies[bot]
            self._changed.notify_all()

    def retire(self, bot: Bot) -> None:
        """Close a bot, in another thread, once no reply is made with it."""
        with self._changed:
            self._waiting[bot] = time.monotonic() + self._rest_seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="retiring", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Close the bots that wait to be closed; their replies end here, keeping what was said."""
        with self._changed:
            waiting = list(self._waiting)
            self._waiting.clear()
            self._closed.update(waiting)
            thread = self._thread
            self._changed.notify_all()
        for bot in waiting:
            bot.close()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while (bot := self._next()) is not None:
            try:
                bot.close()
            except DuologueError:
                log.exception("%s, whose folder has changed, could not be closed", bot.name)

    def _next(self) -> Bot | None:
        """Return a bot that can be closed, waiting for it; None when none waits."""
        with self._changed:
            while self._waiting:
                now = time.monotonic()
                free = {bot: until for bot, until in self._waiting.items() if not self._num_replies[bot]}
                if ready := [bot for bot, until in free.items() if until <= now]:
                    del self._waiting[ready[0]]
                    self._closed.add(ready[0])
                    return ready[0]
                self._changed.wait(min(free.values()) - now if free else None)
            self._thread = None
            return None
