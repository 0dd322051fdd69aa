"""One at a time, in the order of arrival: the way to a model that can say only one thing at once."""

import threading
from collections import deque

_LOOK_AT_CANCEL_SECONDS = 0.05


class Turnstile:
    """Lets one caller in; the others wait in line and may give up."""

    def __init__(self) -> None:
        """Start with nobody inside."""
        self._changed = threading.Condition()
        self._line: deque[object] = deque()  # the first one is inside

    def enter(self, cancel: threading.Event) -> bool:
        """Wait until it is the caller's turn; return False when `cancel` was set before that."""
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            while self._line[0] is not ticket:
                if cancel.is_set():
                    self._line.remove(ticket)
                    return False
                self._changed.wait(_LOOK_AT_CANCEL_SECONDS)
        return True

    def leave(self) -> None:
        """Let the next one in; may be called from another thread than `enter`."""
        with self._changed:
            self._line.popleft()
            self._changed.notify_all()
