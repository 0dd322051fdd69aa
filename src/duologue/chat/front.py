"""The front of a prompt: what stays the same from the first reply of a session to the last."""

import re
from collections.abc import Callable, Sequence

from duologue.chat.cast import Cast, Member
from duologue.prompt import Block, persona_text, raw_system_text

_START = re.compile(r"<START>", re.IGNORECASE)


def front_blocks(
    member: Member,
    cast: Cast,
    *,
    persona: str,
    user_name: str,
    constant: Sequence[Block],
    expand: Callable[[str], str],
    with_examples: bool,
) -> tuple[Block, ...]:
    """Return system text, persona, who else is there, constant lore and example dialogue.

    Args:
        member: Who replies.
        cast: Everyone.
        persona: Who the user is; may be empty.
        user_name: The user's name.
        constant: Lore that is always there.
        expand: Replaces macros.
        with_examples: Whether the card's example dialogue is part of it.
    """
    blocks = [Block("system", expand(raw_system_text(member.character)).strip(), why="the card")]
    if text := persona_text(expand(persona), user_name=user_name):
        blocks.append(Block("persona", text, why="character.persona"))
    if cast.is_group:
        others = ", ".join(other.name for other in cast.members if other is not member)
        text = f"Also here: {others}. Write only what {member.name} says and does."
        blocks.append(Block("system", text, why="there are several characters", key="cast"))
    blocks += constant
    if with_examples:
        blocks += _examples(member, expand)
    return tuple(blocks)


def _examples(member: Member, expand: Callable[[str], str]) -> list[Block]:
    parts = [part.strip() for part in _START.split(member.character.example_dialogue)]
    texts = [text for part in parts if part and (text := expand(part).strip())]
    blocks = []
    for number, text in enumerate(texts, start=1):
        heading = f"How {member.name} talks, for example:\n" if number == 1 else ""
        blocks.append(Block("examples", f"{heading}{text}", why=f"example {number} of the card", key=str(number)))
    return blocks
