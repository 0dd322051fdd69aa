"""A conversation in the terminal: replies as they come, and commands that begin with a slash."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from duologue.chat import Bot, ReplyStream, StoredMessage
from duologue.cli.chat_commands import COMMANDS, help_text
from duologue.cli.output import Output
from duologue.errors import ConfigError, DuologueError
from duologue.messages import Reply


class TerminalChat:
    """One terminal, one session at a time.

    Attributes:
        bot: Who talks.
        out: Where it is shown.
        session_id: The session that is open.
    """

    def __init__(self, bot: Bot, out: Output, *, session_id: str) -> None:
        """Open a session, or a new one when `session_id` is empty.

        Raises:
            ConfigError: There is no such session.
        """
        self.bot = bot
        self.out = out
        known = [info.id for info in bot.sessions.list_sessions(character=bot.model_id)]
        if session_id and session_id not in known:
            raise ConfigError(f"there is no session '{session_id}'", action="Leave --session out for a new one.")
        self.session_id = session_id or bot.new_session()

    def run(self) -> None:
        """Talk until the person ends."""
        self.out.say(f"Talking to {self.bot.name}. /help lists the commands.\n")
        self.say_unsupported(self.bot.unsupported())
        self.show_history()
        while True:
            try:
                line = input("> ").strip()
            except (EOFError, KeyboardInterrupt):
                self.out.say(f"\nThis session is kept: duologue chat --session {self.session_id}")
                return
            if line in ("/quit", "/exit"):
                return
            with _refusals(self.out):
                self.take(line)
            for notice in self.bot.notices():
                self.out.say(f"({notice})", style="yellow")

    def take(self, line: str) -> None:
        """Do what a line says: a command, or something to be replied to."""
        name, _, argument = line.partition(" ")
        if line.startswith("/"):
            command = COMMANDS.get(name)
            if name == "/help":
                self.out.say(help_text())
            elif command is None:
                self.out.say(f"unknown command {name}; /help lists them")
            else:
                command.run(self, argument.strip())
        elif self.bot.cast.is_group and self.bot.cast.order == "manual":
            self.bot.say(self.session_id, line)
            self.out.say("(/as NAME lets somebody reply)", style="dim")
        else:
            self.show(lambda cancel: self.bot.reply(self.session_id, line, cancel=cancel))
            self.show_waiting()

    def say_once(self, message: str) -> dict[str, Any]:
        """Say one message and return the reply as JSON; text is printed as it comes.

        In a chat of several everyone who is to reply does; `reply` is the first of them, `replies` are all.

        Raises:
            GuardError: The message was refused.
        """
        streams = [self.bot.reply(self.session_id, message, cancel=threading.Event())]
        replies, speakers = [], []
        while streams:
            stream = streams.pop()
            for piece in stream:
                self._write(piece.text)
            self.out.say()
            replies.append(stream.reply)
            speakers.append(self._last_name())
            more = self.bot.next_reply(self.session_id, cancel=threading.Event()) if self.bot.cast.is_group else None
            streams += [more] if more else []
        self.bot.settle()
        return {
            "session": self.session_id,
            **_as_json(replies[0]),
            "replies": [{"speaker": name, **_as_json(reply)} for name, reply in zip(speakers, replies, strict=True)],
            "unsupported_settings": list(self.bot.unsupported()),
            "notices": list(self.bot.notices()),
            "context": self.bot.context(self.session_id).as_json(),
        }

    def show(self, start: Callable[[threading.Event], ReplyStream | None]) -> Reply | None:
        """Show a reply while it comes; Ctrl-C stops it. Nothing is shown where there is nothing to be said.

        Args:
            start: Asks for the reply; gets the event that stops it.
        """
        cancel = threading.Event()
        stream = start(cancel)
        if stream is None:
            return None
        pieces, is_begun = iter(stream), False
        while True:
            try:
                piece = next(pieces)
            except StopIteration:
                break
            except KeyboardInterrupt:
                cancel.set()
                continue
            if not is_begun:
                self.out.console.print(f"{stream.speaker or self.bot.name}: ", end="", markup=False, style="bold")
                is_begun = True
            self._write(piece.text)
        self.out.say("\n")
        self._say_figures(stream.reply)
        return stream.reply

    def show_waiting(self) -> None:
        """Let those reply who are still to reply."""
        is_group = self.bot.cast.is_group
        while is_group and self.show(lambda cancel: self.bot.next_reply(self.session_id, cancel=cancel)):
            pass

    def show_history(self) -> None:
        """Show the chat as it is, with the numbers that commands take."""
        for number, entry in enumerate(self.path(), start=1):
            self.out.say(f"{self._label(number, entry)} {entry.message.content}\n")

    def path(self) -> tuple[StoredMessage, ...]:
        """Return the chat as it is."""
        return self.bot.sessions.path(self.session_id)

    def message(self, text: str) -> StoredMessage:
        """Return the message of a number, as the history shows it.

        Raises:
            ConfigError: There is none.
        """
        path = self.path()
        if not text.isdecimal() or not 1 <= int(text) <= len(path):
            raise ConfigError(f"'{text}' is no message", needed=f"a number from 1 to {len(path)}, as /history shows it")
        return path[int(text) - 1]

    def name_of(self, entry: StoredMessage) -> str:
        """Return who said a message."""
        if entry.message.role == "user":
            return "You"
        return entry.speaker or self.bot.name

    def say_unsupported(self, names: tuple[str, ...]) -> None:
        """Say which settings the engine cannot honour."""
        if names:
            self.out.say(f"(this engine does not know: {', '.join(names)})", style="yellow")

    def open(self, session_id: str) -> None:
        """Go on with another session."""
        self.session_id = session_id
        self.show_history()

    def _label(self, number: int, entry: StoredMessage) -> str:
        swipes = f" [{entry.swipe}/{entry.num_swipes}]" if entry.num_swipes > 1 else ""
        hidden = " (hidden)" if entry.is_hidden else ""
        return f"{number}. {self.name_of(entry)}{swipes}{hidden}:"

    def _last_name(self) -> str:
        path = self.path()
        return self.name_of(path[-1]) if path else self.bot.name

    def _say_figures(self, reply: Reply) -> None:
        figures = [f"{reply.num_prompt_tokens} prompt tokens"]
        if reply.num_cached_tokens >= 0 and reply.num_prompt_tokens:
            figures.append(f"{reply.num_cached_tokens / reply.num_prompt_tokens:.0%} cached")
        if reply.recalled:
            figures.append(f"{len(reply.recalled)} recalled")
        if reply.num_forgotten_messages:
            figures.append(f"{reply.num_forgotten_messages} older messages no longer fit the context")
        self.out.say(f"({', '.join(figures)})", style="dim")

    def _write(self, text: str) -> None:
        self.out.console.print(text, end="", markup=False, soft_wrap=True)
        self.out.console.file.flush()


@contextlib.contextmanager
def _refusals(out: Output) -> Iterator[None]:
    """What is refused is said, and the conversation goes on."""
    try:
        yield
    except DuologueError as error:
        out.say(str(error), style="yellow")


def _as_json(reply: Reply) -> dict[str, Any]:
    return {
        "reply": reply.text,
        "finish_reason": reply.finish_reason,
        "num_prompt_tokens": reply.num_prompt_tokens,
        "num_cached_tokens": reply.num_cached_tokens,
        "num_reply_tokens": reply.num_reply_tokens,
        "num_forgotten_messages": reply.num_forgotten_messages,
        "first_token_seconds": reply.first_token_seconds,
        "tokens_per_second": reply.tokens_per_second,
        "recalled": [line.text for line in reply.recalled],
    }
