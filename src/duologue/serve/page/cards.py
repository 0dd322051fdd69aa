"""Character cards as the page shows and changes them: a card file to plain values, and plain values into the card."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from duologue.characters import Card, Character, DepthPrompt, load_card, save_card, unknown_macros
from duologue.errors import ConfigError, GuardError
from duologue.guard import RATINGS, ContentPolicy, Rating
from duologue.serve.library import Entry
from duologue.serve.page.lore_entries import lore_documents
from duologue.serve.refusal import ApiError

TEXTS = (
    *("nickname", "description", "personality", "scenario", "greeting", "example_dialogue", "system_prompt"),
    *("post_history_instructions", "creator_notes", "creator", "character_version"),
)
LISTS = ("alternate_greetings", "group_only_greetings", "tags")
_MAX_SHOWN_WARNINGS = 50


@dataclass(frozen=True, slots=True)
class OpenCard:
    """A card file as it is now.

    Attributes:
        path: The file.
        card: What it holds.
        version: Names this state of the file; an edit says which state it was made from.
    """

    path: Path
    card: Card
    version: str


def open_card(entry: Entry) -> OpenCard:
    """Return the card of a character.

    Raises:
        ConfigError: It cannot be read, or lies outside of the character's folder.
        GuardError: With reason `not_found`: the character has no card.
    """
    path = entry.card
    if path is None:
        raise GuardError(f"{entry.name} has no card", reason="not_found", where="character.card")
    if not path.resolve().is_relative_to(entry.folder.resolve()):
        raise ConfigError(
            "the card lies outside of its folder", where="character.card", action="Move it into the folder."
        )
    return OpenCard(path, load_card(path), version_of(path))


def version_of(path: Path) -> str:
    """Return what names the present state of a card file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:24]


def require_version(found: OpenCard, version: str) -> None:
    """Refuse an edit of a card that has changed since it was read.

    Raises:
        ApiError: 409, `conflict`.
    """
    if found.version != version:
        raise ApiError(
            409,
            "the card has been changed elsewhere since you opened it; nothing was overwritten",
            code="conflict",
            param="version",
        )


def card_document(character: Character) -> dict[str, Any]:
    """Return everything the editor shows of a card."""
    note = character.depth_prompt
    return {
        "name": character.name,
        **{key: getattr(character, key) for key in TEXTS},
        **{key: list(getattr(character, key)) for key in LISTS},
        "depth_prompt": {"text": note.text, "depth": note.depth, "role": note.role} if note else None,
        "talkativeness": character.talkativeness,
        "form": character.version,
        "lorebook": lore_documents(character),
        "warnings": list(character.warnings[:_MAX_SHOWN_WARNINGS]),
        "num_warnings": len(character.warnings),
        "unknown_macros": list(dict.fromkeys(macro for text in character.texts for macro in unknown_macros(text))),
        "rating_tags": list(character.rating_tags),
    }


def changed_character(character: Character, values: Mapping[str, Any]) -> Character:
    """Return a character with other texts; what the page does not show stays as it is."""
    changes: dict[str, Any] = {key: value for key, value in values.items() if key in TEXTS}
    changes |= {key: tuple(item for item in values[key] if item.strip()) for key in LISTS if key in values}
    if "depth_prompt" in values:
        note = values["depth_prompt"]
        changes["depth_prompt"] = DepthPrompt(note["text"], note["depth"], note["role"]) if note else None
    return replace(character, **{key: value for key, value in changes.items() if getattr(character, key) != value})


def store_card(found: OpenCard, character: Character) -> str:
    """Write a changed card in place of the one it was made of and return its new version.

    Raises:
        ConfigError: It cannot be written.
    """
    card = replace(found.card, character=character)
    # V2 JSON has no place for what V3 brought, such as a nickname; a document never loses what a person has written.
    needs_v3 = found.path.suffix.lower() == ".json" and bool(character.left_out_of_v2())
    save_card(card, found.path, version="v3" if needs_v3 else "")
    return version_of(found.path)


def check_card(character: Character, rating: Rating) -> None:
    """Refuse a card that a rating does not allow.

    Raises:
        GuardError: With reason `content_policy`.
    """
    ContentPolicy(rating).check(_texts(character), where="card")


def lowest_rating(character: Character, *, highest: Rating) -> Rating:
    """Return the strictest rating that allows a card.

    Raises:
        GuardError: With reason `content_policy`: none up to the highest one does.
    """
    for rating in RATINGS[: RATINGS.index(highest)]:
        try:
            check_card(character, rating)
        except GuardError:
            continue
        return rating
    check_card(character, highest)
    return highest


def _texts(character: Character) -> list[str]:
    """Return every text of a card, what people read of it included."""
    return [*character.texts, character.creator_notes, *character.tags]
