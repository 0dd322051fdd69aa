"""The parts a prompt is made of."""

from dataclasses import dataclass
from typing import Literal

from duologue.messages import Role

BlockKind = Literal[
    "system",
    "persona",
    "lore",
    "examples",
    "message",
    "memory",
    "summary",
    "note",
    "depth_prompt",
    "post_history",
    "request",
]


@dataclass(frozen=True, slots=True)
class Block:
    """One part of a prompt.

    Attributes:
        kind: What it is.
        text: As it is sent; macros are resolved.
        role: Whose message it is; at the front everything is one system message. A block of the role `user` that is no
            message becomes the first lines of the user's message that it stands before.
        why: Why it is there, for people.
        key: What it is of its kind, such as a lore entry or a memory; two blocks of one kind and key are the same.
        message_id: The message it is, or the one it stands before; 0 at the front and at the very end.
    """

    kind: BlockKind
    text: str
    role: Role = "system"
    why: str = ""
    key: str = ""
    message_id: int = 0
