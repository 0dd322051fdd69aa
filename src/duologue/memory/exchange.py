"""Memories as JSON lines, out and in: one object per line, nothing lost on the way and back."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from duologue.errors import DataError, GuardError
from duologue.guard import ContentPolicy, InputValidator
from duologue.messages import Role

_MAX_TEXT_CHARS = 100_000
_MAX_LISTED_FAULTS = 20
_MAX_ROW = 2**63  # message ids are 64-bit rows
_KEYS = ("text", "speaker", "session_id", "message_id", "said_at")


@dataclass(frozen=True, slots=True)
class MemoryLine:
    """A memory as it travels between databases; attributes as in `MemoryStore.add`."""

    text: str
    speaker: Role
    session_id: str
    message_id: int
    said_at: str


def to_json_line(line: MemoryLine) -> str:
    """Return a memory as one line of JSON, without the line break."""
    return json.dumps({key: getattr(line, key) for key in _KEYS}, ensure_ascii=False)


def parse_json_lines(lines: Iterable[str], *, where: str) -> tuple[MemoryLine, ...]:
    """Return the memories of a JSON lines file; empty lines are skipped.

    Raises:
        DataError: Lines have faults; they are named together.
    """
    parsed: list[MemoryLine] = []
    faults: list[str] = []
    for row, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            parsed.append(_parse(line))
        except (ValueError, RecursionError, GuardError) as error:
            faults.append(f"{where}:{row}: {error.found if isinstance(error, GuardError) else error}")
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults[:_MAX_LISTED_FAULTS])
        raise DataError(
            f"{len(faults)} lines are not memories:\n{listed}",
            where=where,
            needed=f"JSON objects with {', '.join(_KEYS)}",
            action="Mend or remove them; nothing was imported.",
        )
    return tuple(parsed)


def check_limits(text: str) -> None:
    """Refuse what no memory may hold at any rating.

    Raises:
        GuardError: With reason `content_policy`.
    """
    ContentPolicy("adult").check([text], where="memory")


def _parse(line: str) -> MemoryLine:
    document = json.loads(line)
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    missing = [key for key in _KEYS if key not in document]
    if missing:
        raise ValueError(f"missing: {', '.join(missing)}")
    validator = InputValidator(_MAX_TEXT_CHARS)
    text, session_id, said_at = (validator.validate(_text(document, key)) for key in ("text", "session_id", "said_at"))
    datetime.fromisoformat(said_at)
    check_limits(text)
    return MemoryLine(text, _speaker(document), session_id, _message_id(document), said_at)


def _text(document: dict[str, Any], key: str) -> str:
    value = document[key]
    if not isinstance(value, str):
        raise ValueError(f"'{key}' is not a text")
    return value


def _speaker(document: dict[str, Any]) -> Role:
    speaker = document["speaker"]
    if speaker == "user":
        return "user"
    if speaker == "assistant":
        return "assistant"
    raise ValueError(f"'speaker' is {speaker!r}; expected 'user' or 'assistant'")


def _message_id(document: dict[str, Any]) -> int:
    value = document["message_id"]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MAX_ROW:
        raise ValueError(f"'message_id' is {value!r}; expected a whole number")
    return value
