"""What is said in a duel: typed, from a file, or drawn from the held-out conversations and the configured prompts."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from duologue.cli.output import Output
from duologue.cli.progress import show_progress
from duologue.config import Config
from duologue.data import load_splits
from duologue.errors import ConfigError, DataError
from duologue.messages import Conversation, Message

Turn = tuple[Message, ...]  # the user's message last


@dataclass
class Turns:
    """Where turns come from.

    Attributes:
        pool: Those that can be drawn.
        is_file: They are taken in their order, each once, and nothing is typed.
    """

    pool: Sequence[Turn]
    is_file: bool = False
    _left: list[Turn] = field(default_factory=list)
    _is_begun: bool = False

    def draw(self) -> Turn | None:
        """Return the next turn, none twice before all were there; None when a file is at its end."""
        if not self._left and not (self.is_file and self._is_begun):
            self._left = list(self.pool)
            if not self.is_file:
                random.SystemRandom().shuffle(self._left)
        self._is_begun = True
        return self._left.pop(0) if self._left else None


def turns_of_file(path: Path) -> tuple[Turn, ...]:
    """Return the lines of a text file; empty ones are none.

    Raises:
        ConfigError: The file cannot be read, or has no line.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"the file of turns cannot be read ({reason})", where=str(path)) from error
    turns = tuple((Message("user", line),) for line in lines if line)
    if not turns:
        raise ConfigError("there is no turn in this file", where=str(path), needed="at least one line of text")
    return turns


def held_out_turns(folder: Path, config: Config, out: Output) -> tuple[Turn, ...]:
    """Return the configured prompts, and each turn of the held-out conversations with what came before it.

    Data that cannot be read leaves the prompts: a duel needs no data.
    """
    prompts = tuple((Message("user", text),) for text in config.evaluation.prompts)
    try:
        with show_progress(out) as on_event:
            held_out = load_splits(config, folder, on_event=on_event).validation
    except (ConfigError, DataError) as error:
        out.say(f"no turns are drawn from the data: {error}", style="yellow")
        return prompts
    return (*prompts, *(turn for conversation in held_out for turn in _turns_in(conversation)))


def _turns_in(conversation: Conversation) -> list[Turn]:
    said = tuple(message for message in conversation.messages if message.role != "system")
    ends = [
        at
        for at in range(1, len(said))
        if said[at - 1].role == "user" and said[at].role == "assistant" and said[0].role == "user"
    ]
    return [said[:at] for at in ends]
