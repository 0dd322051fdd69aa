"""Attempts to prove an age: begun by somebody, answered once by their app, finished by the one who began.

An attempt ends in a proof only when the browser that began it shows the code that the app was given for its answer. So
a link that is sent to an adult proves nothing about the sender: the adult's app answers, but the code is the adult's.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from duologue.errors import GuardError
from duologue.serve.door.age import REQUEST_SECONDS, AgeGate, AgeProvider, AgeRequest, subject_of
from duologue.serve.door.book import Book, digest, is_id
from duologue.serve.visitor import Visitor
from duologue.store import Row

_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ23456789"  # none looks like another, and they make no words
_CODE_CHARS = 10  # 28^10, about 48 bits, for ten minutes and five tries
_MAX_TRIES = 5
_MAX_OPEN = 5  # of one subject; the oldest ends

State = Literal["open", "shown", "refused"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to prove an age.

    Attributes:
        request: What the provider is asked.
        state: `open` until the app has answered, then `shown` or `refused`.
        fault: What was wrong with the answer.
        back_to: The character that all this is for; empty for none.
    """

    request: AgeRequest
    state: State
    fault: str
    back_to: str


class AgeRequests:
    """The attempts of a home. Threads may share it.

    Args:
        book: Where they are kept.
        gate: Gets what is proved.
    """

    def __init__(self, book: Book, gate: AgeGate) -> None:
        """Keep the parts."""
        self._book = book
        self._gate = gate

    def begin(self, visitor: Visitor, *, base_url: str, back_to: str) -> Attempt:
        """Begin an attempt.

        Raises:
            GuardError: With reason `forbidden`: there is no provider, or the visitor is nobody a proof could belong to.
        """
        subject = subject_of(visitor)
        if self._gate.provider is None or not subject:
            raise GuardError("an age cannot be proved here", reason="forbidden", where="age")
        request = _request(secrets.token_urlsafe(24), secrets.token_urlsafe(24), base_url)
        now = self._book.clock()
        with self._book.write() as cursor:
            cursor.execute("DELETE FROM age_requests WHERE expires_at <= ?", (now,))
            cursor.execute(
                """DELETE FROM age_requests WHERE subject = :subject AND id NOT IN (
                    SELECT id FROM age_requests WHERE subject = :subject ORDER BY expires_at DESC, id LIMIT :kept)""",
                {"subject": subject, "kept": _MAX_OPEN - 1},
            )
            cursor.execute(
                "INSERT INTO age_requests (id, subject, nonce, state, back_to, expires_at)"
                " VALUES (?, ?, ?, 'open', ?, ?)",
                (request.id, subject, request.nonce, back_to, now + REQUEST_SECONDS),
            )
        return Attempt(request, "open", "", back_to)

    def of(self, visitor: Visitor, request_id: str, *, base_url: str) -> Attempt:
        """Return an attempt of this visitor.

        Raises:
            GuardError: With reason `not_found`, also when it is somebody else's or too old.
        """
        if not is_id(request_id):
            raise _no_attempt()
        rows = self._book.read(
            "SELECT * FROM age_requests WHERE id = ? AND subject = ? AND expires_at > ?",
            (request_id, subject_of(visitor), self._book.clock()),
        )
        if not rows:
            raise _no_attempt()
        return _attempt(rows[0], base_url)

    def answer(self, request_id: str, fields: Mapping[str, str], *, base_url: str) -> str:
        """Take the answer of an app and return the code that finishes the attempt. There is one answer to an attempt.

        Raises:
            GuardError: With reason `not_found` when nobody waits for it, `age_unproven` when it does not prove the age.
        """
        provider: AgeProvider | None = self._gate.provider
        now = self._book.clock()
        if not is_id(request_id) or not self._book.read("SELECT id FROM age_requests WHERE id = ?", (request_id,)):
            raise _no_attempt()  # without a look at the book, a stranger's post would make it
        with self._book.write() as cursor:
            # Before anything is checked: whatever is sent twice, one of them comes too late.
            cursor.execute(
                "UPDATE age_requests SET state = 'refused', fault = 'interrupted'"
                " WHERE id = ? AND state = 'open' AND expires_at > ?",
                (request_id, now),
            )
            if cursor.rowcount != 1 or provider is None:
                raise _no_attempt()
        [row] = self._book.read("SELECT * FROM age_requests WHERE id = ?", (request_id,))
        try:
            if fields.get("state", request_id) != request_id:
                raise GuardError("the state is another request's", reason="age_unproven")
            provider.check(_attempt(row, base_url).request, fields, now=now)
        except GuardError as error:
            with self._book.write() as cursor:
                cursor.execute("UPDATE age_requests SET fault = ? WHERE id = ?", (error.found[:300], request_id))
            raise
        code = "".join(secrets.choice(_CODE_LETTERS) for _ in range(_CODE_CHARS))
        with self._book.write() as cursor:
            cursor.execute(
                "UPDATE age_requests SET state = 'shown', fault = '', code_hash = ? WHERE id = ?",
                (digest(code), request_id),
            )
        return code

    def finish(self, visitor: Visitor, code: str, *, request_id: str = "") -> str | None:
        """Keep the proof when a visitor shows the code of an attempt they began; return what it was for, None if not.

        Args:
            visitor: Who shows it.
            code: What the app was given.
            request_id: The attempt; by default any of the visitor's.
        """
        subject = subject_of(visitor)
        plain = "".join(char for char in code.upper() if char in _CODE_LETTERS)[: 2 * _CODE_CHARS]
        if not subject:
            return None
        with self._book.write() as cursor:
            rows = cursor.execute(
                "SELECT id, code_hash, num_tries, back_to FROM age_requests"
                " WHERE subject = ? AND state = 'shown' AND expires_at > ? AND (? = '' OR id = ?)",
                (subject, self._book.clock(), request_id, request_id),
            ).fetchall()
            found = next((row for row in rows if hmac.compare_digest(row["code_hash"], digest(plain))), None)
            if found is None:
                cursor.execute("UPDATE age_requests SET num_tries = num_tries + 1 WHERE subject = ?", (subject,))
                cursor.execute("DELETE FROM age_requests WHERE subject = ? AND num_tries >= ?", (subject, _MAX_TRIES))
                return None
            cursor.execute("DELETE FROM age_requests WHERE id = ?", (found["id"],))
        self._gate.prove(subject)
        return str(found["back_to"])


def _attempt(row: Row, base_url: str) -> Attempt:
    return Attempt(_request(row["id"], row["nonce"], base_url), row["state"], row["fault"], row["back_to"])


def _request(request_id: str, nonce: str, base_url: str) -> AgeRequest:
    return AgeRequest(request_id, nonce, f"{base_url}/age/answer/{request_id}")


def _no_attempt() -> GuardError:
    return GuardError("there is no such attempt, or it is over", reason="not_found", where="age")
