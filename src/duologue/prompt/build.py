"""The layout without anything volatile: what a conversation is trained with, and what chat adds to."""

from collections.abc import Sequence

from duologue.characters import Character
from duologue.messages import Message, RecalledLine
from duologue.prompt.quote import quote


def build(
    character: Character,
    messages: Sequence[Message],
    *,
    user_name: str,
    recalled: Sequence[RecalledLine] = (),
) -> tuple[Message, ...]:
    """Return the messages to render: system text first, then the conversation with macros resolved.

    A conversation that brings its own system message keeps it; otherwise the character's system text is put first.
    Recalled lines are quoted in front of the newest user message.

    Args:
        character: Whose card supplies the system text and the `{{char}}` name.
        messages: The conversation, oldest first.
        user_name: What `{{user}}` stands for.
        recalled: Memory lines, best first; none when training.
    """
    texts = [character.resolve_macros(message.content, user_name=user_name) for message in messages]
    resolved = [m if m.content is text else Message(m.role, text) for m, text in zip(messages, texts, strict=True)]
    has_system = bool(resolved) and resolved[0].role == "system"
    head = resolved[:1] if has_system else [Message("system", system_text(character, user_name=user_name))]
    tail = resolved[1:] if has_system else resolved
    if recalled and tail and tail[-1].role == "user":
        quoted = quote(recalled, char_name=character.display_name, user_name=user_name)
        tail[-1] = Message("user", f"{quoted}\n\n{tail[-1].content}")
    return (*head, *tail)


def system_text(character: Character, *, user_name: str) -> str:
    """Return the system text of a card: its own system prompt, or one made from its fields."""
    return character.resolve_macros(raw_system_text(character), user_name=user_name).strip()


def raw_system_text(character: Character) -> str:
    """Return the system text of a card with its macros as they are."""
    default = _default_text(character)
    return character.system_prompt.replace("{{original}}", default) if character.system_prompt else default


def _default_text(character: Character) -> str:
    fields = (character.description, character.personality, character.scenario)
    return " ".join(["You are {{char}}.", *(field.strip() for field in fields if field.strip())])


def persona_text(persona: str, *, user_name: str) -> str:
    """Return what stands behind the system text for the user's own description; empty when there is none."""
    return f"About {user_name}: {persona.strip()}" if persona.strip() else ""
