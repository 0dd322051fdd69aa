"""A reply while it is being made: pieces to iterate over, the whole reply afterwards."""

from collections.abc import Iterator

from duologue.engine import Piece
from duologue.messages import Reply


class ReplyStream:
    """Iterate once over the pieces; `reply` is there when the iteration has ended."""

    def __init__(self, pieces: Iterator[Piece | Reply]) -> None:
        """Wrap an iterator that yields pieces and, last, the reply."""
        self._pieces = pieces
        self._reply: Reply | None = None

    def __iter__(self) -> Iterator[Piece]:
        """Yield the pieces."""
        for item in self._pieces:
            if isinstance(item, Reply):
                self._reply = item
            else:
                yield item

    @property
    def reply(self) -> Reply:
        """The finished reply."""
        assert self._reply is not None, "iterate over the stream to its end first"
        return self._reply

    def read(self) -> Reply:
        """Wait for the end and return the reply."""
        for _ in self:
            pass
        return self.reply
