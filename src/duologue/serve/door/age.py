"""Who may talk to a character that is not for everyone.

That somebody is an adult is known from one of two things, and from nothing a request says:

- the operator's own attestation, for requests made on this machine alone;
- the proof of a provider, for everything else. A statement of one's own is no proof (Ofcom: not highly effective).

Both are rows in the book, signed with the home's secret, and end after a time. A proof belongs to an account. Where
many share one key there are no accounts; there it belongs to the login of one browser, so that the key is no pass.
"""

import hashlib
import hmac
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from duologue.config import Home
from duologue.errors import GuardError
from duologue.guard import Rating
from duologue.serve.door.book import Book
from duologue.serve.visitor import LOCAL_ACCOUNT, Visitor

ATTESTATION_DAYS = 365
REQUEST_SECONDS = 600.0
_DAY_SECONDS = 86_400.0
_KNOWN_SECONDS = 1.0  # a reply is checked with every token; so long is what was found taken for true
_MAX_KNOWN = 10_000

Kind = Literal["attestation", "openid4vp"]


@dataclass(frozen=True, slots=True)
class AgeRequest:
    """What a provider is asked.

    Attributes:
        id: Names the request; guessing one is hopeless.
        nonce: Must be in what proves it, so that nothing can be shown twice.
        answer_url: Where the answer goes.
    """

    id: str
    nonce: str
    answer_url: str


