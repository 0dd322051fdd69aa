"""The facts of a scope with what became of them, and how they stand in for the turns they were drawn from."""

import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from duologue.memory.ranking import Scored
from duologue.memory.records import Scope, StoredLine
from duologue.memory.rows import stored_line, with_versions
from duologue.store import Database

_Message = tuple[str, int]


@dataclass(frozen=True, slots=True)
class KnownFacts:
    """The facts of a scope that may be recalled.

    Attributes:
        by_id: Each fact, with the time until which it was so.
        by_message: The facts of each message.
        newest: What is so now, by slot.
    """

    by_id: dict[int, StoredLine] = field(default_factory=dict)
    by_message: dict[_Message, list[StoredLine]] = field(default_factory=dict)
    newest: dict[str, StoredLine] = field(default_factory=dict)


class FactShelf:
    """The facts of the scopes in use, read anew when a scope has changed. Threads may share it."""

    def __init__(self, database: Database) -> None:
        """Read from a database."""
        self._database = database
        self._kept: dict[Scope, tuple[tuple[int, int], KnownFacts]] = {}
        self._lock = threading.Lock()

    def take(self, scope: Scope) -> KnownFacts:
        """Return the facts of a scope as the database is now."""
        revision = self._state(scope)
        with self._lock:
            kept = self._kept.get(scope)
        if kept is None or kept[0] != revision:
            kept = (revision, self._read(scope))
            with self._lock:
                if len(self._kept) > 1000:
                    self._kept.clear()
                self._kept[scope] = kept
        return kept[1]

    def drop(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._kept.clear()

    def of_others(self, scope: Scope) -> list[StoredLine]:
        """Return what the user told other characters and is still so."""
        rows = self._database.read(
            "SELECT DISTINCT character FROM memories WHERE user = ? AND kind = 'fact' AND character <> ?",
            (scope.user, scope.character),
        )
        scopes = [Scope(scope.user, row["character"]) for row in rows]
        return [fact for other in scopes for fact in self.take(other).newest.values()]

    def _state(self, scope: Scope) -> tuple[int, int]:
        """Return what differs when a fact has come, gone or changed."""
        [row] = self._database.read(
            """
            SELECT count(*) AS num_facts, max(changed) AS newest FROM memories
            WHERE user = ? AND character = ? AND kind = 'fact'
            """,
            (scope.user, scope.character),
        )
        return int(row["num_facts"]), int(row["newest"] or 0)

    def _read(self, scope: Scope) -> KnownFacts:
        rows = self._database.read(
            "SELECT * FROM memories WHERE user = ? AND character = ? AND kind = 'fact'",
            (scope.user, scope.character),
        )
        by_slot: dict[str, list[StoredLine]] = {}
        for line in map(stored_line, rows):
            if not line.is_private:
                by_slot.setdefault(line.slot, []).append(line)
        hidden = private_lines(self._database, scope)
        known = KnownFacts()
        for slot, lines in by_slot.items():
            for line in with_versions(line for line in lines if not any(says_the_same(line, h) for h in hidden)):
                known.by_id[line.memory_id] = line
                known.by_message.setdefault((line.session_id, line.message_id), []).append(line)
                newest = known.newest.get(slot)
                if not line.used_until and (newest is None or line.said_at >= newest.said_at):
                    known.newest[slot] = line
        return known


def settle(found: Sequence[Scored], known: KnownFacts) -> list[Scored]:
    """Return scored lines in which a thing is said once, and what is no longer so is said to be.

    A fact and the passage it was drawn from are one: the passage stays as long as all in it is still so.
    What took a fact's place is added beside it.
    """
    best: dict[int, Scored] = {}
    for scored in found:
        for line in _settled(scored.line, known):
            there = best.get(line.memory_id)
            if there is None or there.score < scored.score:
                best[line.memory_id] = replace(scored, line=line)
    turns = {(s.line.session_id, s.line.message_id): s for s in best.values() if s.line.kind == "turn"}
    kept: list[Scored] = []
    for scored in best.values():
        turn = turns.get((scored.line.session_id, scored.line.message_id))
        if scored.line.kind == "fact" and turn is not None and _says(turn.line, scored.line):
            is_double = not scored.line.is_pinned
        else:
            is_double = False
        if not is_double:
            kept.append(scored)
    raised = [max((scored, *_facts_in(scored.line, best.values())), key=_score) for scored in kept]
    return sorted((replace(by, line=scored.line) for scored, by in zip(kept, raised, strict=True)), key=_order)


def _score(scored: Scored) -> float:
    return scored.score


def _order(scored: Scored) -> tuple[float, bool, str, int, int]:
    """Return what lines are sorted by: best first; between equals nothing that depends on when they were stored."""
    line = scored.line
    return (-round(scored.score, 5), line.kind == "fact", line.session_id, line.position, line.part)


def sources_of(lines: Iterable[StoredLine]) -> frozenset[_Message]:
    """Return the messages that lines came from."""
    return frozenset((line.session_id, line.message_id) for line in lines)


def _settled(line: StoredLine, known: KnownFacts) -> list[StoredLine]:
    if line.kind == "fact":
        fact = known.by_id.get(line.memory_id, line)
        return [fact, *_successor(fact, known)]
    facts = [fact for fact in known.by_message.get((line.session_id, line.message_id), ()) if _says(line, fact)]
    ended = [fact for fact in facts if fact.used_until]
    if line.is_pinned or not ended:
        return [line]
    return [*ended, *(new for fact in ended for new in _successor(fact, known))]


def _successor(fact: StoredLine, known: KnownFacts) -> Collection[StoredLine]:
    newest = known.newest.get(fact.slot)
    return (newest,) if fact.used_until and newest is not None else ()


def private_lines(database: Database, scope: Scope) -> list[StoredLine]:
    """Return the private lines of a scope, newest first."""
    rows = database.read(
        "SELECT * FROM memories WHERE user = ? AND character = ? AND is_private = 1 ORDER BY id DESC",
        (scope.user, scope.character),
    )
    return [stored_line(row) for row in rows]


def says_the_same(line: StoredLine, other: StoredLine) -> bool:
    """Return whether one line tells what the other does: equal words, or a fact and the turn it was drawn from."""
    if line.original == other.original:
        return True
    if line.kind == other.kind or (line.session_id, line.message_id) != (other.session_id, other.message_id):
        return False
    turn, fact = (line, other) if line.kind == "turn" else (other, line)
    return " ".join(fact.original.casefold().split()) in " ".join(turn.original.casefold().split())


def _says(turn: StoredLine, fact: StoredLine) -> bool:
    return " ".join(fact.original.casefold().split()) in " ".join(turn.text.casefold().split())


def _facts_in(line: StoredLine, found: Iterable[Scored]) -> list[Scored]:
    """Return the facts that a turn tells; a fact tells none but itself."""
    return [
        scored
        for scored in found
        if line.kind == "turn"
        and scored.line.kind == "fact"
        and scored.line.message_id == line.message_id
        and scored.line.session_id == line.session_id
        and _says(line, scored.line)
    ]
