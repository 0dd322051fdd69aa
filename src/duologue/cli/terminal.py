"""A conversation in the terminal: streaming, history, a few commands that begin with a slash."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from duologue.chat import Bot, ReplyStream
from duologue.cli.output import Output
from duologue.errors import ConfigError, GuardError

HELP = """\
/help             this list
/new              start a new session
/sessions         earlier sessions
/open NUMBER      go on with an earlier session
/history          the session so far
/regenerate       another reply to the last message
/recalled         what was remembered for the last reply
/quit             end (also Ctrl-D); Ctrl-C stops a reply"""


class TerminalChat:
    """One terminal, one session at a time."""

    def __init__(self, bot: Bot, out: Output, *, session_id: str) -> None:
        """Open a session, or a new one when `session_id` is empty.

        Raises:
            ConfigError: There is no such session.
        """
        self._bot = bot
        self._out = out
        known = [info.id for info in bot.sessions.list_sessions(character=bot.model_id)]
        if session_id and session_id not in known:
            raise ConfigError(f"there is no session '{session_id}'", action="Leave --session out for a new one.")
        self._session_id = session_id or bot.new_session()
        self._commands: dict[str, Callable[[str], None]] = {
            "/help": lambda _: self._out.say(HELP),
            "/new": self._new,
            "/sessions": self._sessions,
            "/open": self._open,
            "/history": self._history,
            "/regenerate": lambda _: self._show(self._bot.regenerate, self._session_id),
            "/recalled": self._recalled,
        }

    def run(self) -> None:
        """Talk until the person ends."""
        self._out.say(f"Talking to {self._bot.name}. /help lists the commands.\n")
        self._history("")
        while True:
            try:
                line = input("> ").strip()
            except (EOFError, KeyboardInterrupt):
                self._out.say(f"\nThis session is kept: duologue chat --session {self._session_id}")
                return
            if line in ("/quit", "/exit"):
                return
            name, _, argument = line.partition(" ")
            with _refusals(self._out):
                if name in self._commands:
                    self._commands[name](argument.strip())
                elif line.startswith("/"):
                    self._out.say(f"unknown command {name}; /help lists them")
                else:
                    self._show(self._bot.reply, self._session_id, line)

    def say_once(self, message: str) -> dict[str, Any]:
        """Say one message and return the reply as JSON; text is printed as it comes.

        Raises:
            GuardError: The message was refused.
        """
        stream = self._bot.reply(self._session_id, message, cancel=threading.Event())
        for piece in stream:
            self._write(piece.text)
        self._out.say()
        reply = stream.reply
        return {
            "session": self._session_id,
            "reply": reply.text,
            "finish_reason": reply.finish_reason,
            "num_prompt_tokens": reply.num_prompt_tokens,
            "num_reply_tokens": reply.num_reply_tokens,
            "num_forgotten_messages": reply.num_forgotten_messages,
            "first_token_seconds": reply.first_token_seconds,
            "tokens_per_second": reply.tokens_per_second,
            "recalled": [line.text for line in reply.recalled],
        }

    def _show(self, start: Callable[..., ReplyStream], *arguments: str) -> None:
        cancel = threading.Event()
        stream = start(*arguments, cancel=cancel)
        self._out.console.print(f"{self._bot.name}: ", end="", markup=False, style="bold")
        pieces = iter(stream)
        while True:
            try:
                piece = next(pieces)
            except StopIteration:
                break
            except KeyboardInterrupt:
                cancel.set()
                continue
            self._write(piece.text)
        self._out.say("\n")
        if stream.reply.num_forgotten_messages:
            self._out.say(
                f"({stream.reply.num_forgotten_messages} older messages no longer fit the context)",
                style="dim",
            )

    def _write(self, text: str) -> None:
        self._out.console.print(text, end="", markup=False, soft_wrap=True)
        self._out.console.file.flush()

    def _new(self, _: str) -> None:
        self._session_id = self._bot.new_session()
        self._history("")

    def _sessions(self, _: str) -> None:
        for number, info in enumerate(self._bot.sessions.list_sessions(character=self._bot.model_id), start=1):
            self._out.say(f"{number:>4}  {info.updated_at[:16]}  {info.num_messages} messages  {info.title}")

    def _open(self, argument: str) -> None:
        known = self._bot.sessions.list_sessions(character=self._bot.model_id)
        if not argument.isdecimal() or not 1 <= int(argument) <= len(known):
            self._out.say("expected a number as /sessions shows it")
            return
        self._session_id = known[int(argument) - 1].id
        self._history("")

    def _history(self, _: str) -> None:
        for stored in self._bot.sessions.messages(self._session_id):
            speaker = self._bot.name if stored.message.role == "assistant" else "You"
            self._out.say(f"{speaker}: {stored.message.content}\n")

    def _recalled(self, _: str) -> None:
        stored = self._bot.sessions.messages(self._session_id)
        lines = stored[-1].recalled if stored else ()
        for line in lines:
            self._out.say(f"{line.said_at[:16]}  {line.speaker}: {line.text}")
        if not lines:
            self._out.say("nothing was recalled")


@contextlib.contextmanager
def _refusals(out: Output) -> Iterator[None]:
    """A refused message is said and the conversation goes on."""
    try:
        yield
    except GuardError as error:
        out.say(str(error), style="yellow")
