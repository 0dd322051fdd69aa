"""A conversation that the caller keeps, such as one of the API: checked, and as everything a prompt could hold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from duologue.chat.buffer import Buffer, Placed, Room, Scene
from duologue.chat.expansion import Expansion
from duologue.chat.lore import Lore
from duologue.chat.tree import StoredMessage
from duologue.engine import Tokenizer
from duologue.errors import GuardError
from duologue.guard import InputValidator
from duologue.messages import Message
from duologue.prompt import Block

MAX_CHARS_PER_TOKEN = 16  # a raw prompt with more characters than this per token of the context cannot fit


@dataclass(frozen=True, slots=True)
class CallersOwn:
    """What a caller who keeps the chat decides about a prompt.

    Attributes:
        system: Their own text in place of the card's, persona and example dialogue included; empty takes the card's.
        opening: Words with which the reply begins; it goes on from there.
        has_memory: Whether lines are recalled.
    """

    system: str = ""
    opening: str = ""
    has_memory: bool = True

    def front(self, lore: Lore, expansion: Expansion) -> tuple[Block, ...]:
        """Return their own front of the prompt, with the lore that is always there; nothing without one."""
        if not self.system:
            return ()
        return (Block("system", expansion.text(self.system), why="the caller's"), *lore.constant)

    def opening_lines(self, num_said: int) -> tuple[Block, ...]:
        """Return the message with which the prompt ends open; none when the reply begins by itself."""
        if not self.opening:
            return ()
        return (Block("message", self.opening, role="assistant", message_id=num_said + 1),)

    def above_opening(self, placed: Sequence[Placed]) -> tuple[Placed, ...]:
        """Return parts whose places are counted from the end, with the open message left out of the count."""
        if not self.opening:
            return tuple(placed)
        return tuple(replace(part, num_below=part.num_below + 1) for part in placed)


NOTHING_OWN = CallersOwn()


@dataclass(frozen=True, slots=True)
class Conversation:
    """A caller's messages, checked.

    Attributes:
        said: What was said, oldest first.
        system: Their system message; empty for none.
        opening: Words with which the reply begins; empty for none.
    """

    said: tuple[Message, ...]
    system: str = ""
    opening: str = ""

    def path(self) -> tuple[StoredMessage, ...]:
        """Return what was said as a chat has it, numbered from 1."""
        return tuple(StoredMessage(at, message, "", (), "") for at, message in enumerate(self.said, start=1))

    def bare_scene(self) -> Scene:
        """Return a prompt that holds nothing but the messages."""
        head = (Block("system", self.system, why="the caller's"),) if self.system else ()
        lines = tuple(
            Block("message", message.content, role=message.role, message_id=at)
            for at, message in enumerate(self.said, start=1)
        )
        lines += CallersOwn(opening=self.opening).opening_lines(len(lines))
        return Scene(head, lines, continues=bool(self.opening))


def checked(
    messages: Sequence[Message], validator: InputValidator, *, context_tokens: int, goes_on: bool
) -> Conversation:
    """Return the messages as they are used: without empty ones before the last.

    Args:
        messages: Oldest first; one system message at most, at the front.
        validator: Checks what the user says. What an application sends beside it, a whole card or a long reply, may be
            as long as the context.
        context_tokens: Of the model.
        goes_on: A reply at the end is not answered but gone on with.

    Raises:
        GuardError: One is refused, or nothing was said to reply to.
    """
    is_opened = goes_on and bool(messages) and messages[-1].role == "assistant" and bool(messages[-1].content.strip())
    spoken = messages[:-1] if is_opened else messages
    if not any(message.role == "user" for message in spoken) or (spoken[-1].role != "user" and not spoken[-1].content):
        raise GuardError(
            "the conversation has no message of the user to reply to",
            reason="empty",
            where="messages",
            needed="something to reply to",
        )
    longer = InputValidator(max(validator.max_chars, context_tokens * MAX_CHARS_PER_TOKEN))
    of_role = {"user": validator, "assistant": longer, "system": longer}
    *earlier, newest = spoken
    kept = [Message(m.role, of_role[m.role].validate(m.content)) for m in earlier if m.content.strip()]
    kept.append(Message(newest.role, of_role[newest.role].validate(newest.content)))
    system = kept.pop(0).content if kept[0].role == "system" else ""
    opening = longer.validate(messages[-1].content).rstrip() if is_opened else ""
    return Conversation(tuple(kept), system, opening)


def raw_buffer(text: str, tokenizer: Tokenizer, *, room: Room) -> Buffer:
    """Return a prompt that is a text as it stands.

    Args:
        text: The text; marks of the chat template in it are read as such.
        tokenizer: Of the model.
        room: How long it may be.

    Raises:
        GuardError: It is empty, too long, or holds what no text holds.
        DataError: The vocabulary is not known here.
    """
    text = InputValidator(max_chars=room.context_tokens * MAX_CHARS_PER_TOKEN).validate(text)
    ids = tuple(tokenizer.encode(text))
    if len(ids) > room.prompt_tokens:
        raise GuardError(
            f"the prompt is {len(ids)} tokens long",
            reason="too_long_for_context",
            where="prompt",
            needed=f"at most {max(0, room.prompt_tokens)} tokens"
            f" (context {room.context_tokens} less {room.max_new_tokens} for the reply)",
            action="Shorten the prompt or ask for fewer tokens.",
        )
    return Buffer(ids, (Message("user", text),))
