"""The short-term buffer: as much of a session's end as fits the context, never a token more.

What leaves, in this order: the oldest turns, then the recalled lines, the least relevant first. The system text and the
newest user message never leave.
"""

from collections.abc import Callable, Sequence
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
        messages: The messages they were rendered from.
        recalled: The recalled lines that are part of it.
        num_forgotten_messages: Messages of the session that did not fit.
        num_dropped_recalled: Recalled lines that did not fit.
    """

    prompt_ids: tuple[int, ...]
    messages: tuple[Message, ...]
    recalled: tuple[RecalledLine, ...]
    num_forgotten_messages: int
    num_dropped_recalled: int


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
    """Return the longest prompt that leaves room for the reply; it begins with a whole turn.

    Args:
        character: Whose card supplies the system text, unless the conversation brings its own.
        messages: The conversation, oldest first; empty ones are left out, neighbours of one role are joined.
        recalled: Lines from memory, best first.
        user_name: What `{{user}}` stands for.
        tokenizer: Of the model that will reply.
        context_tokens: Prompt and reply together.
        max_new_tokens: Room that is kept for the reply.

    Raises:
        GuardError: System text and newest user message alone are too long (reason `too_long_for_context`).
    """
    room = context_tokens - max_new_tokens
    num_system = 1 if messages and messages[0].role == "system" else 0
    spoken = messages[num_system:]

    def fitted(start: int, lines: Sequence[RecalledLine]) -> Buffer:
        kept = [*messages[:num_system], *_alternating(spoken[start:])]
        built = prompt.build(character, kept, user_name=user_name, recalled=lines)
        ids = tokenizer.render(built, add_generation_prompt=True)
        return Buffer(ids, built, tuple(lines), start, len(recalled) - len(lines))

    starts = _starts(spoken)
    for num_lines in range(len(recalled), -1, -1):
        lines = recalled[:num_lines]
        shortest = fitted(starts[0], lines)
        if len(shortest.prompt_ids) <= room:
            num_starts = _most(len(starts), lambda n: len(fitted(starts[n - 1], lines).prompt_ids) <= room)  # noqa: B023
            return fitted(starts[num_starts - 1], lines)
    raise GuardError(
        f"the message and the character's card are {len(shortest.prompt_ids)} tokens long",
        reason="too_long_for_context",
        where="message",
        needed=f"at most {max(0, room)} tokens (context {context_tokens} less {max_new_tokens} for the reply)",
        action="Shorten the message.",
    )


def _starts(spoken: Sequence[Message]) -> list[int]:
    """Return the places a prompt may begin at, latest first: each user message, then the very beginning."""
    starts = [at for at, message in enumerate(spoken) if message.role == "user" and at > 0]
    return [*reversed(starts), 0]


def _most(limit: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number up to `limit` that fits, 1 being known to; large ones are never tried without need."""
    low, high = 1, 2
    while high <= limit and fits(high):
        low, high = high, high * 2
    high = min(high, limit + 1)  # does not fit, or does not exist
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _alternating(messages: Sequence[Message]) -> list[Message]:
    """Leave out empty messages and join neighbours of one role, such as two messages around a reply lost to a crash."""
    joined: list[Message] = []
    for message in messages:
        if not message.content.strip():
            continue
        if joined and joined[-1].role == message.role:
            joined[-1] = Message(message.role, f"{joined[-1].content}\n\n{message.content}")
        else:
            joined.append(message)
    return joined
