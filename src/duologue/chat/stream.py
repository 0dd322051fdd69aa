"""A reply while it is being made: waits for its turn, streams, is checked against the policy, and always ends in order.

A stream may come to its end, be cancelled, be closed early or fail. Each time its job hears of it exactly once, before
the next reply begins and before the last piece is handed out.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Generator as PieceGenerator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Protocol

from duologue.chat.buffer import Buffer
from duologue.chat.turnstile import Turnstile
from duologue.engine import Generator, Piece, Sampling
from duologue.errors import GuardError
from duologue.guard import ContentPolicy, Judge, Verdict, caring_answer, encourages_self_harm
from duologue.messages import FinishReason, Message, RecalledLine, Reply

WITHHELD = "This reply was withheld by the content policy."
_CHECK_EVERY_CHARS = 80  # a sentence without an end is checked at its words
_SENTENCE_ENDS = (".", "!", "?", "\n", "…", "。", "\uff01", "\uff1f")


@dataclass(frozen=True, slots=True)
class Voice:
    """What all replies of a bot share.

    Attributes:
        generator: The model.
        turnstile: Lets one reply at a time to it, or as many as it can make.
        policy: What every reply is checked against.
        clock: Seconds that only go forward.
        region: Whose helplines are named.
        judge: A model that is asked as well; None asks none.
    """

    generator: Generator
    turnstile: Turnstile
    policy: ContentPolicy
    clock: Callable[[], float]
    region: str = "international"
    judge: Judge | None = None


class Job(Protocol):
    """What a reply is made from and where it goes."""

    @property
    def prefix(self) -> str:
        """What the reply goes on from; empty for one that begins."""
        ...

    @property
    def chat(self) -> str:
        """The chat it belongs to, in which one reply is made after the other; empty when it belongs to none."""
        ...

    @property
    def recalled(self) -> tuple[RecalledLine, ...]:
        """The memory lines that were put into the prompt for this reply."""
        ...

    @property
    def beside(self) -> tuple[str, ...]:
        """Texts that belong to the scene and are not in the prompt, such as a card that a caller has replaced."""
        ...

    @property
    def answer(self) -> str:
        """The whole reply, where no model is asked; empty asks the model."""
        ...

    def prepare(self) -> Buffer:
        """Return the prompt; called when the reply's turn has come."""
        ...

    def grown(self, text: str) -> None:
        """Take note of the text so far."""
        ...

    def finished(self, reply: Reply) -> None:
        """Take note of the end, whatever it was."""
        ...


