"""A memory on another server beside ours: ours is the record, the other is a second reader that a chat never waits for.

`HostedMemory` is what a chat sees. What a service must be able to do is in `memory/service.py`; what has to reach it
lies in `memory/outbox.py` and is brought there by `memory/delivery.py`.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from duologue.errors import DuologueError
from duologue.memory.breaker import Breaker
from duologue.memory.delivery import Delivered, Delivery
from duologue.memory.fusion import plain
from duologue.memory.outbox import Outbox, OutboxCounts
from duologue.memory.records import Scope, StoredLine
from duologue.memory.service import FINAL, HostedError, HostedLine, SecondReader
from duologue.memory.store import MemoryStore
from duologue.memory.transcript import lines_in, namespace_of, sessions_of
from duologue.messages import RecalledLine, Role
from duologue.store import Database

RECALL_SECONDS = 1.5  # published p95 of such services is 2.1 s; a person notices two seconds of silence
FORGET_SECONDS = 10.0  # all searches of one forgetting together
_MAX_SEARCHED_TEXTS = 10
_MAX_CALLS = 2  # searches on their way at a time; more would pile up behind a server that drips
_MAX_TEXT_CHARS = 400
_UNPAID_PAUSE_SECONDS = 3600.0
_FOREVER_SECONDS = 10.0**9
_MAX_NOTICES = 20
_QUIET_SECONDS = 600.0


class RecallSource(Protocol):
    """A reader beside our own memory, as a chat sees it: it never raises and never takes longer than it may."""

    def recall(self, question: str, *, scope: Scope, limit: int, exclude_session: str = "") -> tuple[RecalledLine, ...]:
        """Return what bears on a question, best first; nothing when the reader fails or takes too long."""
        ...

    def note_turn(self, session_id: str, *, scope: Scope) -> None:
        """Store that a session has changed, so that the reader will hear of it."""
        ...

    def forget(self, *, scope: Scope, session_ids: Collection[str], texts: Sequence[str] = ()) -> "HostedReceipt":
        """Delete the reader's copy of what has been deleted here."""
        ...

    def notices(self) -> tuple[str, ...]:
        """Return what a person should know, each thing once."""
        ...

    def close(self) -> None:
        """End the work in the background."""
        ...


@dataclass(frozen=True, slots=True)
class HostedReceipt:
    """What became of the copy on another server, without anything of its content.

    Attributes:
        state: `none` when there was no copy, `done` when the service deleted it and no longer finds it, `queued` when
            it cannot be reached and will be asked again, `partly` when it still finds something, or did not say.
        num_documents: Documents it says it deleted.
        num_lines: Conclusions it was made to forget.
        num_found: Texts it still found afterwards.
        sentence: The same, for people.
    """

    state: Literal["none", "done", "queued", "partly"]
    num_documents: int
    num_lines: int
    num_found: int
    sentence: str


