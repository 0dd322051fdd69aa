"""What can go wrong with a server, in words, and what may be done about it: ask again, ask another one, or give up."""

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from duologue.errors import EngineError

Again = Literal["anywhere", "elsewhere", "nowhere"]
_MAX_TOLD_CHARS = 300
_ADVICE = {
    400: "If the server names an unknown field: set generation.top_k = 0, min_p = 0 and repetition_penalty = 1.",
    401: "Check the API key.",
    403: "Check the API key.",
    404: "Check the address; it usually ends in /v1.",
    429: "The server limits its requests; wait and try again.",
    503: "The server is busy or still loads its model; wait and try again.",
}
_PASSING = frozenset({429, 502, 503, 504})  # busy, or a proxy whose server is away: over in a moment, or elsewhere


class ServerFault(EngineError):
    """A server did not do what it was asked.

    Args:
        found: What was found.
        where: The server's address.
        needed: As in `EngineError`.
        action: As in `EngineError`.
        again: Where the same request may succeed, as long as nothing of the reply was shown.
        is_down: Whether other requests should leave the server alone for a while too.
        retry_after_seconds: How long the server wants to be left alone; -1 where it does not say.
    """

    def __init__(
        self,
        found: str,
        where: str,
        *,
        needed: str = "",
        action: str = "",
        again: Again = "nowhere",
        is_down: bool = False,
        retry_after_seconds: float = -1.0,
    ) -> None:
        """Store what may be done about it beside the four parts."""
        super().__init__(found, where=where, needed=needed, action=action)
        self.again = again
        self.is_down = is_down
        self.retry_after_seconds = retry_after_seconds


def refused(status: int, told: str, url: str, *, retry_after: str = "") -> ServerFault:
    """Return the fault of an answer with an error's status.

    Args:
        status: The HTTP status.
        told: What the body says.
        url: The server's address.
        retry_after: The header of that name, seconds or a date.
    """
    found = f"the server answered {status}" + (f": {told}" if told else "")
    action = _ADVICE.get(status, "")
    if wait := printable(retry_after):
        action = f"Try again in {wait} seconds." if wait.isdecimal() else f"Try again after {wait}."
    again: Again = "anywhere" if status in _PASSING else "elsewhere" if status >= 500 else "nowhere"
    return ServerFault(
        found,
        url,
        action=action,
        again=again,
        is_down=status in _PASSING,
        retry_after_seconds=_seconds(retry_after, now=datetime.now(UTC)),
    )


def told_in(raw: bytes) -> str:
    """Return what a body says about an error: OpenAI's shape, FastAPI's, or its beginning."""
    text = raw.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return printable(text)
    if isinstance(document, dict):
        error = document.get("error") or document.get("message") or document.get("detail") or document
        document = error.get("message", error) if isinstance(error, dict) else error
    return printable(str(document))


def printable(text: str) -> str:
    """Return `text` on one line without control characters: it is shown in a terminal."""
    kept = "".join(character if character.isprintable() else " " for character in text[: 4 * _MAX_TOLD_CHARS])
    line = " ".join(kept.split())
    return line if len(line) <= _MAX_TOLD_CHARS else line[: _MAX_TOLD_CHARS - 3] + "..."


def _seconds(retry_after: str, *, now: datetime) -> float:
    """Return what a `Retry-After` says in seconds from now (RFC 9110, 10.2.3); -1 where it says nothing."""
    text = retry_after.strip()[:40]
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return -1.0
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds())
