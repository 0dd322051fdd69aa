"""What memory knows of a session, made equal to what the session's chosen path says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from duologue.errors import GuardError
from duologue.guard import ContentPolicy
from duologue.memory.facts import find_facts
from duologue.memory.passages import passages
from duologue.memory.records import Scope, Source, StoredLine
from duologue.memory.rows import delete_lines, insert_line, next_revision, stored_line
from duologue.store import Cursor, Database, Row

_SCENE_LINES = 20  # as many as an imported chat is read by

Key = tuple[int, int, str, int]
"""Message, revision, kind and part: what a line is known by while its database id may change."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What following a path changed.

    Attributes:
        num_new: Lines that were learned.
        num_gone: Lines whose source is no longer on the path.
        num_refused: Messages that cross a limit which holds at every rating; they are not remembered.
    """

    num_new: int
    num_gone: int
    num_refused: int = 0


def follow(database: Database, session_id: str, path: Sequence[Source], *, scope: Scope) -> Followed:
    """Make the lines of a session in a scope equal to what its path says.

    What the person did to a line (pinned, private, edited, forgotten) is kept by its source and holds again when the
    source comes back.
    """
    wanted, num_refused = _lines_of_path(session_id, path, scope=scope)
    with database.write() as cursor:
        there = {_key(line): line for line in _stored(cursor, session_id, scope)}
        if not _is_different(there, wanted):
            return Followed(0, 0, num_refused)
        marks = _marks(cursor, session_id, scope)
        wanted = {key: line for key, line in wanted.items() if not _is_forgotten(marks, key)}
        gone = [line for key, line in there.items() if key not in wanted or _differs(line, wanted[key])]
        gone_keys = {_key(line) for line in gone}
        new = [line for key, line in wanted.items() if key not in there or key in gone_keys]
        moved = [(key, line) for key, line in wanted.items() if key in there and key not in gone_keys]
        moved = [(key, line) for key, line in moved if _place(there[key]) != _place(line)]
        if not gone and not new and not moved:
            return Followed(0, 0, num_refused)
        delete_lines(cursor, gone)
        changed = next_revision(cursor, scope)
        for line in new:
            insert_line(cursor, _marked(line, marks.get(_key(line))), changed=changed)
        cursor.executemany(
            "UPDATE memories SET position = ?, said_at = ?, name = ?, changed = ? WHERE id = ?",
            [(line.position, line.said_at, line.name, changed, there[key].memory_id) for key, line in moved],
        )
    return Followed(len(new), len(gone), num_refused)


def is_within_limits(texts: Sequence[str]) -> bool:
    """Return whether texts that belong together may be remembered at all."""
    try:
        ContentPolicy("adult").check(texts, where="memory")
    except GuardError:
        return False
    return True


def put_mark(cursor: Cursor, line: StoredLine, **marks: str | int | None) -> None:
    """Keep what the person did to a line, by its source: `is_pinned`, `is_private`, `is_forgotten`, `text`."""
    where = _mark_key(line)
    cursor.execute(
        """
        INSERT INTO marks (user, character, session_id, message_id, revision, kind, part) VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (user, character, session_id, message_id, revision, kind, part) DO NOTHING
        """,
        where,
    )
    for column, value in marks.items():
        assert column in ("is_pinned", "is_private", "is_forgotten", "text")
        cursor.execute(
            f"""
            UPDATE marks SET {column} = ? WHERE user = ? AND character = ? AND session_id = ? AND message_id = ?
                AND revision = ? AND kind = ? AND part = ?
            """,  # noqa: S608  (one of four names)
            (value, *where),
        )


def copy_marks(
    database: Database, session_id: str, new_session_id: str, messages: Mapping[tuple[int, int], tuple[int, int]]
) -> None:
    """Copy the marks of a session's messages to those that copy them in a branch; see `MemoryStore.copy_marks`."""
    with database.write() as cursor:
        rows = cursor.execute("SELECT * FROM marks WHERE session_id = ?", (session_id,)).fetchall()
        for row in rows:
            copy = messages.get((row["message_id"], row["revision"]))
            if copy is not None:
                cursor.execute(
                    """
                    INSERT INTO marks (user, character, session_id, message_id, revision, kind, part, is_pinned,
                        is_private, is_forgotten, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    ON CONFLICT (user, character, session_id, message_id, revision, kind, part) DO NOTHING
                    """,
                    (
                        row["user"],
                        row["character"],
                        new_session_id,
                        *copy,
                        row["kind"],
                        row["part"],
                        row["is_pinned"],
                        row["is_private"],
                        row["is_forgotten"],
                        row["text"],
                    ),
                )