class AgeProvider(Protocol):
    """Somebody who can tell that a person is an adult, and nothing else."""

    def link(self, request: AgeRequest) -> str:
        """Return the address that the person opens to begin."""
        ...

    def check(self, request: AgeRequest, fields: Mapping[str, str], *, now: float) -> None:
        """Refuse an answer that does not prove that the person is an adult.

        Raises:
            GuardError: With reason `age_unproven` and what is wrong with it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Proof:
    """Why somebody is taken for an adult.

    Attributes:
        kind: How it was shown.
        made_at: Seconds since 1970.
        expires_at: Seconds since 1970.
    """

    kind: Kind
    made_at: float
    expires_at: float


class AgeGate:
    """Lets adults through to characters rated `mature` or `adult`. Threads may share it.

    Attributes:
        provider: Who is asked about visitors from elsewhere; None for nobody, so that none of them comes through.
    """

    def __init__(self, book: Book, *, provider: AgeProvider | None, valid_days: int) -> None:
        """Put the parts together; `open_age_gate` is the way in."""
        self.provider = provider
        self._book = book
        self._valid_days = valid_days
        self._lock = threading.Lock()
        self._known: dict[tuple[str, bool], tuple[float, bool]] = {}

    def require(self, visitor: Visitor, rating: Rating) -> None:
        """Refuse a visitor who has not shown to be an adult.

        Raises:
            GuardError: With reason `age_required`.
        """
        if not self.allows(visitor, rating):
            raise GuardError(
                "this character is for adults",
                reason="age_required",
                where="character",
                action="Show your age on the page, at /age.",
            )

    def allows(self, visitor: Visitor, rating: Rating) -> bool:
        """Return whether a visitor may see and hear what has a rating."""
        if rating == "general":
            return True
        key = (subject_of(visitor), self.may_attest(visitor))
        now = self._book.clock()
        with self._lock:
            looked_at, is_adult = self._known.get(key, (now - 2 * _KNOWN_SECONDS, False))
        if 0 <= now - looked_at < _KNOWN_SECONDS:
            return is_adult
        is_adult = self.proof(visitor) is not None
        with self._lock:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[key] = (now, is_adult)
        return is_adult

    def proof(self, visitor: Visitor) -> Proof | None:
        """Return why a visitor is taken for an adult; None when they are not."""
        subject = subject_of(visitor)
        found = self._stored(subject) if subject else None
        if found is not None and (found.kind != "attestation" or self.may_attest(visitor)):
            return found
        # The one key, used on the operator's own machine, is the operator's.
        if visitor.way == "shared_key" and self.may_attest(visitor):
            return self._stored(LOCAL_ACCOUNT)
        return None

    def may_attest(self, visitor: Visitor) -> bool:
        """Return whether a visitor's own word is enough: the operator's, on the operator's machine."""
        return visitor.is_local and visitor.role == "admin"

    def attest(self, visitor: Visitor) -> None:
        """Keep the operator's attestation.

        Raises:
            GuardError: With reason `forbidden`: it is somebody else, or another machine.
        """
        if not self.may_attest(visitor):
            raise GuardError(
                "a statement of one's own counts for the operator alone, on the machine that runs the server",
                reason="forbidden",
                where="age",
            )
        subject = LOCAL_ACCOUNT if visitor.way == "shared_key" else subject_of(visitor)
        self._keep(subject, "attestation", ATTESTATION_DAYS)

    def prove(self, subject: str) -> None:
        """Keep that a provider's answer has proved somebody an adult; `age_requests` calls it, after every check."""
        self._keep(subject, "openid4vp", self._valid_days)

    def revoke(self, visitor: Visitor) -> None:
        """Forget a visitor's proof, and the operator's attestation where it was theirs."""
        self.forget(subject_of(visitor))
        if self.may_attest(visitor) and visitor.way in ("local", "shared_key"):
            self.forget(LOCAL_ACCOUNT)

    def forget(self, subject: str) -> None:
        """Forget the proof of a subject; what streams for it ends within a second."""
        if not self._book.read("SELECT subject FROM age_proofs WHERE subject = ?", (subject,)):
            return
        with self._book.write() as cursor:
            cursor.execute("DELETE FROM age_proofs WHERE subject = ?", (subject,))
        with self._lock:
            self._known.clear()

    def _keep(self, subject: str, kind: Kind, num_days: int) -> None:
        assert subject, "a proof belongs to somebody"
        now = self._book.clock()
        proof = Proof(kind, now, now + num_days * _DAY_SECONDS)
        values = {
            "subject": subject,
            "kind": kind,
            "made_at": proof.made_at,
            "expires_at": proof.expires_at,
            "signature": self._signature(subject, proof),
        }
        with self._book.write() as cursor:
            cursor.execute(
                "INSERT INTO age_proofs (subject, kind, made_at, expires_at, signature)"
                " VALUES (:subject, :kind, :made_at, :expires_at, :signature)"
                " ON CONFLICT (subject) DO UPDATE SET kind = :kind, made_at = :made_at, expires_at = :expires_at,"
                " signature = :signature",
                values,
            )
        with self._lock:
            self._known.clear()

    def _stored(self, subject: str) -> Proof | None:
        rows = self._book.read("SELECT * FROM age_proofs WHERE subject = ?", (subject,))
        if not rows:
            return None
        row = rows[0]
        proof = Proof(row["kind"], row["made_at"], row["expires_at"])
        if not hmac.compare_digest(row["signature"], self._signature(subject, proof)):
            return None  # written by somebody else, or copied from another subject
        return proof if proof.made_at <= self._book.clock() + 1 and self._book.clock() < proof.expires_at else None

    def _signature(self, subject: str, proof: Proof) -> str:
        text = f"proof of age\n{subject}\n{proof.kind}\n{proof.made_at!r}\n{proof.expires_at!r}"
        return hmac.new(self._book.secret(), text.encode(), hashlib.sha256).hexdigest()


def subject_of(visitor: Visitor) -> str:
    """Return whom a proof of this visitor belongs to; empty for a program with the shared key, who is nobody."""
    if visitor.way in ("session", "api_key"):
        return f"account:{visitor.account}" if visitor.account else ""
    if visitor.way == "shared_key":
        return f"login:{visitor.login_id}" if visitor.login_id else ""
    return LOCAL_ACCOUNT


def open_age_gate(book: Book, home: Home) -> AgeGate:
    """Return the gate that a home's `[age]` describes.

    Raises:
        ConfigError: The provider cannot be used as it is set.
    """
    provider: AgeProvider | None = None
    if home.age.provider == "openid4vp":
        from duologue.serve.door.openid4vp import Wallets  # certificates are read only where they are needed

        provider = Wallets.trusting(home.age.trusted_issuers)
    return AgeGate(book, provider=provider, valid_days=home.age.valid_days)
