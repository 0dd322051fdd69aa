"""The replies of everyone who speaks after one message of the user, as one stream."""

import threading
from collections.abc import Callable, Iterator

from duologue.chat.stream import ReplyStream
from duologue.engine import Piece
from duologue.messages import Reply


class Chain:
    """Streams one reply after the other; between two of them stands the name of the next one who speaks.

    Args:
        first: The first reply.
        more: Gives the next reply, or None when everyone has spoken.
        cancel: What stops the present reply stops those that would follow.
    """

    def __init__(self, first: ReplyStream, more: Callable[[], ReplyStream | None], cancel: threading.Event) -> None:
        """Bind the parts; nothing runs before the first piece is asked for."""
        self._current = first
        self._more = more
        self._cancel = cancel
        self._pieces = self._run()

    def __iter__(self) -> Iterator[Piece]:
        """Return the chain itself."""
        return self

    def __next__(self) -> Piece:
        """Return the next piece; raises what a reply raises."""
        return next(self._pieces)

    @property
    def reply(self) -> Reply:
        """The last reply that has ended."""
        return self._current.reply

    def close(self) -> None:
        """Stop here; what was said so far is kept."""
        self._cancel.set()
        self._current.close()

    def _run(self) -> Iterator[Piece]:
        while True:
            yield from self._current
            following = None if self._cancel.is_set() else self._more()
            if following is None:
                return
            self._current = following
            yield Piece(f"\n\n{following.speaker}: ", 0)