def _lines_of_path(session_id: str, path: Sequence[Source], *, scope: Scope) -> tuple[dict[Key, StoredLine], int]:
    wanted: dict[Key, StoredLine] = {}
    num_refused = 0
    kept: list[str] = []
    is_harmless = is_within_limits([source.text for source in path])
    for position, source in enumerate(path):
        if not source.text.strip():
            continue
        # A line is read with what was said before it, as a prompt would hold it; only where there is anything to find.
        if not is_harmless and not is_within_limits([*kept[-_SCENE_LINES:], source.text]):
            num_refused += 1
            continue
        kept.append(source.text)
        for line in lines_of_source(source, position=position, session_id=session_id, scope=scope):
            wanted[_key(line)] = line
    return wanted, num_refused


def lines_of_source(source: Source, *, position: int, session_id: str, scope: Scope) -> Iterable[StoredLine]:
    """Yield what a message says, passage by passage, and the facts the user states in it."""
    base = StoredLine(
        memory_id=0,
        scope=scope,
        kind="turn",
        text="",
        original="",
        speaker=source.speaker,
        name=source.name,
        session_id=session_id,
        message_id=source.message_id,
        revision=source.revision,
        part=0,
        position=position,
        said_at=source.said_at,
    )
    for part, passage in enumerate(passages(source.text)):
        yield replace(base, text=passage, original=passage, part=part)
    if source.speaker == "user":
        for part, fact in enumerate(find_facts(source.text)):
            yield replace(
                base, kind="fact", text=fact.text, original=fact.text, part=part, slot=fact.slot, value=fact.value
            )


def _stored(cursor: Cursor, session_id: str, scope: Scope) -> list[StoredLine]:
    rows = cursor.execute(
        "SELECT * FROM memories WHERE user = ? AND character = ? AND session_id = ? ORDER BY id",
        (scope.user, scope.character, session_id),
    ).fetchall()
    return [stored_line(row) for row in rows]


def _marks(cursor: Cursor, session_id: str, scope: Scope) -> dict[Key, Any]:
    rows = cursor.execute(
        "SELECT * FROM marks WHERE user = ? AND character = ? AND session_id = ?",
        (scope.user, scope.character, session_id),
    ).fetchall()
    return {(row["message_id"], row["revision"], row["kind"], row["part"]): row for row in rows}


def _is_different(there: dict[Key, StoredLine], wanted: dict[Key, StoredLine]) -> bool:
    return there.keys() != wanted.keys() or any(
        _differs(line, wanted[key]) or _place(line) != _place(wanted[key]) for key, line in there.items()
    )


def _differs(line: StoredLine, wanted: StoredLine) -> bool:
    return (line.original, line.speaker, line.slot) != (wanted.original, wanted.speaker, wanted.slot)


def _place(line: StoredLine) -> tuple[int, str, str]:
    return (line.position, line.said_at, line.name)


def _is_forgotten(marks: dict[Key, Any], key: Key) -> bool:
    row = marks.get(key)
    return row is not None and bool(row["is_forgotten"])


def _marked(line: StoredLine, mark: Row | None) -> StoredLine:
    if mark is None:
        return line
    return replace(
        line,
        is_pinned=bool(mark["is_pinned"]),
        is_private=bool(mark["is_private"]),
        text=line.text if mark["text"] is None else mark["text"],
    )


def _key(line: StoredLine) -> Key:
    return (line.message_id, line.revision, line.kind, line.part)


def _mark_key(line: StoredLine) -> tuple[str, str, str, int, int, str, int]:
    scope = line.scope
    return (scope.user, scope.character, line.session_id, line.message_id, line.revision, line.kind, line.part)
