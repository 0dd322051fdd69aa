"""Work that nobody waits for: done one after the other in a thread of its own, and finished before it ends."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable

from duologue.errors import DuologueError

log = logging.getLogger("duologue.chat")


class Worker:
    """A thread that begins with the first task and ends with `close`.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        """Start with nothing to do."""
        self._name = name
        self._changed = threading.Condition()
        self._tasks: OrderedDict[str, Callable[[], None]] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._busy_with: tuple[str, ...] = ()
        self._is_closed = False
        self.fault: DuologueError | None = None

    def do(self, key: str, task: Callable[[], None]) -> None:
        """Do a task soon; one with the same key that has not begun yet is done only once, in its new form."""
        with self._changed:
            if self._is_closed:
                return
            self._tasks[key] = task
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def settle(self, *, timeout_seconds: float | None = None, but: str = "") -> bool:
        """Wait until nothing is left to do; return False when the time ran out first.

        Args:
            timeout_seconds: How long to wait; None as long as it takes.
            but: Key of a task that need not be done.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not {*self._tasks, *self._busy_with} - {but}, timeout_seconds)

    def close(self, *, drops: bool = False) -> None:
        """Do what is left, or drop it, and end."""
        with self._changed:
            self._is_closed = True
            if drops:
                self._tasks.clear()
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tasks or self._is_closed)
                if not self._tasks:
                    return
                key, task = self._tasks.popitem(last=False)
                self._busy_with = (key,)
            try:
                task()
                self.fault = None
            except DuologueError as error:
                self.fault = error
                log.warning("%s: %s", self._name, error)
            except Exception:  # nobody waits for it, so nobody else would hear of it
                log.exception("%s failed", self._name)
            finally:
                with self._changed:
                    self._busy_with = ()
                    self._changed.notify_all()
