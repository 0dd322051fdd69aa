"""A session to the documents that are sent: a line per message, long sessions in parts, names that are safe in URLs."""

import hashlib
import re
from dataclasses import dataclass

from duologue.memory.records import Scope
from duologue.store import Database

PART_CHARS = 20_000  # a part is sent again as it grows, so parts stay small; 20,000 characters are about 100 turns
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_UNSAFE = re.compile(r"[^a-z0-9]+")
_LINE = re.compile(r"\[(\d{4}-\d\d-\d\d) (\d\d:\d\d)\] ([^:]{1,100}): (.+)")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a session.

    Attributes:
        content: One line per message.
        date: When its first message was said.
    """

    content: str
    date: str


def namespace_of(scope: Scope) -> str:
    """Return the name under which a service keeps a scope: another one for every pair of user and character.

    Users appear as a hash only. What comes back has nothing but letters, digits, `_`, `-` and `:`, and at most 100
    characters, whatever the scope holds: the service's client puts it into URLs as it is.
    """
    character = _UNSAFE.sub("-", scope.character.lower())[:20].strip("-")
    return f"duologue:u_{_digest(scope.user, 24)}:c_{character}-{_digest(scope.character, 24)}"


def document_id(session_id: str, *, part: int, generation: int) -> str:
    """Return the name of a session's document; it is the same at every attempt.

    Args:
        session_id: The session.
        part: Counted from 1.
        generation: Counted from 1; a document that was deleted never gets its old name again.
    """
    safe = session_id if _SAFE_ID.fullmatch(session_id) else _digest(session_id, 32)
    return f"sess-{safe}" + (f"-p{part}" if part > 1 else "") + (f"-g{generation}" if generation > 1 else "")


def read_session(database: Database, scope: Scope, session_id: str) -> tuple[Part, ...]:
    """Return a session as our own memory has it: what is forgotten or marked private is not in it.

    Args:
        database: The database of the memory.
        scope: Whose memory it is.
        session_id: Which session.
    """
    rows = database.read(
        "SELECT text, speaker, name, said_at FROM memories WHERE user = ? AND character = ? AND session_id = ?"
        " AND kind = 'turn' AND is_private = 0 ORDER BY position, message_id, part, id",
        (scope.user, scope.character, session_id),
    )
    parts: list[Part] = []
    lines: list[str] = []
    date, num_chars = "", 0
    for row in rows:
        speaker = row["name"].replace(":", " ") or ("User" if row["speaker"] == "user" else scope.character)
        line = f"[{row['said_at'][:16].replace('T', ' ')}] {speaker}: {_SPACES.sub(' ', row['text']).strip()}"
        if lines and num_chars + len(line) > PART_CHARS:
            parts.append(Part("\n".join(lines), date))
            lines, num_chars = [], 0
        date = date if lines else row["said_at"]
        lines.append(line)
        num_chars += len(line) + 1
    if lines:
        parts.append(Part("\n".join(lines), date))
    return tuple(parts)


def lines_in(passage: str) -> tuple[tuple[str, str, str], ...]:
    """Return the messages in a passage of a document: when each was said, the name of its speaker, and what it says.

    A passage may begin and end in the middle of a line; such a piece is left out when the passage has whole lines.
    """
    found = (_LINE.match(line.strip()) for line in passage.splitlines())
    return tuple((f"{line[1]}T{line[2]}:00+00:00", line[3], line[4].strip()) for line in found if line)


def sessions_of(database: Database, scope: Scope) -> tuple[str, ...]:
    """Return the sessions our own memory has of a scope."""
    rows = database.read(
        "SELECT DISTINCT session_id FROM memories WHERE user = ? AND character = ? ORDER BY session_id",
        (scope.user, scope.character),
    )
    return tuple(row["session_id"] for row in rows)


def checksum(content: str) -> str:
    """Return what tells one content from another without holding it."""
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def _digest(text: str, num_digits: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:num_digits]
