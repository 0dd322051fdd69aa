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

from duologue.chat import Chain, ReplyStream
from duologue.errors import DuologueError, EngineError, GuardError
from duologue.messages import Reply

log = logging.getLogger("duologue.serve")

OpenStream = Callable[[threading.Event], ReplyStream | Chain]


class Generation:
    """One reply on its way.

    Attributes:
        text: What has come so far.
        reply: The finished reply, once it is there.
        error: Why it failed, if it did.
        is_done: Whether `reply` or `error` is set.
        cancel: Set it to stop; the reply then ends within one token.
    """

    def __init__(self) -> None:
        """Start with nothing said."""
        self.text = ""
        self.reply: Reply | None = None
        self.error: DuologueError | None = None
        self.is_done = False
        self.cancel = threading.Event()
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def run(self, open_stream: OpenStream) -> None:
        """Generate the reply in the calling thread."""
        try:
            stream = open_stream(self.cancel)
            for piece in stream:
                if piece.text:
                    self.text += piece.text
                    self._wake()
            self.reply = stream.reply
        except DuologueError as error:
            self.error = error
        except Exception:
            log.exception("a reply failed")
            self.error = EngineError("the reply failed", action="The server's log says why.")
        finally:
            self.is_done = True
            self._wake()

    async def more(self, num_seen_chars: int, *, timeout_seconds: float) -> bool:
        """Wait for text beyond `num_seen_chars` or for the end; return False when the time ran out first."""
        waiting = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting.add(waiting)
        try:
            if self.is_done or len(self.text) > num_seen_chars:
                return True
            async with asyncio.timeout(timeout_seconds):
                await waiting[1].wait()
            return True
        except TimeoutError:
            return False
        finally:
            with self._lock:
                self._waiting.discard(waiting)

    def _wake(self) -> None:
        with self._lock:
            for loop, event in self._waiting:
                with contextlib.suppress(RuntimeError):  # the reader's loop has ended
                    loop.call_soon_threadsafe(event.set)


class Generations:
    """The replies that run or wait for the model, bounded in number.

    Args:
        max_waiting: Replies that may wait while one runs.
    """

    def __init__(self, max_waiting: int) -> None:
        """Start with none."""
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._running: dict[Generation, tuple[str, threading.Thread]] = {}

    def start(self, open_stream: OpenStream, *, session_id: str = "") -> Generation:
        """Start a reply in a thread of its own.

        Args:
            open_stream: Asks the bot for the reply; gets the event that stops it.
            session_id: The chat the reply belongs to; empty when it belongs to none.

        Raises:
            GuardError: With reason `busy` when too many wait, `reply_running` when this chat already waits for one.
        """
        generation = Generation()
        thread = threading.Thread(target=self._run, args=(generation, open_stream), name="reply", daemon=True)
        with self._lock:
            if len(self._running) > self._max_waiting:
                raise GuardError(
                    f"{self._max_waiting} requests are waiting already",
                    reason="busy",
                    retry_after_seconds=5.0,
                    action="Try again in a moment.",
                )
            if session_id and any(session_id == running for running, _ in self._running.values()):
                raise GuardError(
                    "a reply is still being written in this chat",
                    reason="reply_running",
                    retry_after_seconds=1.0,
                    action="Wait for it or stop it.",
                )
            self._running[generation] = (session_id, thread)
        thread.start()
        return generation

    @property
    def num_running(self) -> int:
        """How many replies run or wait."""
        with self._lock:
            return len(self._running)

    def find(self, session_id: str) -> Generation | None:
        """Return the reply that is being written in a chat."""
        with self._lock:
            return next((found for found, (running, _) in self._running.items() if running == session_id), None)

    def cancel_all(self) -> None:
        """Ask every reply to stop."""
        with self._lock:
            for generation in self._running:
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