class HostedMemory:
    """A second reader, made harmless.

    Args:
        reader: The service.
        database: Our own memory; what is sent is read from it.
        recall_seconds: How long a chat waits for it.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        reader: SecondReader,
        database: Database,
        *,
        recall_seconds: float = RECALL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the outbox; `start` begins to send."""
        self._reader = reader
        self._database = database
        self._recall_seconds = recall_seconds
        self._clock = clock
        self.outbox = Outbox(database, service=reader.name)
        self.delivery = Delivery(self.outbox, database, reader=reader, report=self._delivered)
        self._breaker = Breaker(clock=clock)
        self._calls = threading.BoundedSemaphore(_MAX_CALLS)
        self._lock = threading.Lock()
        self._notices: list[str] = []
        self._troubles: set[str] = set()  # what is wrong now
        self._said: dict[str, float] = {}  # when it was said last

    def start(self) -> None:
        """Send in the background what waits in the outbox, now and as it comes."""
        for service, num_documents in self.outbox.elsewhere().items():
            self._say(
                f"{service} has {num_documents} documents of earlier chats. It is no longer configured, so forgetting"
                " here does not reach them."
            )
        self.delivery.start()

    def recall(self, question: str, *, scope: Scope, limit: int, exclude_session: str = "") -> tuple[RecalledLine, ...]:
        """Return what bears on a question, best first; nothing when the service fails or takes longer than 1.5 s.

        A service that failed is left alone for a while. When its pause is over, the question is sent without waiting
        for the answer; when one comes in time, the next question waits for its answer again.
        """
        if limit < 1 or not question.strip():
            return ()
        is_trial = self._breaker.is_open
        if is_trial and not self._breaker.may_try():
            return ()
        if not self._calls.acquire(blocking=False):
            return ()
        answer: list[HostedLine] = []
        is_answered = threading.Event()

        def ask() -> None:
            try:
                begun = time.monotonic()
                namespace = namespace_of(scope)
                found = self._reader.search(
                    namespace, question, limit=limit, seconds=self._recall_seconds, exclude_session=exclude_session
                )
                if time.monotonic() - begun > self._recall_seconds:
                    raise HostedError("it took too long to answer", fault="slow", where=self._reader.name)
                answer.extend(found)
                self._answered()
            except HostedError as error:
                self._failed(error)
            finally:
                self._calls.release()
                is_answered.set()

        threading.Thread(target=ask, name="hosted-recall", daemon=True).start()
        if is_trial or not is_answered.wait(self._recall_seconds):
            return ()
        return self._recalled(answer, scope=scope, limit=limit, exclude_session=exclude_session)

    def note_turn(self, session_id: str, *, scope: Scope) -> None:
        """Store that a session has changed; it is sent in the background, without what is private.

        Raises:
            DataError: Our own disk is full or failed.
        """
        self.outbox.note(scope, session_id)
        self.delivery.wake()

    def withdraw(self, session_ids: Collection[str], *, scope: Scope) -> None:
        """Have the service's copy of sessions deleted and sent anew, because something in them became private.

        Raises:
            DataError: Our own disk is full or failed.
        """
        self.outbox.doom(scope, sorted(session_ids))
        self.delivery.wake()

    def send_all(self, *, scope: Scope) -> int:
        """Note every session of a scope, such as those from before the service was configured; return how many."""
        sessions = sessions_of(self._database, scope)
        for session_id in sessions:
            self.outbox.note(scope, session_id)
        self.outbox.retry_aside()
        self.delivery.wake()
        return len(sessions)

    def forget(self, *, scope: Scope, session_ids: Collection[str], texts: Sequence[str] = ()) -> HostedReceipt:
        """Delete the service's copy of sessions something was deleted of; what is left of them is sent anew.

        Call it after the deletion here. The order to delete is stored before the service is asked, so it survives a
        crash and a service that cannot be reached.

        Args:
            scope: Whose memory it is.
            session_ids: The sessions the deleted lines came from.
            texts: The deleted lines, to look for them afterwards. They are searched for in the service that has them,
                and not stored.
        """
        name = self._reader.name
        num_documents = self.outbox.doom(scope, sorted(session_ids))
        if not num_documents:
            self.delivery.wake()
            return HostedReceipt("none", 0, 0, 0, f"{name} had no copy")
        if self._breaker.is_open:
            self.delivery.wake()
            return HostedReceipt("queued", 0, 0, 0, f"{name} does not answer; its copy will be deleted when it does")
        namespace, end = namespace_of(scope), time.monotonic() + FORGET_SECONDS
        searched = sorted(set(texts), key=len, reverse=True)[:_MAX_SEARCHED_TEXTS]  # the longest tell the most
        num_lines = num_erased = 0
        try:
            num_lines = self._forget_conclusions(namespace, session_ids, searched, end=end)
            for session_id in session_ids:
                num_erased += self.delivery.erase_doomed(scope, session_id)
            num_found = sum(self._still_finds(namespace, text, end=end) for text in searched)
        except HostedError as error:
            self._failed(error)
            if num_erased < num_documents:
                sentence = f"{error.found}; its copy will be deleted when it answers"
                return HostedReceipt("queued", num_erased, num_lines, 0, sentence)
            sentence = f"{name} says it deleted {num_documents} documents; whether a search finds it was not answered"
            return HostedReceipt("partly", num_erased, num_lines, 0, sentence)
        finally:
            self.delivery.wake()
        if num_found:
            sentence = f"{name} deleted {num_documents} documents, but a search there still finds {num_found} texts"
            return HostedReceipt("partly", num_documents, num_lines, num_found, sentence)
        sentence = (
            f"{name} says it deleted {num_documents} documents and what it concluded from them; a search there finds"
            " nothing of it. What its own backups and logs keep is not known here"
        )
        return HostedReceipt("done", num_documents, num_lines, 0, sentence)

    def also_forget(self, lines: Sequence[StoredLine]) -> str:
        """Delete the service's copy of lines that were just forgotten here (`MemoryStore.also_forget`).

        Returns:
            `none` when there was no copy, or what the service answered, as a sentence.
        """
        answers = []
        for scope in sorted({line.scope for line in lines}, key=lambda scope: (scope.user, scope.character)):
            own = [line for line in lines if line.scope == scope]
            sessions = {line.session_id for line in own}
            texts = list(dict.fromkeys(line.original for line in own if line.kind == "turn"))
            answers.append(self.forget(scope=scope, session_ids=sessions, texts=texts))
        said = [answer for answer in answers if answer.state != "none"]
        return "; ".join(answer.sentence for answer in said) or "none"

    def export(self, *, scope: Scope) -> Iterator[dict[str, Any]]:
        """Yield everything the service has of a scope, so that nothing is captive there.

        Raises:
            HostedError: It cannot be read to its end.
        """
        return self._reader.list_lines(namespace_of(scope))

    def counts(self) -> OutboxCounts:
        """Return what lies in the outbox."""
        return self.outbox.counts()

    def notices(self) -> tuple[str, ...]:
        """Return what a person should know, each thing once."""
        with self._lock:
            notices, self._notices = tuple(self._notices), []
        return notices

    def close(self) -> None:
        """End the work in the background; what was not sent is sent after the next start."""
        self.delivery.close(seconds=0)
        self._reader.close()  # a call that is on its way ends here
        self.delivery.close()

    def _recalled(
        self, found: Sequence[HostedLine], *, scope: Scope, limit: int, exclude_session: str
    ) -> tuple[RecalledLine, ...]:
        try:
            doomed = self.outbox.doomed_sessions(scope)
        except DuologueError:
            return ()  # what must not be shown is not known, so nothing is
        wanted = (
            line for line in found if line.session_id not in doomed and line.session_id != (exclude_session or None)
        )
        lines = [recalled for line in wanted for recalled in recalled_lines(line, character=scope.character)]
        return tuple(lines[:limit])

    def _forget_conclusions(
        self, namespace: str, session_ids: Collection[str], texts: Sequence[str], *, end: float
    ) -> int:
        """Conclusions may outlive the document they came from; those that show themselves are forgotten by name."""
        found = [line for text in texts for line in self._search(namespace, text, end=end)]
        wanted = {plain(text) for text in texts}
        ids = {
            line.id
            for line in found
            if line.id and not line.is_passage and (line.session_id in session_ids or plain(line.text) in wanted)
        }
        return self._reader.forget_lines(namespace, sorted(ids)).num_deleted if ids else 0

    def _still_finds(self, namespace: str, text: str, *, end: float) -> bool:
        wanted = plain(text)
        return any(wanted in plain(line.text) for line in self._search(namespace, text, end=end))

    def _search(self, namespace: str, text: str, *, end: float) -> tuple[HostedLine, ...]:
        seconds = end - time.monotonic()
        if seconds <= 0:
            raise HostedError("it took too long to answer", fault="slow", where=self._reader.name)
        return self._reader.search(namespace, text, limit=10, seconds=min(seconds, FORGET_SECONDS / 2))

    def _answered(self) -> None:
        self._breaker.succeeded()
        self._recovered()

    def _recovered(self) -> None:
        with self._lock:
            had_trouble, self._troubles = bool(self._troubles), set()
        if had_trouble:
            self._say(f"{self._reader.name} answers again.")

    def _failed(self, error: HostedError) -> None:
        pause = error.retry_after_seconds
        if error.fault in FINAL:
            pause = _FOREVER_SECONDS
        elif error.fault == "unpaid":
            pause = _UNPAID_PAUSE_SECONDS
        elif error.fault == "unreachable":
            pause = max(pause, 10.0)  # nobody listens there: no need to ask twice
        self._breaker.failed(pause_seconds=pause)
        self._complain(error)

    def _delivered(self, delivered: Delivered) -> None:
        if delivered.fault is None:
            self._recovered()
        else:
            self._complain(delivered.fault)
        if delivered.num_aside:
            self._say(
                f"{self._reader.name} refused {delivered.num_aside} sessions"
                f" {'' if delivered.fault is None else f'({delivered.fault.found}) '}too often; they are kept here and"
                " not sent again until they change."
            )

    def _complain(self, error: HostedError) -> None:
        """Say it when the service fails in a new way; the same trouble again within ten minutes is no news."""
        now = self._clock()
        with self._lock:
            if now - self._said.get(error.fault, -_QUIET_SECONDS) < _QUIET_SECONDS:
                return
            self._said[error.fault] = now
            self._troubles.add(error.fault)
        action = f" {error.action}" if error.action else ""
        self._say(f"{self._reader.name}: {error.found}. The chat goes on with the memory of this machine.{action}")

    def _say(self, notice: str) -> None:
        with self._lock:
            self._notices = [*self._notices, notice][-_MAX_NOTICES:]


