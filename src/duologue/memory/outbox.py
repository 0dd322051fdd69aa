"""What must still reach the hosted memory: one row per session that changed, kept beside the memories themselves.

A row says that a session changed, not what was said: when it is sent, the session is read from our own memory. So
nothing is stored twice, nothing that is forgotten meanwhile is sent, and a hundred turns without a network are one row.
"""

# ruff: noqa: S608  (the statements are put together from fixed texts)
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from duologue.memory.records import Scope
from duologue.memory.transcript import document_id
from duologue.store import Cursor, Database, Dialect, scripts

_OWNER = "user = ? AND character = ? AND session_id = ?"
_DOCUMENT = f"service = ? AND {_OWNER}"
LEASE_SECONDS = 60.0  # as long as one delivery can take; afterwards another process may take the row
_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS outbox (
        id {id},
        user TEXT NOT NULL,
        character TEXT NOT NULL,
        session_id TEXT NOT NULL,
        version {integer} NOT NULL DEFAULT 1,
        doom_version {integer} NOT NULL DEFAULT 0,
        num_attempts {integer} NOT NULL DEFAULT 0,
        is_aside {integer} NOT NULL DEFAULT 0,
        fault TEXT NOT NULL DEFAULT '',
        leased_until {real} NOT NULL DEFAULT 0,
        UNIQUE (user, character, session_id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS hosted_documents (
        id {id},
        service TEXT NOT NULL,
        user TEXT NOT NULL,
        character TEXT NOT NULL,
        session_id TEXT NOT NULL,
        part {integer} NOT NULL,
        generation {integer} NOT NULL DEFAULT 1,
        document_id TEXT NOT NULL,
        sha256 TEXT NOT NULL DEFAULT '',
        num_chars {integer} NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'sent',
        UNIQUE (service, user, character, session_id, part)
    )
    """,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A session that changed since it was sent.

    Attributes:
        id: Its row.
        scope: Whose session it is.
        session_id: Which.
        version: Counts the changes; one that comes while the session is being sent is not lost.
        num_attempts: Failures that were this session's own.
    """

    id: int
    scope: Scope
    session_id: str
    version: int
    num_attempts: int


@dataclass(frozen=True, slots=True)
class Sent:
    """A document the service has, or may have.

    Attributes:
        part: Which part of the session, counted from 1.
        generation: How many documents of this part there have been.
        document_id: Its name there.
        sha256: Of the content that was sent; empty while it is not known to have arrived.
        num_chars: Length of that content.
        state: `sent`; `doomed` when it must be deleted; `erased` when it has been.
    """

    part: int
    generation: int
    document_id: str
    sha256: str
    num_chars: int
    state: Literal["sent", "doomed", "erased"]


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """What lies in an outbox.

    Attributes:
        num_waiting: Sessions that will be sent.
        num_aside: Sessions that the service refused too often; they wait for a change or for a person.
        num_doomed: Documents that are still to be deleted there.
    """

    num_waiting: int
    num_aside: int
    num_doomed: int


class Outbox:
    """The outbox in the database of a memory. Threads and processes may share it.

    Args:
        database: Where the memories are.
        service: Whom it goes to; documents that another service has are not touched.
        clock: Seconds since 1970; a row that another process has taken is free again after a minute.
    """

    def __init__(self, database: Database, *, service: str, clock: Callable[[], float] = time.time) -> None:
        """Make the tables when they are missing."""
        self._database = database
        self._service = service
        self._clock = clock
        dialect: Dialect = database.dialect
        with database.write() as cursor:
            for script in scripts(_TABLES, dialect):
                cursor.execute(script)

    def note(self, scope: Scope, session_id: str) -> None:
        """Store that a session changed; one that had been put aside gets a new chance."""
        with self._database.write() as cursor:
            _note(cursor, scope, session_id)

    def doom(self, scope: Scope, session_ids: Sequence[str]) -> int:
        """Store that what was sent of some sessions must be deleted; return the number of documents."""
        num_doomed = 0
        with self._database.write() as cursor:
            for session_id in session_ids:
                owner = (scope.user, scope.character, session_id)
                cursor.execute(
                    f"UPDATE hosted_documents SET state = 'doomed' WHERE {_DOCUMENT} AND state = 'sent'",
                    (self._service, *owner),
                )
                num_here = max(0, cursor.rowcount)
                num_doomed += num_here
                waiting = cursor.execute(f"SELECT count(*) AS number FROM outbox WHERE {_OWNER}", owner).fetchone()
                if not num_here and not waiting["number"]:
                    continue  # the service never heard of it, and need not now
                # What is being sent at this moment was read before the deletion: it is doomed when it arrives.
                _note(cursor, scope, session_id)
                cursor.execute(f"UPDATE outbox SET doom_version = version WHERE {_OWNER}", owner)
        return num_doomed

    def doom_document(self, entry: Entry, sent: Sent) -> None:
        """Store that one document must be deleted."""
        with self._database.write() as cursor:
            cursor.execute(
                f"UPDATE hosted_documents SET state = 'doomed' WHERE {_DOCUMENT} AND document_id = ?",
                (self._service, entry.scope.user, entry.scope.character, entry.session_id, sent.document_id),
            )

    def take(self) -> Entry | None:
        """Return the row that comes next and keep other processes from it for a minute, or None."""
        now = self._clock()
        with self._database.write() as cursor:
            # A lease that lasts longer than any can was written before the clock was set back.
            row = cursor.execute(
                "SELECT * FROM outbox WHERE is_aside = 0 AND (leased_until < :now OR leased_until > :latest)"
                " ORDER BY num_attempts, id LIMIT 1",
                {"now": now, "latest": now + 2 * LEASE_SECONDS},
            ).fetchone()
            if row is None:
                return None
            cursor.execute("UPDATE outbox SET leased_until = ? WHERE id = ?", (now + LEASE_SECONDS, row["id"]))
        scope = Scope(row["user"], row["character"])
        return Entry(row["id"], scope, row["session_id"], row["version"], row["num_attempts"])

    def done(self, entry: Entry) -> None:
        """Remove a row, unless its session has changed again meanwhile."""
        with self._database.write() as cursor:
            cursor.execute("DELETE FROM outbox WHERE id = ? AND version = ?", (entry.id, entry.version))
            cursor.execute("UPDATE outbox SET leased_until = 0 WHERE id = ?", (entry.id,))

    def give_back(self, entry: Entry, *, fault: str, is_own_fault: bool, max_attempts: int) -> bool:
        """Put a row back; return whether it has failed too often by its own fault and now lies aside."""
        num_attempts = entry.num_attempts + (1 if is_own_fault else 0)
        is_aside = num_attempts >= max_attempts
        with self._database.write() as cursor:
            cursor.execute(
                "UPDATE outbox SET num_attempts = ?, is_aside = ?, fault = ?, leased_until = 0 WHERE id = ?",
                (num_attempts, int(is_aside), fault, entry.id),
            )
        return is_aside

    def retry_aside(self) -> int:
        """Give what lies aside a new chance; return how much there was."""
        with self._database.write() as cursor:
            cursor.execute("UPDATE outbox SET is_aside = 0, num_attempts = 0 WHERE is_aside = 1")
            return max(0, cursor.rowcount)

    def counts(self) -> OutboxCounts:
        """Return what lies in the outbox."""
        [row] = self._database.read(
            "SELECT (SELECT count(*) FROM outbox WHERE is_aside = 0) AS num_waiting,"
            " (SELECT count(*) FROM outbox WHERE is_aside = 1) AS num_aside,"
            " (SELECT count(*) FROM hosted_documents WHERE state = 'doomed' AND service = ?) AS num_doomed",
            (self._service,),
        )
        return OutboxCounts(row["num_waiting"], row["num_aside"], row["num_doomed"])

    def documents(self, scope: Scope, session_id: str) -> tuple[Sent, ...]:
        """Return what the service has, or may have, of a session, part by part."""
        rows = self._database.read(
            f"SELECT * FROM hosted_documents WHERE {_DOCUMENT} ORDER BY part",
            (self._service, scope.user, scope.character, session_id),
        )
        return tuple(
            Sent(row["part"], row["generation"], row["document_id"], row["sha256"], row["num_chars"], row["state"])
            for row in rows
        )

    def sent_sessions(self) -> tuple[tuple[Scope, str], ...]:
        """Return the sessions of which the service has something and that have not been noted as changed."""
        rows = self._database.read(
            "SELECT DISTINCT user, character, session_id FROM hosted_documents AS sent"
            " WHERE state = 'sent' AND service = ?"
            " AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.user = sent.user"
            " AND outbox.character = sent.character AND outbox.session_id = sent.session_id)",
            (self._service,),
        )
        return tuple((Scope(row["user"], row["character"]), row["session_id"]) for row in rows)

    def doomed_sessions(self, scope: Scope) -> frozenset[str]:
        """Return the sessions of which the service still has something that must be deleted."""
        rows = self._database.read(
            "SELECT DISTINCT session_id FROM hosted_documents WHERE user = ? AND character = ? AND state = 'doomed'"
            " AND service = ?",
            (scope.user, scope.character, self._service),
        )
        return frozenset(row["session_id"] for row in rows)

    def elsewhere(self) -> dict[str, int]:
        """Return how many documents services have that are not configured any more."""
        rows = self._database.read(
            "SELECT service, count(*) AS num_documents FROM hosted_documents WHERE state <> 'erased' AND service <> ?"
            " GROUP BY service ORDER BY service",
            (self._service,),
        )
        return {row["service"]: row["num_documents"] for row in rows}

    def announce(self, entry: Entry, part: int) -> Sent:
        """Return the document of a part, made when there is none, before it is sent for the first time.

        A document whose sending was cut off may have arrived; so it is written down first.
        """
        for sent in self.documents(entry.scope, entry.session_id):
            if sent.part == part and sent.state == "sent":
                return sent
        with self._database.write() as cursor:
            owner = (self._service, entry.scope.user, entry.scope.character, entry.session_id, part)
            cursor.execute(
                "INSERT INTO hosted_documents (service, user, character, session_id, part, generation, document_id)"
                " VALUES (?, ?, ?, ?, ?, 0, '') ON CONFLICT (service, user, character, session_id, part) DO NOTHING",
                owner,
            )
            row = cursor.execute(
                f"SELECT generation FROM hosted_documents WHERE {_DOCUMENT} AND part = ?", owner
            ).fetchone()
            generation = row["generation"] + 1
            name = document_id(entry.session_id, part=part, generation=generation)
            cursor.execute(
                "UPDATE hosted_documents SET generation = ?, document_id = ?, sha256 = '', num_chars = 0,"
                f" state = 'sent' WHERE {_DOCUMENT} AND part = ?",
                (generation, name, *owner),
            )
        return Sent(part, generation, name, "", 0, "sent")

    def arrived(self, entry: Entry, sent: Sent, *, sha256: str, num_chars: int) -> None:
        """Store what a document now holds there, and whether it must be deleted at once."""
        owner = (self._service, entry.scope.user, entry.scope.character, entry.session_id)
        with self._database.write() as cursor:
            cursor.execute(
                f"UPDATE hosted_documents SET sha256 = ?, num_chars = ? WHERE {_DOCUMENT} AND document_id = ?",
                (sha256, num_chars, *owner, sent.document_id),
            )
            cursor.execute(
                f"UPDATE hosted_documents SET state = 'doomed' WHERE {_DOCUMENT} AND document_id = ?"
                " AND EXISTS (SELECT 1 FROM outbox WHERE outbox.id = ? AND outbox.doom_version > ?)",
                (*owner, sent.document_id, entry.id, entry.version),
            )

    def erased(self, scope: Scope, session_id: str, documents: Sequence[str]) -> None:
        """Store that documents are gone there."""
        with self._database.write() as cursor:
            for name in documents:
                cursor.execute(
                    f"UPDATE hosted_documents SET state = 'erased', sha256 = '', num_chars = 0 WHERE {_DOCUMENT}"
                    " AND document_id = ?",
                    (self._service, scope.user, scope.character, session_id, name),
                )


def _note(cursor: Cursor, scope: Scope, session_id: str) -> None:
    cursor.execute(
        "INSERT INTO outbox (user, character, session_id) VALUES (?, ?, ?)"
        " ON CONFLICT (user, character, session_id) DO UPDATE SET version = outbox.version + 1,"
        " is_aside = 0, num_attempts = 0",
        (scope.user, scope.character, session_id),
    )
