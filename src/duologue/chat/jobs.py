"""What a reply is made from and where it goes: an answer that nobody keeps, or one that belongs to a session."""

from collections.abc import Callable
from dataclasses import dataclass

from duologue.chat.buffer import Buffer
from duologue.chat.recollection import Recollection
from duologue.chat.sessions import Sessions, StoredMessage, utc_now
from duologue.messages import Message, Reply

SAVE_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Passing:
    """A reply that is neither stored nor remembered.

    Attributes:
        buffer: The prompt.
    """

    buffer: Buffer

    def prepare(self) -> Buffer:
        """Return the prompt."""
        return self.buffer

    def grown(self, text: str) -> None:
        """Keep nothing."""

    def finished(self, reply: Reply) -> None:
        """Keep nothing."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The turn a stored reply belongs to.

    Attributes:
        session_id: Its session.
        user: Whose session it is.
        question: The user's message, which is stored already.
        replaced_id: The reply that the new one replaces; None when there is none.
    """

    session_id: str
    user: str
    question: StoredMessage
    replaced_id: int | None = None


class StoredReply:
    """A reply that is saved while it grows and remembered when it is finished."""

    def __init__(
        self,
        turn: Turn,
        sessions: Sessions,
        *,
        recollection: Recollection,
        prepare: Callable[[Turn], Buffer],
        clock: Callable[[], float],
    ) -> None:
        """Bind the parts; the first text makes the row."""
        self._turn = turn
        self._sessions = sessions
        self._recollection = recollection
        self._prepare = prepare
        self._clock = clock
        self._buffer: Buffer | None = None
        self._message_id: int | None = None
        self._saved_at = 0.0

    def prepare(self) -> Buffer:
        """Return the prompt, made from the session as it is now."""
        self._buffer = self._prepare(self._turn)
        return self._buffer

    def grown(self, text: str) -> None:
        """Save the text at its beginning and then every second."""
        if text.strip() and (self._message_id is None or self._clock() - self._saved_at >= SAVE_EVERY_SECONDS):
            self._save(text.strip(), finish_reason="")

    def finished(self, reply: Reply) -> None:
        """Save the whole reply, then remember the turn; a reply stopped before its first word leaves no row."""
        if reply.finish_reason != "cancelled" or self._message_id is not None or reply.text:
            self._save(reply.text, finish_reason=reply.finish_reason)
        if reply.finish_reason != "content_filter":
            self._remember(reply.text)

    def _save(self, text: str, *, finish_reason: str) -> None:
        if self._message_id is None:
            recalled = self._buffer.recalled if self._buffer else ()
            self._message_id = self._sessions.append(
                self._turn.session_id, Message("assistant", text), recalled=recalled, finish_reason=finish_reason
            )
            self._remove_replaced()
        else:
            self._sessions.update(self._message_id, text, finish_reason)
        self._saved_at = self._clock()

    def _remove_replaced(self) -> None:
        """Only now: until the new reply has its first word on disk, the old one stays."""
        if self._turn.replaced_id is not None:
            self._sessions.delete_message(self._turn.replaced_id)
            self._recollection.forget_message(self._turn.replaced_id, session_id=self._turn.session_id)

    def _remember(self, reply_text: str) -> None:
        turn, question = self._turn, self._turn.question
        self._recollection.remember(
            question.message.content,
            speaker="user",
            user=turn.user,
            session_id=turn.session_id,
            message_id=question.id,
            said_at=question.created_at,
        )
        if self._message_id is not None:
            self._recollection.remember(
                reply_text,
                speaker="assistant",
                user=turn.user,
                session_id=turn.session_id,
                message_id=self._message_id,
                said_at=utc_now(),
            )