def open_hosted(memory: MemoryStore, *, url: str, key: str) -> HostedMemory:
    """Return Supermemory as a second reader beside a store; what is forgotten here is forgotten there.

    Nothing is sent before `start`, but for what a person asks for.
    """
    from duologue.memory.supermemory import SupermemoryReader  # slow to import, and most people have no use for it

    hosted = HostedMemory(SupermemoryReader(key, url=url), memory.database)
    memory.also_forget = hosted.also_forget
    return hosted


def recalled_lines(line: HostedLine, *, character: str) -> tuple[RecalledLine, ...]:
    """Return what a service found as it goes into a prompt: a passage message by message, a conclusion as it is.

    Their numbers are negative, because no row here has them, and the same whenever the same is found.
    """
    messages = lines_in(line.text) if line.is_passage else ()
    if not messages:
        return (_recalled(line, line.text, speaker="user", said_at=line.said_at),) if line.text.strip() else ()
    return tuple(
        _recalled(line, text, speaker="assistant" if _is_same_name(name, character) else "user", said_at=said_at)
        for said_at, name, text in messages
    )


def _recalled(line: HostedLine, text: str, *, speaker: Role, said_at: str) -> RecalledLine:
    digest = hashlib.sha256(f"{line.document_id}\0{line.id}\0{text}".encode("utf-8", "surrogatepass")).digest()
    shown = " ".join(text.split())
    return RecalledLine(
        text=shown if len(shown) <= _MAX_TEXT_CHARS else shown[: _MAX_TEXT_CHARS - 1] + "…",
        speaker=speaker,
        memory_id=-1 - int.from_bytes(digest[:6]),
        session_id=line.session_id,
        said_at=said_at,
        score=line.similarity,
        kind="turn" if line.is_passage else "fact",
        is_guess=line.is_guess,
        origin="supermemory",
    )


def _is_same_name(name: str, character: str) -> bool:
    """Whether a speaker is the character, whose scope has its name in small letters with dashes."""
    return name.casefold().replace(" ", "-") == character.casefold().replace(" ", "-")
