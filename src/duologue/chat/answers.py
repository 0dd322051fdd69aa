"""The answer to a turn: its prompt made from the session as it is, its reply kept, and what follows from it."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakSet

from duologue.chat.buffer import Buffer
from duologue.chat.care import answer_to
from duologue.chat.context import Context
from duologue.chat.contexts import Contexts
from duologue.chat.drawing import Drawing
from duologue.chat.jobs import Passing, StoredReply, gone
from duologue.chat.own import Own
from duologue.chat.people import People
from duologue.chat.recollection import Recollection
from duologue.chat.sessions import Sessions
from duologue.chat.stage import Ready
from duologue.chat.stream import Job, ReplyStream, Voice
from duologue.chat.summaries import Summaries
from duologue.chat.tree import StoredMessage
from duologue.chat.turn import Turn
from duologue.config import Config
from duologue.engine import Sampling
from duologue.messages import Reply


@dataclass(frozen=True, slots=True)
class Answering:
    """What answers are made with.

    Attributes:
        own: The stage and drawing of whoever has set nothing.
        people: What users have set for themselves.
        voice: Speaks.
        sessions: Where replies are kept.
        recollection: The memory, which follows every reply.
        summaries: Summaries of what leaves the context.
        contexts: The last prompt of each session.
        clock: Seconds, for the times of a reply.
    """

    own: Own
    people: People
    voice: Voice
    sessions: Sessions
    recollection: Recollection
    summaries: Summaries
    contexts: Contexts
    clock: Callable[[], float]


class Answers:
    """Starts the replies of a bot and lets memory, summaries and the context view follow them.

    Args:
        parts: What answers are made with.
        model_id: The character under whose name users' settings are kept.
    """

    def __init__(self, parts: Answering, *, model_id: str) -> None:
        """Start with nothing said."""
        self._parts = parts
        self._model_id = model_id
        self._streams: WeakSet[ReplyStream] = WeakSet()
        self._asked_for: dict[str, str] = {}

    def config_of(self, user: str) -> Config:
        """Return the configuration with what a user has set; the very same one for a user who has set nothing."""
        return self._parts.people.get(user).config(self._drawing.config, character=self._model_id)

    def own(self, user: str) -> Own:
        """Return what makes and draws a user's prompts."""
        config = self.config_of(user)
        if config is self._drawing.config:
            return self._parts.own
        return Own(self._parts.own.stage.for_config(config), self._drawing.for_config(config))

    def remind(self, session_id: str, words: str) -> None:
        """Recall for the next reply of a session what bears on these words as well."""
        self._asked_for[session_id] = words

    def to(self, turn: Turn, cancel: threading.Event) -> ReplyStream:
        """Return the answer to a turn; it begins when the first piece is asked for."""
        parts = self._parts
        parts.summaries.make_way()
        parts.recollection.catch_up(turn.user, but=turn.session_id)
        said = [] if turn.trigger == "continue" else [e.message for e in parts.sessions.path_to(turn.after_id)[-1:]]
        job = StoredReply(
            turn,
            parts.sessions,
            prepare=self._prepare,
            after=self._after,
            clock=parts.clock,
            answer=answer_to(said, self._drawing.config.guard.crisis_region),
        )
        sampling = Sampling() if job.answer else self.own(turn.user).drawing.for_reply
        return self.stream(job, sampling, cancel, speaker=turn.member.name)

    def for_user(self, turn: Turn, cancel: threading.Event) -> ReplyStream:
        """Return what the user might say in a turn; nothing is stored."""
        own = self.own(turn.user)

        def make() -> Buffer:
            return self._ready(turn, self._parts.sessions.path(turn.session_id)).prepared.buffer

        return self.stream(Passing(make), own.drawing.for_reply, cancel, speaker=self._user_name(turn.user))

    def view(self, turn: Turn, path: Sequence[StoredMessage]) -> Context:
        """Return the prompt that a turn would have, part by part."""
        prepared = self._ready(turn, path).prepared
        context_tokens = self._drawing.context_tokens
        return self._parts.contexts.view(prepared, session_id=turn.session_id, context_tokens=context_tokens)

    def stream(self, job: Job, sampling: Sampling, cancel: threading.Event, *, speaker: str = "") -> ReplyStream:
        """Return the stream of a job, which ends when the bot is closed."""
        stream = ReplyStream(job, self._parts.voice, sampling=sampling, cancel=cancel, speaker=speaker)
        self._streams.add(stream)
        return stream

    def close(self) -> None:
        """End the replies that run, keeping what was said."""
        for stream in list(self._streams):
            stream.close()

    @property
    def _drawing(self) -> Drawing:
        return self._parts.own.drawing

    def _user_name(self, user: str) -> str:
        return self._parts.people.get(user).name or self._drawing.config.character.user_name

    def _ready(self, turn: Turn, path: Sequence[StoredMessage]) -> Ready:
        own = self.own(turn.user)
        return own.stage.ready(turn, path, room=own.drawing.room)

    def _prepare(self, turn: Turn) -> Ready:
        """Make the prompt from the session as it is now: replies that were ahead in line are part of it."""
        sessions = self._parts.sessions
        path = sessions.path(turn.session_id)
        at = next((at for at, entry in enumerate(path) if entry.id == turn.after_id), None)
        later = [entry.id for entry in path[at + 1 :]] if at is not None else []
        path = sessions.path_to(turn.after_id) if at is None else path[: at + 1]
        if not path:
            raise gone(turn.session_id)
        asked_for = self._asked_for.pop(turn.session_id, "")
        own = self.own(turn.user)
        ready = own.stage.ready(turn, path, room=own.drawing.room, later=later, asked_for=asked_for)
        own.stage.keep(turn, path, ready)
        return ready

    def _after(self, turn: Turn, ready: Ready | None, reply: Reply) -> None:
        parts = self._parts
        context_tokens = self._drawing.context_tokens if ready is not None else 0  # may have to load the model
        if ready is not None:
            parts.contexts.sent(
                ready.prepared, reply.num_cached_tokens, session_id=turn.session_id, context_tokens=context_tokens
            )
        parts.recollection.follow(turn.session_id, user=turn.user)
        if ready is not None and self._drawing.config.generation.summarise:
            num_left = ready.prepared.buffer.num_forgotten_messages
            name = self._user_name(turn.user)
            parts.summaries.update(turn.session_id, num_left, context_tokens=context_tokens, user_name=name)
