"""Replies being generated: each runs in its own thread, is followed by any number of readers, and can be stopped.

A reply does not belong to the connection that asked for it. A phone that locks or a page that reloads loses nothing:
the thread runs on, the bot stores the reply, and a new reader picks it up.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from duologue.chat import Chain, ReplyStream
from duologue.errors import DuologueError, EngineError, GuardError
from duologue.messages import Reply
from duologue.serve.admission import Line, Ticket

log = logging.getLogger("duologue.serve")

OpenStream = Callable[[threading.Event], ReplyStream | Chain]
_ALLOWED_SECONDS = 1.0  # how long an answer to `is_allowed` holds; it may look into files and databases


class _Cancel(threading.Event):
    """An event that somebody hears of who cannot wait for it."""

    def __init__(self, heard: Callable[[], None]) -> None:
        super().__init__()
        self._heard = heard

    def set(self) -> None:
        super().set()
        self._heard()


@dataclass(frozen=True, slots=True)
class Terms:
    """For whom a reply is made, and under which conditions.

    Attributes:
        owner: Who waits for it; nobody's requests pass everyone else's.
        lane: The model; it makes one reply at a time, or a few.
        session_id: The chat it belongs to; empty when it belongs to none.
        require_allowed: Raises a `GuardError` once its visitor may no longer read it; asked while it is made.
        ended: Called with the number of generated tokens, whatever the end was.
        is_urgent: It asks no model, and so does not wait in line.
    """

    owner: str = ""
    lane: str = ""
    session_id: str = ""
    require_allowed: Callable[[], None] = lambda: None
    ended: Callable[[int], None] = lambda _: None
    is_urgent: bool = False


class Generation:
    """One reply on its way.

    Attributes:
        text: What has come so far.
        num_tokens: Tokens generated so far.
        place: Place in line: 1 is next, 0 is being made, or has ended.
        reply: The finished reply, once it is there.
        error: Why it failed, if it did.
        is_done: Whether `reply` or `error` is set.
        cancel: Set it to stop; the reply then ends within one token, or at once when it still waits in line.
    """

    def __init__(self, terms: Terms | None = None) -> None:
        """Start with nothing said."""
        self.text = ""
        self.num_tokens = 0
        self.place = 0
        self.reply: Reply | None = None
        self.error: DuologueError | None = None
        self.is_done = False
        self.cancel: threading.Event = _Cancel(self._leave_line)
        self._terms = terms or Terms()
        self._line: Line | None = None
        self._ticket: Ticket | None = None
        self._allowed_until = 0.0  # monotonic
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def line_up(self, line: Line) -> None:
        """Take a place in line.

        Raises:
            GuardError: With reason `busy`.
        """
        self._line = line
        self._ticket = line.join(self._terms.owner, self._terms.lane, self._move)

    def run(self, open_stream: OpenStream) -> None:
        """Wait in line and generate the reply, in the calling thread."""
        try:
            self._run(open_stream)
        except DuologueError as error:
            self.error = error
        except Exception:
            log.exception("a reply failed")
            self.error = EngineError("the reply failed", action="The server's log says why.")
        finally:
            if self._line and self._ticket:
                self._line.leave(self._ticket)
            try:
                self._terms.ended(self.num_tokens)
            except Exception:
                log.exception("the end of a reply was not taken note of")
            self.is_done = True
            self._wake()

    def refuse(self, error: DuologueError) -> None:
        """End a reply that still waits in line with an error; one that is being made is stopped."""
        if self._ticket is not None and not self._ticket.is_running:
            self.error = error
        self.cancel.set()

    async def more(self, num_seen_chars: int, *, timeout_seconds: float, place: int | None = None) -> bool:
        """Wait for text beyond `num_seen_chars` or for the end; return False when the time ran out first.

        Args:
            num_seen_chars: Characters that the reader has.
            timeout_seconds: How long to wait.
            place: The place in line that the reader knows; another one ends the waiting too.
        """
        deadline = time.monotonic() + timeout_seconds
        waiting = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting.add(waiting)
        try:
            while not (self.is_done or len(self.text) > num_seen_chars or place not in (None, self.place)):
                async with asyncio.timeout(deadline - time.monotonic()):
                    await waiting[1].wait()
                waiting[1].clear()
            return True
        except TimeoutError:
            return False
        finally:
            with self._lock:
                self._waiting.discard(waiting)

    def _run(self, open_stream: OpenStream) -> None:
        stream = open_stream(self.cancel)  # checks and stores what was asked before it waits
        if self._line and self._ticket and not self._line.wait(self._ticket):
            stream.close()
            if self._ticket.refusal:
                raise self._ticket.refusal
            self.reply = Reply("", "cancelled", 0, 0, 0, 0.0, 0.0)
            return
        num_before = num_tokens = 0
        for piece in stream:
            if piece.num_tokens < num_tokens:  # in a chain, the next one has begun to speak
                num_before += num_tokens
            num_tokens = piece.num_tokens
            self.num_tokens = num_before + num_tokens
            if not self._is_allowed():
                continue  # to the end that `cancel` brings, so that the bot keeps what it has
            if piece.text:
                self.text += piece.text
                self._wake()
        if self.error is None:
            self.reply = stream.reply

    def _is_allowed(self) -> bool:
        if self.error is not None:
            return False
        now = time.monotonic()
        if now < self._allowed_until:
            return True
        self._allowed_until = now + _ALLOWED_SECONDS
        try:
            self._terms.require_allowed()
        except GuardError as error:
            self.error = error
            self.cancel.set()
            return False
        return True

    def _leave_line(self) -> None:
        if self._line and self._ticket and not self._ticket.is_running:
            self._line.leave(self._ticket)

    def _move(self, place: int) -> None:
        self.place = place
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            for loop, event in self._waiting:
                with contextlib.suppress(RuntimeError):  # the reader's loop has ended
                    loop.call_soon_threadsafe(event.set)


class Generations:
    """The replies that run or wait for the model, bounded in number.

    Args:
        max_waiting: Replies that may wait while one runs.
        max_running: Models that may be at work at the same time.
        per_lane: Replies that one of them makes at the same time.
    """

    def __init__(self, max_waiting: int, *, max_running: int = 1, per_lane: int = 1) -> None:
        """Start with none."""
        self._line = Line(max_waiting, max_running=max_running, per_lane=per_lane)
        self._lock = threading.Lock()
        self._running: dict[Generation, tuple[str, threading.Thread]] = {}
        self._end: DuologueError | None = None

    def start(self, open_stream: OpenStream, *, session_id: str = "", terms: Terms | None = None) -> Generation:
        """Start a reply in a thread of its own.

        Args:
            open_stream: Asks the bot for the reply; gets the event that stops it.
            session_id: The chat the reply belongs to, where no terms say it.
            terms: For whom it is made.

        Raises:
            GuardError: With reason `busy` when too many wait, `reply_running` when this chat already waits for one,
                `ending` when the server is about to end.
        """
        terms = terms or Terms(session_id=session_id)
        generation = Generation(terms)
        thread = threading.Thread(target=self._run, args=(generation, open_stream), name="reply", daemon=True)
        with self._lock:
            if self._end:
                raise self._end
            session_id = terms.session_id
            if session_id and any(session_id == running for running, _ in self._running.values()):
                raise GuardError(
                    "a reply is still being written in this chat",
                    reason="reply_running",
                    retry_after_seconds=1.0,
                    action="Wait for it or stop it.",
                )
            if not terms.is_urgent:
                generation.line_up(self._line)
            self._running[generation] = (session_id, thread)
        thread.start()
        return generation

    @property
    def num_running(self) -> int:
        """How many replies run or wait."""
        with self._lock:
            return len(self._running)

    @property
    def num_waiting(self) -> int:
        """How many replies wait in line."""
        return self._line.num_waiting

    def find(self, session_id: str) -> Generation | None:
        """Return the reply that is being written in a chat."""
        with self._lock:
            return next((found for found, (running, _) in self._running.items() if running == session_id), None)

    def end(self) -> None:
        """Take no more replies, and end those that wait in line; those that are being made go on."""
        error = GuardError(
            "the server is about to stop",
            reason="ending",
            retry_after_seconds=10.0,
            action="Ask again when it has started anew; what was said is kept.",
        )
        with self._lock:
            self._end = error
            running = list(self._running)
        for generation in running:
            if generation.place:
                generation.refuse(error)

    def cancel_all(self) -> None:
        """Ask every reply to stop."""
        with self._lock:
            running = list(self._running)
        for generation in running:
            generation.cancel.set()

    def close(self, *, timeout_seconds: float) -> None:
        """Stop every reply and wait until the bot has stored what was said."""
        self.cancel_all()
        with self._lock:
            threads = [thread for _, thread in self._running.values()]
        deadline = time.monotonic() + timeout_seconds
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, generation: Generation, open_stream: OpenStream) -> None:
        try:
            generation.run(open_stream)
        finally:
            with self._lock:
                del self._running[generation]
