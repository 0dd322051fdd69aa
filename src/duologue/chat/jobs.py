"""What a reply is made from and where it goes: an answer that nobody keeps, or one that belongs to a session."""

from collections.abc import Callable
from dataclasses import dataclass

from duologue.chat.buffer import Buffer
from duologue.chat.sessions import Sessions
from duologue.chat.stage import Ready
from duologue.chat.turn import Turn
from duologue.errors import DataError
from duologue.messages import Message, RecalledLine, Reply

SAVE_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Passing:
    """A reply that is neither stored nor remembered.

    Attributes:
        make: Makes the prompt when the reply's turn has come.
        prefix: What the reply goes on from; empty for one that begins.
        recalled: The memory lines in the prompt.
        answer: The whole reply, where no model is asked; empty asks the model.
        chat: None.
        beside: Texts that belong to the scene and are not in the prompt.
    """

    make: Callable[[], Buffer]
    prefix: str = ""
    recalled: tuple[RecalledLine, ...] = ()
    answer: str = ""
    chat: str = ""
    beside: tuple[str, ...] = ()

    def prepare(self) -> Buffer:
        """Return the prompt."""
        return self.make()

    def grown(self, text: str) -> None:
        """Keep nothing."""

    def finished(self, reply: Reply) -> None:
        """Keep nothing."""


class StoredReply:
    """A reply that is saved while it grows.

    Args:
        turn: What it replies to.
        sessions: Where it is kept.
        prepare: Makes the prompt from the session as it is when the reply's turn has come.
        after: Hears of the end, whatever it was; the prompt is None when there never was one.
        clock: Seconds that only go forward.
        answer: The whole reply, where no model is asked; empty asks the model.
    """

    def __init__(
        self,
        turn: Turn,
        sessions: Sessions,
        *,
        prepare: Callable[[Turn], Ready],
        after: Callable[[Turn, Ready | None, Reply], None],
        clock: Callable[[], float],
        answer: str = "",
    ) -> None:
        """Bind the parts; the first text makes the row."""
        self._turn = turn
        self._sessions = sessions
        self._prepare = prepare
        self._after = after
        self._clock = clock
        self.answer = answer
        self._ready: Ready | None = None
        self._goes_on = turn.trigger == "continue" and turn.replaced is not None
        self._message_id = turn.replaced.id if self._goes_on and turn.replaced else None
        self._saved_at = 0.0

    @property
    def chat(self) -> str:
        """The session."""
        return self._turn.session_id

    @property
    def beside(self) -> tuple[str, ...]:
        """Texts of the scene that are not in the prompt: none, as it holds the card."""
        return ()

    @property
    def prefix(self) -> str:
        """The reply that is gone on with; empty for another one."""
        return self._turn.replaced.message.content if self._goes_on and self._turn.replaced else ""

    @property
    def recalled(self) -> tuple[RecalledLine, ...]:
        """The memory lines that were put into the prompt for this reply."""
        return self._ready.recalled if self._ready else ()

    def prepare(self) -> Buffer:
        """Return the prompt, made from the session as it is now."""
        self._ready = self._prepare(self._turn)
        return self._ready.prepared.buffer

    def grown(self, text: str) -> None:
        """Save the text at its beginning and then every second."""
        is_first = self._message_id is None or self._saved_at == 0.0
        if text.strip() and (is_first or self._clock() - self._saved_at >= SAVE_EVERY_SECONDS):
            self._save((self.prefix + text).strip(), finish_reason="")

    def finished(self, reply: Reply) -> None:
        """Save the whole reply; one stopped before its first word leaves no row."""
        if self._goes_on and reply.finish_reason == "content_filter":
            assert self._turn.replaced is not None
            self._save(self.prefix, finish_reason=self._turn.replaced.finish_reason)
        elif reply.finish_reason != "cancelled" or self._message_id is not None or reply.text:
            self._save(reply.text, finish_reason=reply.finish_reason)
        self._after(self._turn, self._ready, reply)

    def _save(self, text: str, *, finish_reason: str) -> None:
        if self._message_id is None:
            self._message_id = self._sessions.append(
                self._turn.session_id,
                Message("assistant", text),
                recalled=self.recalled,
                finish_reason=finish_reason,
                speaker=self._turn.speaker,
                parent_id=self._parent_id(),
                is_generated=not self.answer,
            )
        else:
            self._sessions.update(self._message_id, text, finish_reason)
        self._saved_at = self._clock()

    def _parent_id(self) -> int | None:
        """Return where the reply goes: beside the one it is a version of, else behind what was said meanwhile."""
        turn = self._turn
        if turn.trigger == "swipe" and turn.replaced is not None:
            return turn.replaced.parent_id
        path = self._sessions.path(turn.session_id)
        if path and path[-1].id != turn.after_id and any(entry.id == turn.after_id for entry in path):
            return None
        return turn.after_id


def gone(session_id: str) -> DataError:
    """Return the error for a reply whose question was deleted while it waited."""
    return DataError("the message to reply to is no longer part of the chat", where=f"session {session_id}")
