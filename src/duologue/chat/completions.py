"""Replies to conversations that the caller keeps, such as those of the API: nothing is stored or remembered."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from duologue.chat.buffer import Buffer, Room, fit_buffer
from duologue.chat.care import answer_to
from duologue.chat.cast import Cast
from duologue.chat.completion import CallersOwn, Conversation, checked, raw_buffer
from duologue.chat.counting import TokenCounter
from duologue.chat.drawing import Drawing
from duologue.chat.jobs import Passing
from duologue.chat.own import Own
from duologue.chat.stream import Job, ReplyStream
from duologue.chat.turn import Turn
from duologue.config import GuardSection
from duologue.engine import Sampling
from duologue.errors import GuardError
from duologue.guard import ContentPolicy, InputValidator, caring_answer
from duologue.messages import Message

StartStream = Callable[[Job, Sampling, threading.Event], ReplyStream]


@dataclass(frozen=True, slots=True)
class Making:
    """What prompts are made with: the parts of the bot that they share with its own chats.

    Attributes:
        own: Returns what makes and draws a user's prompts.
        counter: Counts tokens.
        validator: Checks every message.
        policy: What no prompt may hold.
        guard: How long messages may be, and whose helplines are named.
    """

    own: Callable[[str], Own]
    counter: TokenCounter
    validator: InputValidator
    policy: ContentPolicy
    guard: GuardSection


class Completions:
    """Replies of a character, or of its model alone, to what a caller sends. Methods raise before anything runs.

    Args:
        making: What prompts are made with.
        cast: The first of them replies.
        start: Makes the stream of a reply.
    """

    def __init__(self, making: Making, cast: Cast, start: StartStream) -> None:
        """Keep the parts."""
        self._making = making
        self._cast = cast
        self._start = start

    def sampling(self, *, user: str = "") -> Sampling:
        """Return how replies are drawn where a caller says nothing."""
        return self._making.own(user).drawing.sampling

    def of_character(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        cancel: threading.Event,
        user: str = "",
        goes_on: bool = True,
        has_memory: bool = True,
    ) -> ReplyStream:
        """Reply as the character, with card, lore and memory.

        Args:
            messages: Oldest first; a system message at the front replaces the card's text. A reply at the end is gone
                on with.
            sampling: How to draw; a reply never takes more than half of the context.
            cancel: Set it to stop.
            user: Whose memories are recalled, and whose name and persona are told; empty recalls none.
            goes_on: False answers a reply at the end with another one.
            has_memory: False recalls nothing.

        Raises:
            GuardError: A message is refused, the last one does not fit the context, or this engine cannot go on.
        """
        own = self._making.own(user)
        asked = self._checked(messages, sampling, goes_on=goes_on)
        if answer := answer_to(asked.said, self._making.guard.crisis_region):
            return self._start(_answering(answer), sampling, cancel)
        path = asked.path()
        ready = own.stage.ready(
            Turn("", user, self._cast.main, path[-1].id),
            path,
            room=_room(own.drawing, sampling),
            caller=CallersOwn(asked.system, asked.opening, has_memory=has_memory and bool(user)),
        )
        buffer = ready.prepared.buffer
        self._check_tokens(asked)
        beside = self._card(user) if asked.system else ()
        job = Passing(lambda: buffer, asked.opening, ready.recalled, beside=beside)
        return self._stream(buffer, sampling, cancel, job)

    def of_model(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        cancel: threading.Event,
        goes_on: bool = True,
        is_tuned: bool = False,
    ) -> ReplyStream:
        """Let the model itself reply: without card, lore and memory.

        Args:
            messages: As for `of_character`.
            sampling: As for `of_character`.
            cancel: Set it to stop.
            goes_on: As for `of_character`.
            is_tuned: The model was tuned on the character, whose card so counts as part of the scene.

        Raises:
            GuardError: As `of_character`.
        """
        asked = self._checked(messages, sampling, goes_on=goes_on)
        if answer := answer_to(asked.said, self._making.guard.crisis_region):
            return self._start(_answering(answer), sampling, cancel)
        buffer = fit_buffer(asked.bare_scene(), counter=self._making.counter, room=_room(self._drawing, sampling))
        self._check_tokens(asked)
        job = Passing(lambda: buffer, asked.opening, beside=self._card("") if is_tuned else ())
        return self._stream(buffer, sampling, cancel, job)

    def with_care(self, *, cancel: threading.Event) -> ReplyStream:
        """Answer a message of someone in a crisis (`is_urgent`), whatever else was said; no model is asked."""
        answer = caring_answer(self._making.guard.crisis_region)
        return self._start(Passing(lambda: Buffer((), ()), answer=answer), Sampling(), cancel)

    def of_text(self, text: str, sampling: Sampling, *, cancel: threading.Event, is_tuned: bool = False) -> ReplyStream:
        """Let the model itself go on with a text, in which marks of its chat template are read as such.

        Args:
            text: The whole prompt.
            sampling: As for `of_character`.
            cancel: Set it to stop.
            is_tuned: As for `of_model`.

        Raises:
            GuardError: The text is refused or does not fit the context.
            DataError: This engine's vocabulary is not known here.
        """
        buffer = raw_buffer(text, self._drawing.tokenizer, room=_room(self._drawing, sampling))
        job = Passing(lambda: buffer, beside=self._card("") if is_tuned else ())
        return self._stream(buffer, sampling, cancel, job)

    @property
    def _drawing(self) -> Drawing:
        return self._making.own("").drawing

    def _card(self, user: str) -> tuple[str, ...]:
        return self._making.own(user).stage.told(self._cast.main)

    def _checked(self, messages: Sequence[Message], sampling: Sampling, *, goes_on: bool) -> Conversation:
        context_tokens = self._drawing.context_tokens
        asked = checked(messages, self._making.validator, context_tokens=context_tokens, goes_on=goes_on)
        if asked.opening and "continues" in self._drawing.unsupported(sampling):
            raise GuardError("this engine cannot go on with a reply", reason="unsupported", where="messages")
        return asked

    def _check_tokens(self, asked: Conversation) -> None:
        making, drawing = self._making, self._drawing
        making.counter.check(asked.said[-1].content, guard=making.guard, context_tokens=drawing.context_tokens)

    def _stream(self, buffer: Buffer, sampling: Sampling, cancel: threading.Event, job: Passing) -> ReplyStream:
        scene = [*job.beside, *(message.content for message in buffer.messages)]
        self._making.policy.check(scene, where="message")
        return self._start(job, self._drawing.bounded(sampling), cancel)


def _answering(answer: str) -> Passing:
    return Passing(lambda: Buffer((), ()), answer=answer)


def _room(drawing: Drawing, sampling: Sampling) -> Room:
    return Room(drawing.context_tokens, drawing.bounded(sampling).max_new_tokens)
