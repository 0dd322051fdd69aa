"""The rows of memory: read as `StoredLine`s, written with a number that tells other readers what has changed."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from duologue.memory.records import Scope, StoredLine
from duologue.store import Cursor, Database, Row

_MAX_PARAMETERS = 400  # of one statement


def stored_line(row: Row) -> StoredLine:
    """Return a row of `memories` as a value."""
    return StoredLine(
        memory_id=row["id"],
        scope=Scope(row["user"], row["character"]),
        kind=row["kind"],
        text=row["text"],
        original=row["original"],
        speaker=row["speaker"],
        name=row["name"],
        session_id=row["session_id"],
        message_id=row["message_id"],
        revision=row["revision"],
        part=row["part"],
        position=row["position"],
        said_at=row["said_at"],
        slot=row["slot"],
        value=row["value"],
        is_pinned=bool(row["is_pinned"]),
        is_private=bool(row["is_private"]),
    )


def lines_of(database: Database, ids: Sequence[int]) -> dict[int, StoredLine]:
    """Return the lines with these ids that exist, by id."""
    found: dict[int, StoredLine] = {}
    for at in range(0, len(ids), _MAX_PARAMETERS):
        some = list(ids[at : at + _MAX_PARAMETERS])
        marks = ", ".join("?" * len(some))
        rows = database.read(f"SELECT * FROM memories WHERE id IN ({marks})", some)  # noqa: S608  (only marks)
        found.update((row["id"], stored_line(row)) for row in rows)
    return found


def revision_of(database: Database, scope: Scope) -> int:
    """Return the number that counts the changes of a scope."""
    rows = database.read("SELECT revision FROM scopes WHERE user = ? AND character = ?", (scope.user, scope.character))
    return int(rows[0]["revision"]) if rows else 0


def next_revision(cursor: Cursor, scope: Scope) -> int:
    """Count a change of a scope and return its number; part of the transaction that makes the change."""
    cursor.execute(
        """
        INSERT INTO scopes (user, character, revision) VALUES (?, ?, 1)
        ON CONFLICT (user, character) DO UPDATE SET revision = scopes.revision + 1
        """,
        (scope.user, scope.character),
    )
    row = cursor.execute(
        "SELECT revision FROM scopes WHERE user = ? AND character = ?", (scope.user, scope.character)
    ).fetchone()
    return int(row["revision"])


def insert_line(cursor: Cursor, line: StoredLine, *, changed: int) -> int:
    """Store a line, whatever its id says, and return its new id."""
    row = cursor.execute(
        """
        INSERT INTO memories (user, character, session_id, message_id, speaker, said_at, text, kind, name, revision,
            part, position, original, slot, value, is_pinned, is_private, changed)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id
        """,
        (
            line.scope.user,
            line.scope.character,
            line.session_id,
            line.message_id,
            line.speaker,
            line.said_at,
            line.text,
            line.kind,
            line.name,
            line.revision,
            line.part,
            line.position,
            line.original,
            line.slot,
            line.value,
            int(line.is_pinned),
            int(line.is_private),
            changed,
        ),
    ).fetchone()
    return int(row["id"])


def delete_lines(cursor: Cursor, lines: Iterable[StoredLine]) -> None:
    """Delete lines and note that they are gone, for whoever keeps them in RAM."""
    by_scope: dict[Scope, list[int]] = {}
    for line in lines:
        by_scope.setdefault(line.scope, []).append(line.memory_id)
    for scope, ids in by_scope.items():
        changed = next_revision(cursor, scope)
        cursor.executemany("DELETE FROM vectors WHERE memory_id = ?", [(memory_id,) for memory_id in ids])
        cursor.executemany("DELETE FROM memories WHERE id = ?", [(memory_id,) for memory_id in ids])
        cursor.executemany(
            "INSERT INTO departures (user, character, revision, memory_id) VALUES (?, ?, ?, ?)",
            [(scope.user, scope.character, changed, memory_id) for memory_id in ids],
        )


def with_versions(lines: Iterable[StoredLine]) -> tuple[StoredLine, ...]:
    """Return all statements about one thing, oldest first, each with the time until which it was so.

    What is so is what was said last. Saying it again changes nothing; saying something else ends it.
    """
    newest_first: list[StoredLine] = []
    for line in sorted(lines, key=_told, reverse=True):
        later = newest_first[-1] if newest_first else line
        is_same = later.value.casefold() == line.value.casefold()
        newest_first.append(replace(line, used_until=later.used_until if is_same else later.said_at))
    return tuple(reversed(newest_first))


def _told(line: StoredLine) -> tuple[str, str, int, int, int]:
    return (line.said_at, line.session_id, line.position, line.part, line.memory_id)
