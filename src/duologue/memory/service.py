"""What a hosted memory must be able to do, what it answers, and how it fails."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from duologue.errors import DataError

Fault: TypeAlias = Literal[
    "unreachable",  # no connection, or it broke
    "slow",  # no answer in time
    "busy",  # 429: too many requests
    "broken",  # 5xx
    "garbled",  # an answer that is not the service's
    "refused",  # 401, 403: the key
    "unpaid",  # 402: no credit left
    "unsupported",  # the address answers, but does not know the interface
    "rejected",  # 400, 413, 422: this document
    "missing",  # 404: there is no such thing
    "conflict",  # 409: this document, now
]
OF_THE_SERVICE: frozenset[Fault] = frozenset({"unreachable", "slow", "busy", "broken", "garbled", "unpaid"})
"""Faults that the next document would meet as well."""
FINAL: frozenset[Fault] = frozenset({"refused", "unsupported"})
"""Faults that last until somebody changes the configuration."""


class HostedError(DataError):
    """A hosted memory did not do what it was asked.

    Args:
        found: What happened, for people.
        fault: Which kind of failure it is.
        retry_after_seconds: How long the service asks to be left alone; 0 when it does not say.
        where: The service and its address.
        action: What the person can do.
    """

    def __init__(
        self, found: str, *, fault: Fault, retry_after_seconds: float = 0.0, where: str = "", action: str = ""
    ) -> None:
        """Store the kind of failure beside what people read."""
        super().__init__(found, where=where, action=action)
        self.fault = fault
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class HostedLine:
    """Something a hosted memory found.

    Attributes:
        id: Its name there; empty when the answer had none.
        text: What it says.
        similarity: 0 to 1.
        is_passage: Taken from what was said, rather than concluded from it.
        is_guess: Inferred rather than stated.
        said_at: ISO-8601 time; empty when unknown.
        session_id: The session it came from; empty when unknown.
        document_id: The document it came from; empty when unknown.
    """

    id: str
    text: str
    similarity: float
    is_passage: bool = False
    is_guess: bool = False
    said_at: str = ""
    session_id: str = ""
    document_id: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A session, or a part of a long one, as it is sent.

    Attributes:
        id: Ours, and the same at every attempt, so that a repeat is no second document.
        content: One line per message.
        date: When the session began, ISO-8601.
        session_id: Comes back with everything that is found in it.
    """

    id: str
    content: str
    date: str
    session_id: str


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a service answered to a deletion.

    Attributes:
        num_deleted: Things it says it has deleted.
        errors: What it could not delete, as it said it; things it did not know are not among them.
    """

    num_deleted: int
    errors: tuple[str, ...] = ()


class SecondReader(Protocol):
    """A hosted memory. Every method raises `HostedError` when the service fails, and nothing else."""

    @property
    def name(self) -> str:
        """The service and its address, for messages."""
        ...

    def prepare(self) -> None:
        """Load what the first call needs, so that no question waits for it."""
        ...

    def search(
        self, namespace: str, question: str, *, limit: int, seconds: float, exclude_session: str = ""
    ) -> tuple[HostedLine, ...]:
        """Return what bears on a question, best first; asked once, never longer than `seconds` after it connected."""
        ...

    def put(self, namespace: str, document: Document, *, is_grown: bool) -> None:
        """Make what is stored under the document's id equal to it.

        Args:
            namespace: Whose memory it is.
            document: All of its content, also what is there already.
            is_grown: Whether it is new, or only longer than before; then the service need not read it all again.
        """
        ...

    def delete_documents(self, namespace: str, ids: Sequence[str]) -> Deletion:
        """Delete documents and what was concluded from them."""
        ...

    def forget_lines(self, namespace: str, ids: Sequence[str]) -> Deletion:
        """Take what was concluded out of every later search."""
        ...

    def list_lines(self, namespace: str) -> Iterator[dict[str, Any]]:
        """Yield everything that is stored: documents with their content, and what was concluded from them."""
        ...

    def close(self) -> None:
        """End every connection; calls that are on their way fail."""
        ...
