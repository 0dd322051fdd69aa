"""The short-term buffer: as much of the session's end as fits the context, never a token more.

What leaves, in this order: the oldest messages, then recalled lines (the least relevant first). The system text and the
newest message never leave.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from duologue import prompt
from duologue.characters import Character
from duologue.engine import Tokenizer
from duologue.errors import GuardError
from duologue.messages import Message, RecalledLine


@dataclass(frozen=True, slots=True)
class Buffer:
    """A prompt that fits.

    Attributes:
        prompt_ids: Token ids to send.
        recalled: The recalled lines that are part of it.
        num_forgotten_messages: Messages of the session that did not fit.
    """

    prompt_ids: tuple[int, ...]
    recalled: tuple[RecalledLine, ...]
    num_forgotten_messages: int


def fit_buffer(
    character: Character,
    messages: Sequence[Message],
    *,
    recalled: Sequence[RecalledLine],
    user_name: str,
    tokenizer: Tokenizer,
    context_tokens: int,
    max_new_tokens: int,
) -> Buffer:
    """Return the longest prompt that leaves room for the reply.

    Raises:
        GuardError: System text and newest message alone are too long (`too_long_for_context`).
    """
    room = context_tokens - max_new_tokens
    spoken = _merged(messages)

    def render(num_left_out: int, lines: Sequence[RecalledLine]) -> tuple[int, ...]:
        kept = [*spoken.system, *spoken.turns[num_left_out:]]
        built = prompt.build(character, kept, user_name=user_name, recalled=lines)
        return tokenizer.render(built, add_generation_prompt=True)

    starts = spoken.starts()
    for num_lines in range(len(recalled), -1, -1):
        lines = tuple(recalled[:num_lines])
        if len(render(starts[-1], lines)) > room:
            continue  # not even the newest message fits beside these lines
        low, high = 0, len(starts) - 1  # the first start from which everything fits
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if len(render(starts[middle], lines)) <= room else (middle + 1, high)
        return Buffer(render(starts[low], lines), lines, starts[low])
    found = len(render(starts[-1], ()))
    raise GuardError(
        f"the message and the character's card are {found} tokens long",
        reason="too_long_for_context",
        needed=f"at most {room} tokens (context {context_tokens} less {max_new_tokens} for the reply)",
        action="Send a shorter message.",
    )


@dataclass(frozen=True, slots=True)
class _Spoken:
    system: tuple[Message, ...]
    turns: tuple[Message, ...]

    def starts(self) -> list[int]:
        """Return the places a prompt may begin at: the very first message, then each user message."""
        users = [at for at, message in enumerate(self.turns) if message.role == "user" and at > 0]
        return [0, *users]


def _merged(messages: Sequence[Message]) -> _Spoken:
    """Join neighbours of one role (a reply was lost to a crash) and leave out empty messages."""
    system = tuple(message for message in messages[:1] if message.role == "system")
    turns: list[Message] = []
    for message in messages[len(system) :]:
        if not message.content.strip():
            continue
        if turns and turns[-1].role == message.role:
            turns[-1] = Message(message.role, f"{turns[-1].content}\n{message.content}")
        else:
            turns.append(message)
    return _Spoken(system, tuple(turns))
