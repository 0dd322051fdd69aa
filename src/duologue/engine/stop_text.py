"""Stop texts in a stream: found across piece borders, never shown in part."""

from collections.abc import Sequence


class StopText:
    """Holds back the end of a stream for as long as it may be the beginning of a stop text."""

    def __init__(self, stops: Sequence[str]) -> None:
        """Take the texts that end a reply."""
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """Return what may be shown now, and whether a stop text was met (the text before it is then complete)."""
        self._held += text
        met = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if met:
            _, start = min(met)  # the one that was complete first, so that it does not matter how the text was cut
            shown, self._held = self._held[:start], ""
            return shown, True
        keep = max((self._overlap(stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown, False

    def rest(self) -> str:
        """Return what was held back when the stream ends without a stop text."""
        shown, self._held = self._held, ""
        return shown

    def _overlap(self, stop: str) -> int:
        longest = min(len(stop) - 1, len(self._held))
        return next((size for size in range(longest, 0, -1) if stop.startswith(self._held[-size:])), 0)
