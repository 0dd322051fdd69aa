"""Memories as JSON lines, out and in: one object per line, nothing lost on the way and back."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from duologue.errors import DataError, GuardError
from duologue.guard import ContentPolicy, InputValidator
from duologue.memory.learning import put_mark
from duologue.memory.records import Scope, StoredLine
from duologue.memory.rows import insert_line, next_revision, stored_line
from duologue.messages import Role
from duologue.store import Cursor, Database

_MAX_TEXT_CHARS = 100_000
_MAX_LISTED_FAULTS = 20
_SCENE_LINES = 20  # are read together with a memory, as a prompt could hold them together
_MAX_ROW = 2**63  # message ids are 64-bit rows
_KEYS = ("text", "speaker", "session_id", "message_id", "said_at")
_MORE_TEXTS = ("kind", "name", "slot", "value", "original")
_MORE_NUMBERS = ("revision", "part", "position")
_FLAGS = ("is_pinned", "is_private")
_NOWHERE = Scope("", "")


def to_json_line(line: StoredLine) -> str:
    """Return a memory as one line of JSON, without the line break."""
    document = {key: getattr(line, key) for key in (*_KEYS, *_MORE_TEXTS, *_MORE_NUMBERS, *_FLAGS)}
    return json.dumps(document, ensure_ascii=False)


def parse_json_lines(lines: Iterable[str], *, where: str) -> tuple[StoredLine, ...]:
    """Return the memories of a JSON lines file, in no scope; empty lines are skipped.

    Lines of older files, which have only text, speaker, session, message and time, are read as well.

    Raises:
        DataError: Lines have faults; they are named together.
    """
    parsed: list[StoredLine] = []
    faults: list[str] = []
    for row, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            memory = _parse(line)
            check_limits(*(other.text for other in parsed[-_SCENE_LINES:]), memory.text)
            parsed.append(memory)
        except (ValueError, RecursionError, GuardError) as error:
            faults.append(f"{where}:{row}: {error.found if isinstance(error, GuardError) else error}")
    refuse(faults, where=where, needed=f"JSON objects with {', '.join(_KEYS)}")
    return tuple(parsed)


def refuse(faults: Sequence[str], *, where: str, needed: str) -> None:
    """Raise when there are faults.

    Raises:
        DataError: It names them together.
    """
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults[:_MAX_LISTED_FAULTS])
        raise DataError(
            f"{len(faults)} lines are not memories:\n{listed}",
            where=where,
            needed=needed,
            action="Mend or remove them; nothing was imported.",
        )


def store_lines(database: Database, lines: Sequence[StoredLine], *, scope: Scope) -> int:
    """Store lines in a scope, all or none; return how many were new. What is marked in them is marked here."""
    num_added = 0
    with database.write() as cursor:
        changed = next_revision(cursor, scope)
        for line in (replace(line, scope=scope) for line in lines):
            if _is_there(cursor, line):
                continue
            insert_line(cursor, line, changed=changed)
            num_added += 1
            if line.is_pinned or line.is_private or line.is_edited:
                put_mark(
                    cursor,
                    line,
                    is_pinned=int(line.is_pinned),
                    is_private=int(line.is_private),
                    text=line.text if line.is_edited else None,
                )
    return num_added


def check_limits(*texts: str) -> None:
    """Refuse what no memory may hold at any rating.

    Args:
        texts: That belong together; the last is the memory.

    Raises:
        GuardError: With reason `content_policy`.
    """
    ContentPolicy("adult").check(texts, where="memory")


def _is_there(cursor: Cursor, line: StoredLine) -> bool:
    rows = cursor.execute(
        """
        SELECT * FROM memories WHERE user = ? AND character = ? AND session_id = ? AND message_id = ?
            AND (kind || '') = ? AND original = ?
        """,  # not `kind = ?`: SQLite would look through every line of the kind, 100,000 times for 100,000 lines
        (line.scope.user, line.scope.character, line.session_id, line.message_id, line.kind, line.original),
    ).fetchall()
    return any(
        (other.speaker, other.said_at, other.revision, other.part)
        == (line.speaker, line.said_at, line.revision, line.part)
        for other in map(stored_line, rows)
    )


def _parse(text: str) -> StoredLine:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    missing = [key for key in _KEYS if key not in document]
    if missing:
        raise ValueError(f"missing: {', '.join(missing)}")
    validator = InputValidator(_MAX_TEXT_CHARS)
    said, session_id, said_at = (validator.validate(_text(document, key)) for key in ("text", "session_id", "said_at"))
    texts = {key: validator.validate(_text(document, key)) for key in _MORE_TEXTS if document.get(key)}
    datetime.fromisoformat(said_at)
    original = texts.get("original", said)
    check_limits(said)
    check_limits(original)
    if texts.get("kind", "turn") not in ("turn", "fact"):
        raise ValueError(f"'kind' is {texts['kind']!r}; expected 'turn' or 'fact'")
    message_id = _number(document, "message_id")
    return StoredLine(
        memory_id=0,
        scope=_NOWHERE,
        kind=texts.get("kind", "turn"),
        text=said,
        original=original,
        speaker=_speaker(document),
        name=texts.get("name", ""),
        session_id=session_id,
        message_id=message_id,
        revision=_number(document, "revision", default=0),
        part=_number(document, "part", default=0),
        position=_number(document, "position", default=message_id),
        said_at=said_at,
        slot=texts.get("slot", ""),
        value=texts.get("value", ""),
        is_pinned=_flag(document, "is_pinned"),
        is_private=_flag(document, "is_private"),
    )


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


def _number(document: dict[str, Any], key: str, *, default: int | None = None) -> int:
    value = document.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MAX_ROW:
        raise ValueError(f"'{key}' is {value!r}; expected a whole number")
    return value


def _flag(document: dict[str, Any], key: str) -> bool:
    value = document.get(key, False)
    if not isinstance(value, bool):
        raise ValueError(f"'{key}' is {value!r}; expected true or false")
    return value
