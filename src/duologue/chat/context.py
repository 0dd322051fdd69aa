"""What was sent to the model: every part with its tokens and why it was there, what was left out, what was cached."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from duologue.characters import LoreTrace
from duologue.chat.buffer import Buffer
from duologue.messages import Role
from duologue.prompt import Block, BlockKind


@dataclass(frozen=True, slots=True)
class ContextBlock:
    """A part of a prompt.

    Attributes:
        kind: What it is.
        role: Whose message it is.
        text: As it was sent; control tokens in it are broken by the engine.
        num_tokens: What it takes, the template's marks left out.
        why: Why it is there.
        key: The lore entry, the memory or the example it is; empty for others.
        message_id: The message it is, or the one it stands before; 0 at the front and at the very end.
        depth: Messages that stand below it; -1 at the front.
    """

    kind: BlockKind
    role: Role
    text: str
    num_tokens: int
    why: str
    key: str
    message_id: int
    depth: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that is not part of a prompt.

    Attributes:
        kind: What it is.
        num: How many of them.
        why: Why not.
        text: What it says; empty for messages.
        num_tokens: What it would have taken; 0 for messages.
    """

    kind: BlockKind
    num: int
    why: str
    text: str = ""
    num_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """A prompt, part by part.

    Attributes:
        session_id: Its session.
        speaker: Who replied, or would.
        blocks: Its parts in order.
        left_out: What is not part of it, and why.
        lore: Every lorebook entry that fired or whose key was found, and why.
        num_prompt_tokens: Its length.
        room_tokens: How long it may be.
        context_tokens: Prompt and reply together.
        num_cached_tokens: Tokens the engine had kept from before; -1 when it was not sent or the engine cannot tell.
        session_prompt_tokens: Of all prompts sent in this session since the bot was opened.
        session_cached_tokens: Of those, the ones the engine had kept.
    """

    session_id: str
    speaker: str
    blocks: tuple[ContextBlock, ...]
    left_out: tuple[LeftOut, ...]
    lore: tuple[LoreTrace, ...]
    num_prompt_tokens: int
    room_tokens: int
    context_tokens: int
    num_cached_tokens: int = -1
    session_prompt_tokens: int = 0
    session_cached_tokens: int = 0

    @property
    def cached_fraction(self) -> float | None:
        """Share of this prompt that was cached; None where nobody knows."""
        known = self.num_cached_tokens >= 0 and self.num_prompt_tokens > 0
        return self.num_cached_tokens / self.num_prompt_tokens if known else None

    @property
    def session_cached_fraction(self) -> float | None:
        """Share of all prompts of the session that was cached; None where nobody knows."""
        known = self.session_prompt_tokens > 0
        return self.session_cached_tokens / self.session_prompt_tokens if known else None

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        fractions = {
            "cached_fraction": self.cached_fraction,
            "session_cached_fraction": self.session_cached_fraction,
        }
        return {**asdict(self), **fractions}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prompt that is ready, with what the context view says about it.

    Attributes:
        buffer: The prompt.
        speaker: Who replies.
        left_out: What the scene did not even try to hold, and why.
        lore: The trace of the lorebooks.
        room_tokens: How long it could have been.
    """

    buffer: Buffer
    speaker: str
    left_out: tuple[LeftOut, ...] = ()
    lore: tuple[LoreTrace, ...] = ()
    room_tokens: int = 0


def make_context(
    prepared: Prepared, *, session_id: str, count_tokens: Callable[[str], int], context_tokens: int
) -> Context:
    """Return the view of a prompt.

    Args:
        prepared: The prompt.
        session_id: Its session.
        count_tokens: Counts a text inside a message.
        context_tokens: Prompt and reply together.
    """
    buffer = prepared.buffer
    below = sum(block.kind == "message" for block in buffer.body)
    blocks = [_shown(block, count_tokens, depth=-1) for block in buffer.head]
    for block in buffer.body:
        below -= block.kind == "message"
        blocks.append(_shown(block, count_tokens, depth=below))
    left_out = list(prepared.left_out)
    if buffer.num_forgotten_messages:
        left_out.append(LeftOut("message", buffer.num_forgotten_messages, "the oldest messages; no room"))
    left_out += [
        LeftOut(
            block.kind, 1, f"no room ({block.why})" if block.why else "no room", block.text, count_tokens(block.text)
        )
        for block in buffer.left_out
    ]
    return Context(
        session_id=session_id,
        speaker=prepared.speaker,
        blocks=tuple(blocks),
        left_out=tuple(left_out),
        lore=prepared.lore,
        num_prompt_tokens=len(buffer.prompt_ids),
        room_tokens=prepared.room_tokens,
        context_tokens=context_tokens,
    )


def with_cache(context: Context, num_cached_tokens: int, *, before: Context | None) -> Context:
    """Return a context with what the engine said about its cache, added to that of the session so far."""
    prompt_tokens, cached_tokens = 0, 0
    if before:
        prompt_tokens, cached_tokens = before.session_prompt_tokens, before.session_cached_tokens
    if num_cached_tokens >= 0:
        prompt_tokens += context.num_prompt_tokens
        cached_tokens += num_cached_tokens
    return replace(
        context,
        num_cached_tokens=num_cached_tokens,
        session_prompt_tokens=prompt_tokens,
        session_cached_tokens=cached_tokens,
    )


def _shown(block: Block, count_tokens: Callable[[str], int], *, depth: int) -> ContextBlock:
    return ContextBlock(
        kind=block.kind,
        role=block.role,
        text=block.text,
        num_tokens=count_tokens(block.text),
        why=block.why,
        key=block.key,
        message_id=block.message_id,
        depth=depth,
    )
