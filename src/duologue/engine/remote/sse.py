"""Server-sent events out of raw bytes (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Only `data` matters here. Lines are split as bytes and decoded when they are whole, so a character may be cut anywhere.
"""

from duologue.errors import EngineError

MAX_EVENT_BYTES = 2**20  # a chunk of a reply has some hundred bytes; this is a server that never ends its line


class SseReader:
    """Collects bytes and gives back the data of each finished event."""

    def __init__(self) -> None:
        """Start before the first byte."""
        self._buffer = bytearray()
        self._data: list[bytes] = []
        self._num_data_bytes = 0
        self._ends_in_return = False

    def feed(self, raw: bytes) -> list[str]:
        """Return the data of the events that `raw` completes.

        Raises:
            EngineError: An event is longer than `MAX_EVENT_BYTES`.
        """
        if self._ends_in_return and raw.startswith(b"\n"):
            raw = raw[1:]  # the second half of a line end that was cut
            self._ends_in_return = False
        if raw:
            self._ends_in_return = raw.endswith(b"\r")
        self._buffer += raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._buffer = self._buffer.split(b"\n")
        events = []
        for line in lines:
            if line:
                self._take(bytes(line))
            elif self._data:
                events.append(self._finish())
        if len(self._buffer) + self._num_data_bytes > MAX_EVENT_BYTES:
            raise EngineError(f"the server sent an event of more than {MAX_EVENT_BYTES} bytes")
        return events

    def rest(self) -> list[str]:
        """Return the last event of a stream that ended without its blank line."""
        return self.feed(b"\n\n")

    def _take(self, line: bytes) -> None:
        name, _, value = line.removeprefix(b"\xef\xbb\xbf").partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._num_data_bytes += len(value)

    def _finish(self) -> str:
        data, self._data, self._num_data_bytes = b"\n".join(self._data), [], 0
        return data.decode("utf-8", "replace")
