"""Character cards and their lore against the content policy: what no chat may hold is refused before anything opens."""

from collections.abc import Sequence

from duologue.characters import Character, Lorebook
from duologue.guard.policy import ContentPolicy, Rating


def check_character(
    character: Character, *, rating: Rating, where: str, lorebooks: Sequence[Lorebook] | None = None
) -> None:
    """Refuse a card that crosses a limit, alone or together with an entry of its lore.

    What a prompt can hold is read at the operator's rating. The creator's notes and tags, which no prompt holds, and
    entries that are turned off are read at the limits of every rating.

    Args:
        character: As loaded.
        rating: The operator's.
        where: The file, for the message.
        lorebooks: That go with it; None takes the card's own.

    Raises:
        GuardError: With reason `content_policy`.
    """
    policy, root = ContentPolicy(rating), ContentPolicy("adult")
    texts = _texts(character)
    policy.check(texts, where=where)
    root.check([*texts, character.nickname, character.creator_notes, " ".join(character.tags)], where=where)
    own = (character.lorebook,) if character.lorebook else ()
    for book in own if lorebooks is None else lorebooks:
        for entry in book.entries:
            place = f"{where}: lorebook '{book.name or character.name}', entry {entry.uid}"
            (policy if entry.is_enabled else root).check([*texts, entry.content], where=place)


def _texts(character: Character) -> tuple[str, ...]:
    return (
        character.name,
        character.description,
        character.personality,
        character.scenario,
        character.system_prompt,
        character.example_dialogue,
        character.post_history_instructions,
        character.depth_prompt.text if character.depth_prompt else "",
        character.greeting,
        *character.alternate_greetings,
        *character.group_only_greetings,
    )
