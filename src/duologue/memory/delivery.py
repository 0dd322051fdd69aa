"""The outbox to the service: in the background, session by session, with pauses that grow and nothing sent twice."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from duologue.errors import DuologueError
from duologue.memory.outbox import LEASE_SECONDS, Entry, Outbox, Sent
from duologue.memory.records import Scope
from duologue.memory.service import FINAL, OF_THE_SERVICE, Document, HostedError, SecondReader
from duologue.memory.transcript import Part, checksum, namespace_of, read_session
from duologue.store import Database

MAX_ATTEMPTS = 8
_SETTLE_SECONDS = 2.0  # a turn notes its session twice, and a reply may be drawn again at once
_BATCH = 20
_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 900.0
_UNPAID_PAUSE_SECONDS = 3600.0
_LONGEST_RETRY_AFTER_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a pass over the outbox did.

    Attributes:
        num_sent: Sessions that are now the same there as here.
        num_aside: Sessions that were put aside.
        fault: The last failure, or None.
        pause_seconds: How long to wait before the next pass; None waits for news.
    """

    num_sent: int
    num_aside: int
    fault: HostedError | None
    pause_seconds: float | None


class Delivery:
    """Brings what the outbox holds to a service.

    Args:
        outbox: What to bring.
        database: Our own memory, which is sent.
        reader: The service.
        report: Called with each pass that sent, failed or put something aside.
        seed: Of the pauses' jitter, so that many replicas do not come back in the same second.
    """

    def __init__(
        self,
        outbox: Outbox,
        database: Database,
        *,
        reader: SecondReader,
        report: Callable[[Delivered], None] = lambda _: None,
        seed: int | None = None,
    ) -> None:
        """Start nothing."""
        self._outbox = outbox
        self._database = database
        self._reader = reader
        self._report = report
        self._random = random.Random(seed)
        self._num_pauses = 0
        self._is_stopped = False
        self._news = threading.Event()
        self._closing = threading.Event()
        self._at_work = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to work in the background."""
        assert self._thread is None
        self._thread = threading.Thread(target=self._run, name="hosted-memory", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that the outbox has something new."""
        self._news.set()

    def close(self, *, seconds: float = 5.0) -> None:
        """End the work; what has not been sent stays in the outbox."""
        self._closing.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def work(self) -> Delivered:
        """Bring what is waiting, until it is empty, the batch is full, or the service fails."""
        with self._at_work:
            num_sent = num_aside = 0
            fault: HostedError | None = None
            pause: float | None = None
            for _ in range(_BATCH):
                entry = None if self._is_stopped or self._closing.is_set() else self._outbox.take()
                if entry is None:
                    break
                try:
                    self._bring(entry)
                    self._outbox.done(entry)
                except HostedError as error:
                    fault = error
                    num_aside += self._put_back(entry, error)
                    if error.fault in OF_THE_SERVICE | FINAL:
                        break
                else:
                    num_sent += 1
                    self._num_pauses = 0
            else:
                pause = 0.0  # the batch is full: go on at once
            if fault is not None:
                pause = self._pause(fault)
            delivered = Delivered(num_sent, num_aside, fault, pause)
        if num_sent or fault is not None:
            self._report(delivered)
        return delivered

    def recheck(self) -> int:
        """Compare what was sent with our own memory, which is the record; return the sessions that differ.

        They differ after a crash between a change here and its note. What was sent of them is deleted and sent anew,
        because the change may have been a deletion.
        """
        num_different = 0
        for scope, session_id in self._outbox.sent_sessions():
            parts = read_session(self._database, scope, session_id)
            sent = [document for document in self._outbox.documents(scope, session_id) if document.state == "sent"]
            if any(not _is_prefix(document, _content(parts, document.part)) for document in sent):
                self._outbox.doom(scope, [session_id])
            elif len(sent) < len(parts) or any(not _is_same(one, _content(parts, one.part)) for one in sent):
                self._outbox.note(scope, session_id)
            else:
                continue
            num_different += 1
        return num_different

    def erase_doomed(self, scope: Scope, session_id: str) -> int:
        """Delete there what must be deleted of a session; return the number of documents.

        Raises:
            HostedError: The service failed, or did not delete all of them; they stay doomed.
        """
        known = self._outbox.documents(scope, session_id)
        names = [sent.document_id for sent in known if sent.state == "doomed"]
        if names:
            answer = self._reader.delete_documents(namespace_of(scope), names)
            if answer.errors:
                raise HostedError(
                    f"it did not delete {len(answer.errors)} documents ({answer.errors[0]})",
                    fault="rejected",
                    where=self._reader.name,
                )
            self._outbox.erased(scope, session_id, names)
        return len(names)

    def _run(self) -> None:
        is_checked = False
        while not self._closing.is_set():
            self._news.clear()
            longest: float | None = None  # to wait for news
            try:
                if not is_checked:
                    self._reader.prepare()
                    self.recheck()
                    is_checked = True
                pause = self.work().pause_seconds
                if pause is None and not self._is_stopped and self._outbox.counts().num_waiting:
                    longest = LEASE_SECONDS  # another process has the rest; should it end, this one goes on
            except DuologueError as error:
                # Our own database failed: the chat says that itself. Nothing is lost, the outbox keeps its rows.
                text = f"what is to be sent cannot be read here ({error.found})"
                self._report(Delivered(0, 0, HostedError(text, fault="broken", where=error.where), None))
                pause = self._grown_pause()
            if pause is None:
                self._news.wait(longest)  # what was noted since the last look has set it already
            else:
                self._closing.wait(pause)
            self._closing.wait(_SETTLE_SECONDS)

    def _bring(self, entry: Entry) -> None:
        """Make the service's copy of a session equal to ours."""
        namespace = namespace_of(entry.scope)
        parts = read_session(self._database, entry.scope, entry.session_id)
        known = self._outbox.documents(entry.scope, entry.session_id)
        for sent in known:
            if sent.state == "sent" and sent.part > len(parts):
                self._outbox.doom_document(entry, sent)
        self.erase_doomed(entry.scope, entry.session_id)
        for number, part in enumerate(parts, start=1):
            sent = self._outbox.announce(entry, number)
            if _is_same(sent, part.content):
                continue
            document = Document(sent.document_id, part.content, part.date, entry.session_id)
            self._reader.put(namespace, document, is_grown=_is_prefix(sent, part.content))
            self._outbox.arrived(entry, sent, sha256=checksum(part.content), num_chars=len(part.content))

    def _put_back(self, entry: Entry, error: HostedError) -> int:
        if self._closing.is_set():
            return 0  # its lease ends by itself; the database may be closed by now
        is_own_fault = error.fault in {"rejected", "missing", "conflict", "broken", "garbled"}
        is_aside = self._outbox.give_back(
            entry, fault=error.fault, is_own_fault=is_own_fault, max_attempts=MAX_ATTEMPTS
        )
        return int(is_aside)

    def _pause(self, error: HostedError) -> float | None:
        if error.fault in FINAL:
            self._is_stopped = True
            return None
        if error.fault == "unpaid":
            return _UNPAID_PAUSE_SECONDS
        asked = min(_LONGEST_RETRY_AFTER_SECONDS, error.retry_after_seconds)
        return max(asked, self._grown_pause()) * (1 + 0.25 * self._random.random())

    def _grown_pause(self) -> float:
        grown = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0**self._num_pauses)
        self._num_pauses += 1
        return grown


def _content(parts: tuple[Part, ...], number: int) -> str:
    return parts[number - 1].content if number <= len(parts) else ""


def _is_same(sent: Sent, content: str) -> bool:
    return sent.num_chars == len(content) and sent.sha256 == checksum(content)


def _is_prefix(sent: Sent, content: str) -> bool:
    """Whether nothing of what was sent has changed; also when nothing is known to have arrived."""
    return not sent.sha256 or (sent.num_chars <= len(content) and sent.sha256 == checksum(content[: sent.num_chars]))
