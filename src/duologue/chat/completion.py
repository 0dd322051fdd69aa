"""A conversation that the caller keeps, such as one of the API: checked, and as everything a prompt could hold."""

from collections.abc import Sequence

from duologue.chat.buffer import Scene
from duologue.chat.cast import Cast, Member
from duologue.chat.front import front_blocks
from duologue.config import Config
from duologue.errors import GuardError
from duologue.guard import InputValidator
from duologue.messages import Message
from duologue.prompt import Block


def checked(messages: Sequence[Message], validator: InputValidator) -> tuple[Message, ...]:
    """Return the messages as they are used: without empty ones before the last.

    Raises:
        GuardError: One is refused, or the last one is not the user's.
    """
    if not messages or messages[-1].role != "user":
        raise GuardError(
            "the conversation does not end with a user message",
            reason="empty",
            where="messages",
            needed="something to reply to",
        )
    *earlier, newest = messages
    kept = [Message(m.role, validator.validate(m.content)) for m in earlier if m.content.strip()]
    return (*kept, Message("user", validator.validate(newest.content)))


def scene_of(messages: Sequence[Message], member: Member, *, config: Config, with_examples: bool) -> Scene:
    """Return what a prompt for a caller's conversation could hold; a system message of theirs replaces the card.

    Args:
        messages: Oldest first.
        member: Who replies.
        config: Names and persona.
        with_examples: Whether the card's example dialogue is part of it.
    """
    user_name = config.character.user_name

    def named(text: str) -> str:
        return member.character.resolve_macros(text, user_name=user_name)

    if messages[0].role == "system":
        head: tuple[Block, ...] = (Block("system", named(messages[0].content), why="the caller's"),)
        messages = messages[1:]
    else:
        head = front_blocks(
            member,
            Cast((member,)),
            persona=config.character.persona,
            user_name=user_name,
            constant=(),
            expand=named,
            with_examples=with_examples,
        )
    lines = tuple(
        Block("message", named(message.content), role=message.role, message_id=at)
        for at, message in enumerate(messages, start=1)
    )
    return Scene(head, lines)
