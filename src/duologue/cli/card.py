"""`duologue card`: character cards."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from duologue.characters import Card, Character, Lorebook, load_card, save_card, unknown_macros
from duologue.cli.output import JsonFlag, Output
from duologue.errors import ConfigError
from duologue.guard import check_character

app = typer.Typer(help="Look at and convert character cards.", no_args_is_help=True)

_SHOWN_WARNINGS = 20
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A card: JSON, PNG or CharX.")],
    is_json: JsonFlag = False,
) -> None:
    """Print a character card: its texts, greetings, lorebook and files, and what in it has no effect."""
    out = Output(is_json=is_json)
    card = load_card(file)
    character = card.character
    out.title(_visible(character.name))
    out.say(f"{_FORMS[card.form]}, card {character.version.upper()}")
    macros = tuple(dict.fromkeys(macro for text in character.texts for macro in unknown_macros(text)))
    for label, text in _lines(character, macros):
        if text:
            out.say(_visible(f"{label}: {text}"))
    if len(character.warnings) > _SHOWN_WARNINGS:
        out.say(f"and {len(character.warnings) - _SHOWN_WARNINGS} more notes")
    out.result(_document(card, macros))


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="The card to read.")],
    to: Annotated[Path, typer.Argument(help="The card to write, .png, .json or .charx.")],
    *,
    image: Annotated[Path | None, typer.Option(help="Picture of the new card: PNG, JPEG or WebP.")] = None,
    is_v2: Annotated[bool, typer.Option("--v2", help="Write JSON as V2, with the V1 fields for old readers.")] = False,
    is_v3: Annotated[bool, typer.Option("--v3", help="Write JSON as V3.")] = False,
    is_json: JsonFlag = False,
) -> None:
    """Write a card in another form; unknown fields and files are kept."""
    out = Output(is_json=is_json)
    if is_v2 and is_v3:
        raise ConfigError("--v2 and --v3 are both given", needed="one of them")
    card = load_card(file)
    check_character(card.character, rating="adult", where=str(file))  # the limits that hold at every rating
    left_out = save_card(card, to, image=image, version="v2" if is_v2 else "v3" if is_v3 else "")
    out.say(f"wrote {to}")
    for name in left_out:
        out.say(f"left out: {name}")
    out.result({"path": str(to), "left_out": list(left_out)})


_FORMS = {"json": "JSON", "png": "PNG", "charx": "CharX"}


def _lines(character: Character, macros: tuple[str, ...]) -> Iterable[tuple[str, str]]:
    yield from _fields(character)
    for number, greeting in enumerate(character.alternate_greetings, 2):
        yield f"greeting {number}", greeting
    for greeting in character.group_only_greetings:
        yield "greeting in a chat of several", greeting
    yield "lorebook", _about_book(character.lorebook) if character.lorebook else ""
    yield "files", ", ".join(f"{asset.name or asset.kind}.{asset.ext}" for asset in character.assets)
    yield "macros without effect", ", ".join(macros)
    for warning in character.warnings[:_SHOWN_WARNINGS]:
        yield "note", warning


def _fields(character: Character) -> Iterable[tuple[str, str]]:
    note = character.depth_prompt
    return (
        ("nickname", character.nickname),
        ("description", character.description),
        ("personality", character.personality),
        ("scenario", character.scenario),
        ("system_prompt", character.system_prompt),
        ("post_history_instructions", character.post_history_instructions),
        ("note in the chat", f"{note.text} ({note.role}, {note.depth} messages from the end)" if note else ""),
        ("example dialogue", character.example_dialogue),
        ("tags", ", ".join(character.tags)),
        ("creator", character.creator),
        ("version of the card", character.character_version),
        ("creator's notes", character.creator_notes),
        ("greeting", character.greeting),
    )


def _visible(text: str) -> str:
    """Return a card's text without what would steer the terminal."""
    return _CONTROL.sub("\ufffd", text)


def _about_book(book: Lorebook) -> str:
    entries = book.entries
    named = f"{book.name}, " if book.name else ""
    num_constant = sum(entry.is_constant for entry in entries)
    num_off = sum(not entry.is_enabled for entry in entries)
    counted = f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"
    return f"{named}{counted}, {num_constant} always in the prompt, {num_off} turned off"


def _document(card: Card, macros: tuple[str, ...]) -> dict[str, Any]:
    character = card.character
    book = character.lorebook
    return {
        **character.as_v3(),
        "form": card.form,
        "version": character.version,
        "files": {path: len(content) for path, content in card.files.items()},
        "num_lore_entries": len(book.entries) if book else 0,
        "unknown_macros": list(macros),
        "warnings": list(character.warnings),
    }
