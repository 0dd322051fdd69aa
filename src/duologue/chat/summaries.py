"""Summaries made in the background: one at a time, and only while nobody waits for a reply."""

import threading

from duologue.chat import chat_state
from duologue.chat.cast import Cast
from duologue.chat.counting import TokenCounter
from duologue.chat.sessions import Sessions
from duologue.chat.stream import ReplyStream, Voice
from duologue.chat.summary import Summing, valid_summary
from duologue.chat.worker import Worker
from duologue.config import Config
from duologue.engine import Sampling


class Summaries:
    """Keeps the summaries of a folder's sessions up to date.

    Args:
        voice: The model, behind the same turnstile as replies.
        counter: Of the model.
        sessions: Where summaries are kept.
        config: Names.
        cast: Who speaks.
    """

    def __init__(self, voice: Voice, counter: TokenCounter, sessions: Sessions, config: Config, *, cast: Cast) -> None:
        """Start with nothing to do."""
        self._voice = voice
        self._counter = counter
        self._sessions = sessions
        self._user_name = config.character.user_name
        self._name = cast.main.name
        self._worker = Worker("duologue-summary")
        self._lock = threading.Lock()
        self._cancel = threading.Event()

    def update(self, session_id: str, num_messages: int, *, context_tokens: int, user_name: str = "") -> None:
        """Sum up the first messages of a chat, soon, unless that is done already."""
        names = (user_name or self._user_name, self._name)
        if num_messages:
            self._worker.do(session_id, lambda: self._sum_up(session_id, num_messages, context_tokens, names))

    def make_way(self) -> None:
        """Stop the summary that is being made: a person waits for a reply. It is made after that."""
        with self._lock:
            self._cancel.set()

    def settle(self) -> None:
        """Wait until all summaries are made."""
        self._worker.settle()

    def close(self) -> None:
        """Stop."""
        self.make_way()
        self._worker.close(drops=True)

    def _sum_up(self, session_id: str, num_messages: int, context_tokens: int, names: tuple[str, str]) -> None:
        covered = -1
        while True:  # what is too long for one prompt is summed up part by part
            path = self._sessions.path(session_id)
            kept = self._sessions.state(session_id, chat_state.SUMMARY)
            before = valid_summary(kept, path)
            done = before.num_messages if before else 0
            if done <= covered or done >= num_messages or num_messages > len(path):
                return
            covered = done
            with self._lock:
                cancel = self._cancel = threading.Event()
            job = Summing(
                session_id,
                path,
                num_messages,
                names,
                sessions=self._sessions,
                counter=self._counter,
                context_tokens=context_tokens,
                kept=kept,
            ).shortened()
            sampling = Sampling(max_new_tokens=job.reply_tokens, temperature=0.3)
            ReplyStream(job, self._voice, sampling=sampling, cancel=cancel).read()
