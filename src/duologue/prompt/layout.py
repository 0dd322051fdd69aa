"""Blocks to messages: the stable ones as one system message, then the conversation with what stands in it."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from duologue.messages import Message
from duologue.prompt.blocks import Block
from duologue.prompt.quote import framed


def arrange(head: Sequence[Block], body: Sequence[Block]) -> tuple[Message, ...]:
    """Return the messages of a prompt.

    Empty blocks are left out and messages of one role that follow each other are joined, such as two messages around a
    reply lost to a crash, because many chat templates accept only alternating roles.

    Args:
        head: The stable parts, in order; they become one system message.
        body: The conversation and what stands in it, in order.
    """
    texts = [block.text for block in head if block.text.strip()]
    out = [Message("system", "\n\n".join(texts))] if texts else []
    num_head = len(out)
    waiting: list[str] = []  # first lines of the next user message
    for block in _with_framed_memories(body):
        if not block.text.strip():
            continue
        if block.kind != "message" and block.role == "user":
            waiting.append(block.text)
            continue
        text = block.text
        if waiting and block.role == "user":
            text, waiting = "\n\n".join([*waiting, text]), []
        _append(out, Message(block.role, text), num_head)
    if waiting:
        _append(out, Message("user", "\n\n".join(waiting)), num_head)
    return tuple(out)


def stand_before(body: Sequence[Block], block: Block, *, num_below: int) -> list[Block]:
    """Return the body with a block put in above its last `num_below` messages, below what stands there already.

    Args:
        body: Messages and other blocks, in order.
        block: What to put in.
        num_below: Messages below it; where there are fewer, it stands above all of them.
    """
    position, messages_below = len(body), 0
    while position and messages_below < num_below:
        position -= 1
        messages_below += body[position].kind == "message"
    return [*body[:position], block, *body[position:]]


def _with_framed_memories(body: Sequence[Block]) -> Iterator[Block]:
    for is_memory, blocks in groupby(body, key=lambda block: block.kind == "memory"):
        if is_memory:
            yield Block("memory", framed([block.text for block in blocks]), role="user")
        else:
            yield from blocks


def _append(out: list[Message], message: Message, num_head: int) -> None:
    spoken = len(out) - 1
    while spoken >= num_head and out[spoken].role == "system":
        spoken -= 1
    if message.role == "system":
        if spoken < len(out) - 1 and len(out) > num_head:
            out[-1] = Message("system", f"{out[-1].content}\n\n{message.content}")
        else:
            out.append(message)
    elif spoken >= num_head and out[spoken].role == message.role:
        # What stood between the two goes above both.
        joined = Message(message.role, f"{out[spoken].content}\n\n{message.content}")
        out[spoken:] = [*out[spoken + 1 :], joined]
    else:
        out.append(message)
