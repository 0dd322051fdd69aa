"""The bot: a model, its characters and their settings, with sessions and memory around them."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from duologue.characters import Character
from duologue.chat.answers import Answering, Answers
from duologue.chat.care import is_answered_with_care
from duologue.chat.cast import Cast, Member, slug
from duologue.chat.chain import Chain
from duologue.chat.completions import Completions, Making
from duologue.chat.context import Context
from duologue.chat.contexts import Contexts
from duologue.chat.counting import TokenCounter
from duologue.chat.drawing import Drawing
from duologue.chat.editor import Editor
from duologue.chat.own import Own
from duologue.chat.people import People
from duologue.chat.recollection import Recollection
from duologue.chat.sessions import Sessions, last_reply
from duologue.chat.stage import Stage
from duologue.chat.stream import ReplyStream, Voice
from duologue.chat.summaries import Summaries
from duologue.chat.tree import StoredMessage
from duologue.chat.turns import Turns, nothing_said
from duologue.chat.turnstile import Turnstile
from duologue.config import Config
from duologue.engine import Generator, Sampling, Tokenizer
from duologue.errors import GuardError
from duologue.guard import ContentPolicy, InputValidator, Judge, find_crisis
from duologue.memory import HostedMemory, MemoryStore, Receipt, Scope, StoredLine
from duologue.messages import Message

LOCAL_USER = "local"  # one person at this machine


class Bot:
    """Characters one can talk to. One reply is generated at a time; further callers wait in line.

    Attributes:
        character: The folder's own character.
        cast: Everyone who takes part in its chats.
        sessions: The saved conversations.
        memory: The long-term memory, or None when it is turned off.
        people: Names, personas and ways of drawing that users have set for themselves.
        editor: What can be changed in a chat: versions, edits, deletions, branches, greetings, notes.
        completions: Replies to conversations that the caller keeps.
    """

    def __init__(
        self,
        generator: Generator,
        character: Character | Cast,
        *,
        config: Config,
        sessions: Sessions,
        memory: MemoryStore | None,
        clock: Callable[[], float] = time.monotonic,
        is_trained: bool = False,
        hosted: HostedMemory | None = None,
        told: Sequence[str] = (),
        people: People | None = None,
        judge: Judge | None = None,
        num_replies: int = 1,
    ) -> None:
        """Put the parts together; `open_bot` opens them."""
        self.cast = character if isinstance(character, Cast) else Cast((Member.of(character),))
        self.character = self.cast.main.character
        self.sessions = sessions
        self.memory = memory
        self.people = people or People()
        self._told = tuple(told)
        self._config = config
        self._generator = generator
        self._validator = InputValidator(config.guard.max_input_chars)
        self._policy = ContentPolicy(config.guard.rating)
        self._recollection = Recollection(
            memory, sessions, config, cast=self.cast, user_name=self.user_name, hosted=hosted
        )
        self._recollection.catch_up(LOCAL_USER)
        self._counter = TokenCounter(generator.tokenizer)
        stage = Stage(
            self.cast,
            config,
            sessions=sessions,
            recollection=self._recollection,
            counter=self._counter,
            policy=self._policy,
            is_trained=is_trained,
        )
        self._drawing = Drawing(config, generator, cast=self.cast)
        self._judge = judge
        self._voice = Voice(generator, Turnstile(num_replies), self._policy, clock, config.guard.crisis_region, judge)
        self._contexts = Contexts(self._counter)
        self._summaries = Summaries(replace(self._voice, judge=None), self._counter, sessions, config, cast=self.cast)
        self.editor = Editor(
            self.cast,
            config,
            sessions=sessions,
            policy=self._policy,
            changed=self._changed,
            branched=self._recollection.follow_branch,
            user_name=self.user_name,
            model_id=self.model_id,
        )
        self._turns = Turns(self.cast, sessions, self.editor, model_id=self.model_id)
        parts = Answering(
            own=Own(stage, self._drawing),
            people=self.people,
            voice=self._voice,
            sessions=sessions,
            recollection=self._recollection,
            summaries=self._summaries,
            contexts=self._contexts,
            clock=clock,
        )
        self._answers = Answers(parts, model_id=self.model_id)
        making = Making(self._answers.own, self._counter, self._validator, self._policy, config.guard)
        self.completions = Completions(making, self.cast, self._answers.stream)

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
        return self._drawing.context_tokens

    def sampling(self) -> Sampling:
        """Return how replies are drawn."""
        return self._drawing.sampling

    @property
    def config(self) -> Config:
        """The configuration, with what was changed since it was opened."""
        return self._drawing.config

    def config_of(self, user: str) -> Config:
        """Return the configuration with what a user has set; the very same one for a user who has set nothing."""
        return self._answers.config_of(user)

    def user_name(self, user: str) -> str:
        """Return what `{{user}}` stands for in a user's chats."""
        return self.people.get(user).name or self._config.character.user_name

    def draw(self, *, preset: str = "", **values: str) -> tuple[str, ...]:
        """Draw replies in another way from now on; return the names of the settings this engine cannot honour.

        Args:
            preset: Take these settings.
            values: Keys of `[generation]` as they are written in duologue.toml.

        Raises:
            ConfigError: There is no such preset or key, or a value is wrong; nothing is changed.
        """
        self._drawing.change(values, preset=preset)
        return self.unsupported()

    def unsupported(self, sampling: Sampling | None = None) -> tuple[str, ...]:
        """Return the names of the sampler settings that would do something but that this engine cannot honour.

        Args:
            sampling: The settings; None for those in use.
        """
        return self._drawing.unsupported(sampling)

    @property
    def tokenizer(self) -> Tokenizer:
        """The vocabulary of the model."""
        return self._generator.tokenizer

    def new_session(self, *, user: str = "local", greeting: int = 0) -> str:
        """Make a session that begins with a greeting of the card and return its id.

        Args:
            user: Whose session it is.
            greeting: Which one, 0 for the first; the others are versions beside it.
        """
        return self.editor.new_session(user=user, greeting=greeting)

    # ------------------------------------------------------------------------------------------------------- replies

    def reply(
        self, session_id: str, text: str, *, cancel: threading.Event, user: str = "local", speaker: str = ""
    ) -> ReplyStream:
        """Store a user's message and reply to it. When this returns, the message is on disk.

        The reply itself begins when the first piece is asked for. In a chat of several the first of those who speak
        replies; `next_reply` gives the others.

        Args:
            session_id: As `new_session` returned it.
            text: What the user says.
            cancel: Set it to stop; what was said so far is kept.
            user: Whose session and memory it is.
            speaker: Who is to reply, by name; empty leaves it to the speaking order.

        Raises:
            GuardError: The message is refused or does not fit the context; nothing is stored.
            DataError: There is no such session, nobody is called so, or the message could not be stored.
        """
        wanted = self._turns.member(speaker)
        message_id = self.say(session_id, text, user=user)
        return self._answers.to(self._turns.reply_to(session_id, user, message_id, wanted=wanted), cancel)

    def replies(
        self, session_id: str, text: str, *, cancel: threading.Event, user: str = "local"
    ) -> ReplyStream | Chain:
        """Do as `reply`, and let everyone else who is to speak follow in the same stream.

        Raises:
            GuardError: As `reply`.
            DataError: As `reply`.
        """
        first = self.reply(session_id, text, cancel=cancel, user=user)
        if not self.cast.is_group:
            return first
        return Chain(first, lambda: self.next_reply(session_id, cancel=cancel, user=user), cancel)

    def say(self, session_id: str, text: str, *, user: str = "local") -> int:
        """Store a user's message without a reply and return its id.

        Raises:
            GuardError: The message is refused or does not fit the context; nothing is stored.
            DataError: There is no such session, or the message could not be stored.
        """
        self._turns.require(session_id, user)
        is_crisis = find_crisis(text)
        message = Message("user", self._validator.salvage(text) if is_crisis else self._validator.validate(text))
        earlier = self.sessions.path(session_id) or self.editor.greeting_as_said(user)
        path = (*earlier, StoredMessage(-1, message, "", (), ""))
        if not is_crisis:
            own = self._answers.own(user)
            own.stage.check(self._turns.of(session_id, user), path, room=own.drawing.room)
            self._check_tokens(message.content)
        if earlier and not earlier[0].id:
            self.sessions.append(session_id, earlier[0].message, finish_reason="stop")
        message_id = self.sessions.append(session_id, message)
        if is_crisis and self._config.guard.rating == "general" and not self._is_allowed(message.content):
            self.sessions.hide(message_id)  # it is answered, and what follows is not refused for it
        return message_id

    def next_reply(
        self, session_id: str, *, cancel: threading.Event, user: str = "local", speaker: str = ""
    ) -> ReplyStream | None:
        """Let the next character reply: one who is asked for, else who is still to reply to the user's last message.

        Args:
            session_id: The session.
            cancel: Set it to stop.
            user: Whose session it is.
            speaker: Who, by name; empty for whoever is still to speak.

        Returns:
            The reply, or None when nobody is still to speak.

        Raises:
            DataError: There is no such session, or nobody is called so.
        """
        if not speaker and is_answered_with_care(self.sessions.path(session_id)):
            return None
        turn = self._turns.next(session_id, user, speaker=speaker)
        return self._answers.to(turn, cancel) if turn else None

    def go_on(self, session_id: str, *, cancel: threading.Event, user: str = "local") -> ReplyStream:
        """Let a character speak although the user says nothing.

        Raises:
            GuardError: Nothing was said yet.
            DataError: There is no such session.
        """
        return self._answers.to(self._turns.unasked(session_id, user), cancel)

    def regenerate(
        self, session_id: str, *, cancel: threading.Event, user: str = "local", message_id: int | None = None
    ) -> ReplyStream:
        """Make another version of a reply; the old one stays beside it and is shown until the new one has a word.

        Args:
            session_id: The session.
            cancel: Set it to stop.
            user: Whose session it is.
            message_id: Which reply; None for the last one, or for the one that the last message still waits for.

        Raises:
            GuardError: There is no user message yet, or the message is no reply.
            DataError: There is no such session.
        """
        return self._answers.to(self._turns.again(session_id, user, message_id), cancel)

    def continue_reply(self, session_id: str, *, cancel: threading.Event, user: str = "local") -> ReplyStream:
        """Go on with the last reply where it ended.

        Raises:
            GuardError: The last message is no reply, or this engine cannot go on with one.
            DataError: There is no such session.
        """
        turn = self._turns.rest(session_id, user)
        if is_answered_with_care(self.sessions.path(session_id)):
            raise nothing_said("this answer is whole")
        if "continues" in self.unsupported():
            raise GuardError("this engine cannot go on with a reply", reason="unsupported", where="session")
        return self._answers.to(turn, cancel)

    def impersonate(self, session_id: str, *, cancel: threading.Event, user: str = "local") -> ReplyStream:
        """Write what the user might say next; nothing is stored.

        Raises:
            GuardError: Nothing was said yet.
            DataError: There is no such session.
        """
        return self._answers.for_user(self._turns.users_own(session_id, user), cancel)

    def edit_and_reply(
        self, session_id: str, message_id: int, text: str, *, cancel: threading.Event, user: str = "local"
    ) -> ReplyStream:
        """Say a user's message differently and reply to that; the old one and what followed stay beside it.

        Raises:
            GuardError: The text is refused, or the message is not the user's.
            DataError: There is no such session or message.
        """
        self._turns.require(session_id, user)
        if self.editor.find(session_id, message_id).message.role != "user":
            raise nothing_said("this message is not the user's")
        if not find_crisis(text):
            text = self._validator.validate(text)
            self._check_tokens(text)
        new_id = self.editor.edit_beside(session_id, message_id, text, user=user)
        return self._answers.to(self._turns.reply_to(session_id, user, new_id), cancel)

    # ------------------------------------------------------------------------------------------------- around replies

    def context(self, session_id: str, *, user: str = "local") -> Context:
        """Return the last prompt of a session part by part, or, before there was one, that of the next reply.

        Raises:
            DataError: There is no such session.
            GuardError: Nothing fits.
        """
        self._turns.require(session_id, user)
        if sent := self._contexts.find(session_id):
            return sent
        path = self.sessions.path(session_id)
        if path and path[-1].message.role == "assistant" and last_reply(path):
            path = path[:-1]
        is_asked = bool(path) and path[-1].message.role == "user"
        turn = self._turns.of(session_id, user)
        return self._answers.view(turn if is_asked else replace(turn, trigger="view"), path)

    def sent_context(self, session_id: str) -> Context | None:
        """Return the last prompt of a session if it was sent since the bot was opened; needs no model."""
        return self._contexts.find(session_id)

    def remind(self, session_id: str, words: str) -> None:
        """Recall for the next reply what bears on these words as well, whatever was recalled a short while ago."""
        self._answers.remind(session_id, words)

    def forget(self, memory_ids: Sequence[int], *, user: str = LOCAL_USER) -> Receipt:
        """Forget memories of the folder's own character, also where replies quote them; return the receipt."""
        assert self.memory is not None, "ask bot.memory first"
        receipt = self.memory.forget(list(memory_ids), scope=Scope(user, self.model_id))
        self.sessions.forget_recalled({*memory_ids, *receipt.ids})
        self._contexts.clear()
        return receipt

    def edit_memory(self, memory_id: int, text: str, *, user: str = LOCAL_USER) -> StoredLine:
        """Change what a memory of the folder's own character says, also where a copy of it is kept elsewhere.

        Raises:
            DataError: There is no such memory of this user.
            GuardError: The text is refused.
        """
        return self._recollection.edit(memory_id, text, scope=Scope(user, self.model_id))

    def hide_memory(self, memory_id: int, *, is_private: bool = True, user: str = LOCAL_USER) -> StoredLine:
        """Never recall a memory, or again; a copy of it elsewhere goes, or comes back.

        Raises:
            DataError: There is no such memory of this user.
        """
        return self._recollection.hide(memory_id, is_private=is_private, scope=Scope(user, self.model_id))

    def delete_session(self, session_id: str) -> None:
        """Delete a session and what is remembered of it, to the last byte."""
        self._recollection.forget_session(session_id)
        self.sessions.delete(session_id)
        self._contexts.drop(session_id)

    def settle(self) -> None:
        """Wait until memory has followed every chat and summaries are made."""
        self._summaries.settle()
        self._recollection.settle()

    def notices(self) -> tuple[str, ...]:
        """Return what a person should know: a file that was restored, a server that does not answer; each once."""
        told, self._told = self._told, ()
        judged = self._judge.notices() if self._judge else ()
        return (*told, *judged, *self._recollection.notices())

    def close(self) -> None:
        """End the replies that run, keeping what was said, then free the model and close sessions and memory."""
        self._summaries.close()
        self._answers.close()
        self._voice.turnstile.enter(threading.Event(), is_alone=True)
        try:
            self._recollection.end_work()
            self._generator.close()
            if self._judge:
                self._judge.close()
            self.sessions.close()
            self._recollection.close()
        finally:
            self._voice.turnstile.leave()

    # --------------------------------------------------------------------------------------------------------- parts

    def _check_tokens(self, text: str) -> None:
        self._counter.check(text, guard=self._config.guard, context_tokens=self.context_tokens)

    def _is_allowed(self, text: str) -> bool:
        try:
            self._policy.check([text], where="message")
        except GuardError:
            return False
        return True

    def _changed(self, session_id: str, user: str) -> None:
        self._contexts.drop(session_id)
        self._recollection.follow(session_id, user=user)