class ReplyStream:
    """Iterate once over the pieces, or `close` it; `reply` is there afterwards. Until then the next reply waits.

    The last piece carries the finish reason. On `content_filter` the reply's text is a notice that replaces everything
    streamed so far.

    Attributes:
        speaker: Name of who speaks.
    """

    def __init__(
        self, job: Job, voice: Voice, *, sampling: Sampling, cancel: threading.Event, speaker: str = ""
    ) -> None:
        """Bind the parts; nothing runs before the first piece is asked for."""
        self.speaker = speaker
        self._job = job
        self._voice = voice
        self._sampling = sampling
        self._cancel = cancel
        self._text = ""
        self._num_tokens = 0
        self._num_cached_tokens = -1
        self._num_checked_chars = 0
        self._is_harmful = False
        self._finish_reason: FinishReason = "cancelled"  # what stays when nobody waits for the end
        self._started = voice.clock()
        self._first_token_seconds = 0.0
        self._buffer: Buffer | None = None
        self._reply: Reply | None = None
        self._pieces = self._run()

    def __iter__(self) -> Iterator[Piece]:
        """Return the stream itself."""
        return self

    def __next__(self) -> Piece:
        """Return the next piece.

        Raises:
            GuardError: The prompt no longer fits, because the session grew while this reply waited.
            EngineError: Generation failed.
            DataError: The reply could not be stored.
        """
        return next(self._pieces)

    @property
    def reply(self) -> Reply:
        """The finished reply."""
        assert self._reply is not None, "iterate over the stream to its end first"
        return self._reply

    def read(self) -> Reply:
        """Wait for the end and return the reply; raises what iterating raises."""
        for _ in self:
            pass
        return self.reply

    def close(self) -> None:
        """Stop here: what was said so far is kept as a cancelled reply. Any thread may call it."""
        self._cancel.set()
        with suppress(ValueError):  # another thread is inside the stream; it will see `cancel`
            self._pieces.close()

    def _run(self) -> PieceGenerator[Piece, None, None]:
        if self._job.answer:
            yield from self._give_answer()
            return
        last = Piece("", 0, "cancelled")
        is_inside = self._voice.turnstile.enter(self._cancel, chat=self._job.chat)
        try:
            if is_inside:
                with closing(self._generate()) as pieces:
                    for piece in pieces:
                        if piece.finish_reason is not None:
                            last = piece
                            break
                        yield piece
        finally:
            try:
                self._finish()
            finally:
                if is_inside:
                    self._voice.turnstile.leave(chat=self._job.chat)
        yield last

    def _give_answer(self) -> PieceGenerator[Piece, None, None]:
        """Say what was there before anybody asked a model; it waits for nobody and cannot be stopped halfway."""
        self._text, self._finish_reason = self._job.answer, "stop"
        self._finish()
        yield Piece(self._text, 0)
        yield Piece("", 0, "stop")

    def _generate(self) -> PieceGenerator[Piece, None, None]:
        self._buffer = self._job.prepare()
        if not self._is_fine(self._buffer.messages):
            if self._finish_reason == "stop":
                yield Piece(self._text, 0)
            yield Piece("", 0, self._finish_reason)
            return
        pieces = self._voice.generator.stream(self._buffer.prompt_ids, self._sampling, cancel=self._cancel)
        has_ended = False
        try:
            for piece in pieces:
                if self._num_tokens == 0:
                    self._first_token_seconds = self._voice.clock() - self._started
                self._text += piece.text
                self._num_tokens = piece.num_tokens
                self._num_cached_tokens = max(self._num_cached_tokens, piece.num_cached_tokens)
                has_ended = piece.finish_reason is not None
                if not self._passes(has_ended=has_ended):
                    yield Piece("", self._num_tokens, self._finish_reason)
                    return
                if piece.finish_reason is not None:
                    self._finish_reason = piece.finish_reason
                else:
                    self._job.grown(self._text)
                yield piece
        finally:
            if not has_ended:
                self._cancel.set()
            for _ in pieces:  # the engine gets to its own end before the next reply begins
                pass

    def _passes(self, *, has_ended: bool) -> bool:
        """Check the text so far and, once it is whole, ask the judge; withhold it where it does not pass."""
        if not self._is_allowed(upto=len(self._text) if has_ended else self._whole_words()):
            self._withhold()
            return False
        if has_ended and self._text.strip() and self._buffer is not None:
            reply = Message("assistant", self._job.prefix + self._text)
            return self._is_fine([*self._buffer.messages, reply])
        return True

    def _is_fine(self, messages: Sequence[Message]) -> bool:
        """Ask the judge about the last message; where it is not fine, put the answer in place of the reply."""
        judge = self._voice.judge
        verdict = judge.judge(messages) if judge else Verdict()
        if verdict.is_crisis and messages[-1].role == "user":
            self._text, self._finish_reason = caring_answer(self._voice.region), "stop"
            return False
        if verdict.refused or verdict.is_crisis:
            self._is_harmful = verdict.is_crisis
            self._withhold()
            return False
        return True

    def _whole_words(self) -> int:
        """Return how much can be checked now: to the last sentence end, or to the last space after many characters."""
        end = max(self._text.rfind(mark) for mark in _SENTENCE_ENDS) + 1
        if len(self._text) - max(end, self._num_checked_chars) >= _CHECK_EVERY_CHARS:
            end = max(end, self._text.rfind(" "))
        return end

    def _is_allowed(self, *, upto: int) -> bool:
        if upto <= self._num_checked_chars or self._buffer is None:
            return True
        self._num_checked_chars = upto
        scene = [*self._job.beside, *(message.content for message in self._buffer.messages)]
        said = self._job.prefix + self._text[:upto]
        try:
            self._voice.policy.check([*scene, said], where="reply")
        except GuardError:
            return False
        self._is_harmful = encourages_self_harm(said)
        return not self._is_harmful

    def _withhold(self) -> None:
        self._text, self._finish_reason = WITHHELD, "content_filter"
        if self._is_harmful:
            self._text = f"{WITHHELD}\n\n{caring_answer(self._voice.region)}"

    def _finish(self) -> None:
        if self._finish_reason == "cancelled" and not self._is_allowed(upto=len(self._text)):
            self._withhold()
        buffer = self._buffer
        is_withheld = self._finish_reason == "content_filter"
        text = self._text if is_withheld else self._job.prefix + self._text
        self._reply = Reply(
            text=text.strip(),
            finish_reason=self._finish_reason,
            num_prompt_tokens=len(buffer.prompt_ids) if buffer else 0,
            num_reply_tokens=self._num_tokens,
            num_forgotten_messages=buffer.num_forgotten_messages if buffer else 0,
            first_token_seconds=self._first_token_seconds,
            total_seconds=self._voice.clock() - self._started,
            recalled=self._job.recalled if buffer else (),
            num_cached_tokens=self._num_cached_tokens,
        )
        self._job.finished(self._reply)
