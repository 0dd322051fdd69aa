"""The bot: a generator, a character and the settings, with sessions and memory around them."""

import re
import threading
import time
from collections.abc import Iterator, Sequence

from duologue import prompt
from duologue.characters import Character
from duologue.chat.buffer import Buffer, fit_buffer
from duologue.chat.sessions import Sessions
from duologue.chat.stream import ReplyStream
from duologue.config import Config
from duologue.engine import Generator, Piece, Sampling
from duologue.errors import ConfigError, GuardError
from duologue.guard import ContentPolicy, InputValidator
from duologue.memory import MemoryStore, Scope
from duologue.messages import FinishReason, Message, RecalledLine, Reply

MAX_CONTEXT_TOKENS = 4096  # what `generation.context_tokens = "auto"` takes at most
WITHHELD = "This reply was withheld by the content policy."
_SAVE_EVERY_SECONDS = 1.0
_SCENE_MESSAGES = 8
_SENTENCE_END = re.compile(r"[.!?\n…]")


class Bot:
    """A character one can talk to. One reply is generated at a time; further callers wait."""

    def __init__(
        self,
        generator: Generator,
        character: Character,
        *,
        config: Config,
        sessions: Sessions,
        memory: MemoryStore | None,
    ) -> None:
        """Put the parts together; `open_bot` opens them."""
        self.character = character
        self.sessions = sessions
        self.memory = memory
        self._generator = generator
        self._config = config
        self._validator = InputValidator(config.guard.max_input_chars)
        self._policy = ContentPolicy(config.guard.rating)
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The character's name."""
        return self.character.display_name

    @property
    def model_id(self) -> str:
        """The character as a model name for the API."""
        return slug(self.character.name)

    @property
    def base_id(self) -> str:
        """The base model's name."""
        return self._config.model.base

    @property
    def context_tokens(self) -> int:
        """Prompt and reply together."""
        wanted = self._config.generation.context_tokens
        return min(self._generator.context_tokens, MAX_CONTEXT_TOKENS if wanted == "auto" else wanted)

    def sampling(self) -> Sampling:
        """Return the sampling settings of duologue.toml."""
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
        """Return the id of a new session that begins with the card's greeting."""
        session_id = self.sessions.create(character=self.model_id, user=user)
        if self.character.greeting:
            greeting = self.character.resolve_macros(
                self.character.greeting, user_name=self._config.character.user_name
            )
            self.sessions.append(session_id, Message("assistant", greeting), finish_reason="stop")
        return session_id

    def complete(self, messages: Sequence[Message], sampling: Sampling, *, cancel: threading.Event) -> ReplyStream:
        """Reply to messages that the caller keeps; nothing is stored or recalled.

        Raises:
            GuardError: The last message is refused, or does not fit the context.
        """
        if not messages or messages[-1].role != "user":
            raise GuardError("the last message is not the user's", reason="empty", needed="a user message at the end")
        checked = [Message(m.role, self._validator.validate(m.content)) for m in messages]
        self._check_scene(checked)
        return ReplyStream(self._generate(checked, self._fit(checked, (), sampling), sampling, cancel, reply_id=None))

    def reply(self, session_id: str, text: str, *, cancel: threading.Event, user: str = "local") -> ReplyStream:
        """Store the user's message, then reply to it. When this returns, the message is on disk.

        Raises:
            GuardError: The message is refused, or does not fit the context; nothing is stored.
            ConfigError: There is no such session.
            DataError: The message could not be stored.
        """
        self._require_session(session_id, user)
        message = Message("user", self._validator.validate(text))
        earlier = [stored.message for stored in self.sessions.messages(session_id)]
        self._check_scene([*earlier, message])
        recalled = self._recall(message.content, session_id, user)
        buffer = self._fit([*earlier, message], recalled, self.sampling())
        message_id = self.sessions.append(session_id, message)
        self._remember(message, session_id, message_id, user)
        return self._stored_reply(session_id, [*earlier, message], buffer, cancel, user)

    def regenerate(self, session_id: str, *, cancel: threading.Event, user: str = "local") -> ReplyStream:
        """Replace the last reply by another one.

        Raises:
            GuardError: There is no message to reply to.
            ConfigError: There is no such session.
        """
        self._require_session(session_id, user)
        removed = self.sessions.delete_last_reply(session_id)
        if removed is not None and self.memory is not None:
            self.memory.forget_message(removed, session_id=session_id)
        messages = [stored.message for stored in self.sessions.messages(session_id)]
        if not messages or messages[-1].role != "user":
            raise GuardError("there is no message to reply to", reason="empty", action="Say something first.")
        recalled = self._recall(messages[-1].content, session_id, user)
        buffer = self._fit(messages, recalled, self.sampling())
        return self._stored_reply(session_id, messages, buffer, cancel, user)

    def delete_session(self, session_id: str) -> None:
        """Delete a session, its messages, and what was remembered of them."""
        self.sessions.delete(session_id)
        if self.memory is not None:
            self.memory.forget_session(session_id)

    def close(self) -> None:
        """Close model, sessions and memory."""
        with self._lock:
            self._generator.close()
        self.sessions.close()
        if self.memory is not None:
            self.memory.close()

    def _stored_reply(
        self, session_id: str, messages: list[Message], buffer: Buffer, cancel: threading.Event, user: str
    ) -> ReplyStream:
        reply_id = self.sessions.append(session_id, Message("assistant", ""), recalled=buffer.recalled)

        def pieces() -> Iterator[Piece | Reply]:
            for item in self._generate(messages, buffer, self.sampling(), cancel, reply_id=reply_id):
                if isinstance(item, Reply) and item.finish_reason in ("stop", "length"):
                    self._remember(Message("assistant", item.text), session_id, reply_id, user)
                yield item

        return ReplyStream(pieces())

    def _generate(
        self,
        messages: list[Message],
        buffer: Buffer,
        sampling: Sampling,
        cancel: threading.Event,
        *,
        reply_id: int | None,
    ) -> Iterator[Piece | Reply]:
        started = time.monotonic()
        text, num_tokens, saved_at, checked = "", 0, started, 0
        reason: FinishReason = "cancelled"  # what stays when the caller walks away
        first_token_seconds = 0.0
        try:
            for piece in self._locked_stream(buffer.prompt_ids, sampling, cancel):
                first_token_seconds = first_token_seconds or time.monotonic() - started
                text, num_tokens = text + piece.text, piece.num_tokens
                is_last = piece.finish_reason is not None
                if (is_last or _SENTENCE_END.search(text, checked)) and self._is_refused([*messages, text]):
                    text, reason = WITHHELD, "content_filter"
                    yield Piece("", num_tokens, reason)
                    break
                checked = len(text)
                if piece.finish_reason is not None:
                    reason = piece.finish_reason
                if reply_id is not None and time.monotonic() - saved_at > _SAVE_EVERY_SECONDS:
                    self.sessions.update(reply_id, text, "")
                    saved_at = time.monotonic()
                yield piece
        finally:
            if reply_id is not None:
                self.sessions.update(reply_id, text, reason)
        yield Reply(
            text=text,
            finish_reason=reason,
            num_prompt_tokens=len(buffer.prompt_ids),
            num_reply_tokens=num_tokens,
            num_forgotten_messages=buffer.num_forgotten_messages,
            first_token_seconds=first_token_seconds,
            total_seconds=time.monotonic() - started,
            recalled=buffer.recalled,
        )

    def _locked_stream(self, ids: Sequence[int], sampling: Sampling, cancel: threading.Event) -> Iterator[Piece]:
        while not self._lock.acquire(timeout=0.05):
            if cancel.is_set():
                yield Piece("", 0, "cancelled")
                return
        try:
            yield from self._generator.stream(ids, sampling, cancel=cancel)
        finally:
            self._lock.release()

    def _fit(self, messages: Sequence[Message], recalled: Sequence[RecalledLine], sampling: Sampling) -> Buffer:
        return fit_buffer(
            self.character,
            messages,
            recalled=recalled,
            user_name=self._config.character.user_name,
            tokenizer=self._generator.tokenizer,
            context_tokens=self.context_tokens,
            max_new_tokens=sampling.max_new_tokens,
        )

    def _check_scene(self, messages: Sequence[Message]) -> None:
        """Check the card and the last messages together: a scene is more than its newest line."""
        card = prompt.system_text(self.character, user_name=self._config.character.user_name)
        self._policy.check([card, *(m.content for m in messages[-_SCENE_MESSAGES:])], where="message")

    def _is_refused(self, scene: Sequence[Message | str]) -> bool:
        try:
            self._check_scene([m if isinstance(m, Message) else Message("assistant", m) for m in scene])
        except GuardError:
            return True
        return False

    def _require_session(self, session_id: str, user: str) -> None:
        known = self.sessions.list_sessions(character=self.model_id, user=user)
        if not any(info.id == session_id for info in known):
            raise ConfigError(f"there is no session '{session_id}'", action="Start a new one.")

    def _scope(self, user: str) -> Scope:
        return Scope(user=user, character=self.model_id)

    def _recall(self, question: str, session_id: str, user: str) -> tuple[RecalledLine, ...]:
        settings = self._config.memory
        if self.memory is None or not settings.num_recalled:
            return ()
        found = self.memory.recall(
            question, scope=self._scope(user), limit=settings.num_recalled, exclude_session=session_id
        )
        kept: list[RecalledLine] = []
        room = settings.max_recalled_tokens
        for line in found:
            room -= self._count(line.text)
            if room >= 0:
                kept.append(line)
        return tuple(kept)

    def _remember(self, message: Message, session_id: str, message_id: int, user: str) -> None:
        if self.memory is not None:
            stored = next(item for item in self.sessions.messages(session_id) if item.id == message_id)
            self.memory.add(
                message.content,
                speaker=message.role,
                scope=self._scope(user),
                session_id=session_id,
                message_id=message_id,
                said_at=stored.created_at,
            )

    def _count(self, text: str) -> int:
        render = self._generator.tokenizer.render
        with_text = render([Message("user", text)], add_generation_prompt=False)
        return len(with_text) - len(render([Message("user", "")], add_generation_prompt=False))


def slug(name: str) -> str:
    """Return a name as lower-case words joined by hyphens, such as `lila-quill`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "character"
