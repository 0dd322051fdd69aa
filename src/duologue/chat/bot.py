"""The bot: a model, a character and its settings, with sessions and memory around them."""

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from weakref import WeakSet

from duologue import prompt
from duologue.characters import Character
from duologue.chat.buffer import Buffer, fit_buffer
from duologue.chat.jobs import Passing, StoredReply, Turn
from duologue.chat.recollection import Recollection
from duologue.chat.sessions import Sessions, last_reply
from duologue.chat.stream import Job, ReplyStream, Voice
from duologue.chat.turnstile import Turnstile
from duologue.config import Config
from duologue.engine import Generator, Sampling
from duologue.errors import DataError, GuardError
from duologue.guard import ContentPolicy, InputValidator
from duologue.memory import MemoryStore
from duologue.messages import Message, RecalledLine

MAX_CONTEXT_TOKENS = 4096  # what `generation.context_tokens = "auto"` takes at most


class Bot:
    """A character one can talk to. One reply is generated at a time; further callers wait in line.

    Attributes:
        character: Who speaks.
        sessions: The saved conversations.
        memory: The long-term memory, or None when it is turned off.
    """

    def __init__(
        self,
        generator: Generator,
        character: Character,
        *,
        config: Config,
        sessions: Sessions,
        memory: MemoryStore | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Put the parts together; `open_bot` opens them."""
        self.character = character
        self.sessions = sessions
        self.memory = memory
        self._config = config
        self._generator = generator
        self._clock = clock
        self._validator = InputValidator(config.guard.max_input_chars)
        self._policy = ContentPolicy(config.guard.rating)
        self._recollection = Recollection(memory, config, character=self.model_id)
        self._voice = Voice(generator, Turnstile(), self._policy, clock)
        self._streams: WeakSet[ReplyStream] = WeakSet()

    @property
    def name(self) -> str:
        """The character's name, as shown."""
        return self.character.display_name

    @property
    def model_id(self) -> str:
        """The character as a model of the API, as owner of sessions and memories: `lila-quill`."""
        return slug(self.character.name)

    @property
    def base_id(self) -> str:
        """The base model, as duologue.toml names it."""
        return self._config.model.base

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus reply."""
        wanted = self._config.generation.context_tokens
        return min(self._generator.context_tokens, MAX_CONTEXT_TOKENS if wanted == "auto" else wanted)

    def sampling(self) -> Sampling:
        """Return how replies are drawn, as duologue.toml says."""
        settings = self._config.generation
        return Sampling(
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k,
            min_p=settings.min_p,
            repetition_penalty=settings.repetition_penalty,
        )

    def new_session(self, *, user: str = "local") -> str:
        """Make a session that begins with the card's greeting and return its id."""
        session_id = self.sessions.create(character=self.model_id, user=user)
        self._greet(session_id)
        return session_id

    def complete(self, messages: Sequence[Message], sampling: Sampling, *, cancel: threading.Event) -> ReplyStream:
        """Reply to a conversation that the caller keeps; nothing is stored, recalled or remembered.

        Args:
            messages: Oldest first, the last one from the user; a system message at the front replaces the card's text.
            sampling: How to draw; a reply never takes more than half of the context.
            cancel: Set it to stop.

        Raises:
            GuardError: A message is refused, or the last one does not fit the context.
        """
        if not messages or messages[-1].role != "user":
            raise GuardError(
                "the conversation does not end with a user message",
                reason="empty",
                where="messages",
                needed="something to reply to",
            )
        *earlier, newest = messages
        checked = [Message(m.role, self._validator.validate(m.content)) for m in earlier if m.content.strip()]
        checked.append(Message("user", self._validator.validate(newest.content)))
        bounded = self._bounded(sampling)
        buffer = self._fit(checked, (), sampling=bounded)
        self._check(buffer)
        return self._stream(Passing(buffer), bounded, cancel)

    def reply(self, session_id: str, text: str, *, cancel: threading.Event, user: str = "local") -> ReplyStream:
        """Store a user's message and reply to it. When this returns, the message is on disk.

        The reply itself begins when the first piece is asked for.

        Args:
            session_id: As `new_session` returned it.
            text: What the user says.
            cancel: Set it to stop; what was said so far is kept.
            user: Whose session and memory it is.

        Raises:
            GuardError: The message is refused or does not fit the context; nothing is stored.
            DataError: There is no such session, or the message could not be stored.
        """
        self._require(session_id, user)
        message = Message("user", self._validator.validate(text))
        earlier = [entry.message for entry in self.sessions.messages(session_id)]
        self._prompt([*(earlier or self._greeting()), message], session_id=session_id, user=user)
        if not earlier:
            self._greet(session_id)
        message_id = self.sessions.append(session_id, message)
        question = next(entry for entry in self.sessions.messages(session_id) if entry.id == message_id)
        return self._answer(Turn(session_id, user, question), cancel)

    def regenerate(self, session_id: str, *, cancel: threading.Event, user: str = "local") -> ReplyStream:
        """Reply to the last user message again; the old reply stays until the new one has its first word.

        Raises:
            GuardError: There is no user message yet.
            DataError: There is no such session.
        """
        self._require(session_id, user)
        stored = self.sessions.messages(session_id)
        questions = [entry for entry in stored if entry.message.role == "user"]
        if not questions:
            raise GuardError(
                "there is no message to reply to", reason="empty", where="session", action="Say something first."
            )
        replaced = last_reply(stored)
        turn = Turn(session_id, user, questions[-1], replaced_id=replaced.id if replaced else None)
        return self._answer(turn, cancel)

    def delete_session(self, session_id: str) -> None:
        """Delete a session and what is remembered of it, to the last byte."""
        self._recollection.forget_session(session_id)
        self.sessions.delete(session_id)

    def close(self) -> None:
        """End the replies that run, keeping what was said, then free the model and close sessions and memory."""
        for stream in list(self._streams):
            stream.close()
        self._voice.turnstile.enter(threading.Event())
        try:
            self._generator.close()
            self.sessions.close()
            self._recollection.close()
        finally:
            self._voice.turnstile.leave()

    def _answer(self, turn: Turn, cancel: threading.Event) -> ReplyStream:
        job = StoredReply(
            turn, self.sessions, recollection=self._recollection, prepare=self._prompt_of_turn, clock=self._clock
        )
        return self._stream(job, self._bounded(self.sampling()), cancel)

    def _stream(self, job: Job, sampling: Sampling, cancel: threading.Event) -> ReplyStream:
        stream = ReplyStream(job, self._voice, sampling=sampling, cancel=cancel)
        self._streams.add(stream)
        return stream

    def _prompt_of_turn(self, turn: Turn) -> Buffer:
        """Make the prompt from the session as it is now: replies that were ahead in line are part of it."""
        stored = self.sessions.messages(turn.session_id)
        said = [entry.message for entry in stored if entry.id <= turn.question.id]
        return self._prompt(said, session_id=turn.session_id, user=turn.user)

    def _prompt(self, messages: Sequence[Message], *, session_id: str, user: str) -> Buffer:
        sampling = self._bounded(self.sampling())
        question = messages[-1]
        lines = self._recollection.recall(question.content, session_id=session_id, user=user)
        recalled = self._within_budget(lines, question)
        if recalled:
            buffer = self._fit(messages, recalled, sampling=sampling)
            if self._is_allowed(buffer):
                return buffer
            # What was recalled must not make an innocent message refused.
        buffer = self._fit(messages, (), sampling=sampling)
        self._check(buffer)
        return buffer

    def _within_budget(self, lines: Sequence[RecalledLine], question: Message) -> list[RecalledLine]:
        """Keep the best lines that cost at most `memory.max_recalled_tokens`, their frame in the prompt included."""
        kept: list[RecalledLine] = []
        without = self._num_tokens(question, ())
        for line in lines:
            if self._num_tokens(question, [*kept, line]) - without <= self._config.memory.max_recalled_tokens:
                kept.append(line)
        return kept

    def _num_tokens(self, question: Message, recalled: Sequence[RecalledLine]) -> int:
        user_name = self._config.character.user_name
        built = prompt.build(self.character, [question], user_name=user_name, recalled=recalled)
        return len(self._generator.tokenizer.render(built, add_generation_prompt=False))

    def _fit(self, messages: Sequence[Message], recalled: Sequence[RecalledLine], *, sampling: Sampling) -> Buffer:
        return fit_buffer(
            self.character,
            messages,
            recalled=recalled,
            user_name=self._config.character.user_name,
            tokenizer=self._generator.tokenizer,
            context_tokens=self.context_tokens,
            max_new_tokens=sampling.max_new_tokens,
        )

    def _bounded(self, sampling: Sampling) -> Sampling:
        """Leave at least half of the context to the prompt."""
        return replace(sampling, max_new_tokens=max(1, min(sampling.max_new_tokens, self.context_tokens // 2)))

    def _check(self, buffer: Buffer) -> None:
        self._policy.check([message.content for message in buffer.messages], where="message")

    def _is_allowed(self, buffer: Buffer) -> bool:
        try:
            self._check(buffer)
        except GuardError:
            return False
        return True

    def _greeting(self) -> list[Message]:
        text = self.character.resolve_macros(self.character.greeting, user_name=self._config.character.user_name)
        return [Message("assistant", text)] if text.strip() else []

    def _greet(self, session_id: str) -> None:
        for message in self._greeting():
            self.sessions.append(session_id, message, finish_reason="stop")

    def _require(self, session_id: str, user: str) -> None:
        if not self.sessions.has(session_id, character=self.model_id, user=user):
            raise DataError(f"there is no session '{session_id}'", where="session", action="Start a new one.")


def slug(name: str) -> str:
    """Return a name as lower-case words joined by hyphens, such as `lila-quill`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "character"
