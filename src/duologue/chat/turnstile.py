"""So many at a time, in the order of arrival: the way to a model that can make one reply at once, or a few."""

import threading
from dataclasses import dataclass

_LOOK_AT_CANCEL_SECONDS = 0.05


@dataclass(slots=True, eq=False)
class _Place:
    """Somebody in line or inside.

    Attributes:
        chat: The chat a reply belongs to; empty when it belongs to none.
        is_alone: Whether nobody else may be inside.
        is_inside: Whether it has come in.
    """

    chat: str
    is_alone: bool
    is_inside: bool = False


class Turnstile:
    """Lets a few callers in, never two of one chat; the others wait in line and may give up.

    Args:
        num_places: How many may be inside.
    """

    def __init__(self, num_places: int = 1) -> None:
        """Start with nobody inside."""
        assert num_places > 0
        self._num_places = num_places
        self._changed = threading.Condition()
        self._line: list[_Place] = []  # also those inside, until they leave

    def enter(self, cancel: threading.Event, *, chat: str = "", is_alone: bool = False) -> bool:
        """Wait until it is the caller's turn; return False when `cancel` was set before that.

        Args:
            cancel: Gives up.
            chat: Whoever is of a chat that has somebody inside lets those behind pass.
            is_alone: Wait until nobody is inside, and let nobody else in.
        """
        place = _Place(chat, is_alone)
        with self._changed:
            self._line.append(place)
            while self._next() is not place:
                if cancel.is_set():
                    self._line.remove(place)
                    self._changed.notify_all()
                    return False
                self._changed.wait(_LOOK_AT_CANCEL_SECONDS)
            place.is_inside = True
            self._changed.notify_all()  # there may be room for one more
        return True

    def leave(self, *, chat: str = "") -> None:
        """Let the next one in; may be called from another thread than `enter`, with the same chat."""
        with self._changed:
            self._line.remove(next(place for place in self._line if place.is_inside and place.chat == chat))
            self._changed.notify_all()

    def _next(self) -> _Place | None:
        """Return who may come in now."""
        inside = [place for place in self._line if place.is_inside]
        if len(inside) >= self._num_places or any(place.is_alone for place in inside):
            return None
        chats = {place.chat for place in inside if place.chat}
        for place in self._line:
            if place.is_inside or place.chat in chats:
                continue
            return None if place.is_alone and inside else place
        return None
