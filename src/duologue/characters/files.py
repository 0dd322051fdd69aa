"""Card files: JSON, PNG and CharX, read with limits. What a file is, its content says, not its name."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from duologue.characters.card import Character, parse_card
from duologue.characters.json_text import parse_json, read_limited
from duologue.characters.png import PNG_SIGNATURE, card_json, read_png, without_card
from duologue.errors import ConfigError

CardForm = Literal["json", "png", "charx"]
MAX_CARD_BYTES = 64 * 2**20  # a JSON or PNG card; a CharX has limits of its own


@dataclass(frozen=True, slots=True)
class Card:
    """A card file.

    Attributes:
        character: The character.
        form: What kind of file it was.
        picture: The PNG without the card in it.
        files: The other files of a CharX by path, or those in chunks of a PNG.
    """

    character: Character
    form: CardForm = "json"
    picture: bytes | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


def load_character(path: Path) -> Character:
    """Return the character of a card file: JSON, PNG, APNG or CharX.

    Raises:
        ConfigError: The file is missing, unreadable, too large, or holds no card.
    """
    return _load(path, with_files=False).character


def load_card(path: Path) -> Card:
    """Return the character of a card file with its picture and its other files.

    Raises:
        ConfigError: As `load_character`, and when the files in it break a limit.
    """
    return _load(path, with_files=True)


def load_picture(path: Path) -> bytes | None:
    """Return the picture of a card file, undecoded: PNG, JPEG or WebP. None where the card brings none of these.

    Raises:
        ConfigError: As `load_character`.
    """
    from duologue.characters import assets

    form = find_form(path)
    if form == "png":
        raw = read_limited(path, limit=MAX_CARD_BYTES, what="card")
        return without_card(raw, where=str(path), keeps_assets=False)
    document, files = load_character(path).as_v3(), {}
    if form == "charx":
        from duologue.characters.charx import read_charx

        files = read_charx(path, wants=lambda name: name == assets.icon_path(document))[1]
    content = assets.icon_content(document, files)
    return content if content and assets.is_picture(content) else None


def find_form(path: Path) -> CardForm:
    """Return what kind of card a file is.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(PNG_SIGNATURE))
    except OSError as error:
        raise ConfigError(f"the card cannot be read ({error.strerror})", where=str(path)) from error
    if head == PNG_SIGNATURE:
        return "png"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{":
        return "json"
    from duologue.characters.charx import is_zip  # most cards need no zip

    return "charx" if head[:2] == b"PK" or is_zip(path) else "json"


def _load(path: Path, *, with_files: bool) -> Card:
    form, where = find_form(path), str(path)
    if form == "charx":
        from duologue.characters import assets
        from duologue.characters.charx import read_charx

        text, files, names = read_charx(path, wants=lambda _: with_files)
        character = _parse(text, where=where)
        missing = assets.missing_files(character.document or {}, dict.fromkeys(names))
        notes = tuple(f"the CharX does not hold '{name}', which the card names" for name in missing)
        return Card(replace(character, warnings=(*character.warnings, *notes)), form, None, files)
    raw = read_limited(path, limit=MAX_CARD_BYTES, what="card")
    if form == "json":
        return Card(_parse(raw, where=where), form)
    found = read_png(raw, where=where, with_assets=with_files)
    character = _of_png(found.texts, where=where)
    character = replace(character, warnings=(*found.notes, *character.warnings))
    picture = without_card(raw, where=where, keeps_assets=True) if with_files else None
    return Card(character, form, picture, found.assets)


def _parse(text: bytes, *, where: str) -> Character:
    document, notes = parse_json(text, where=where, what="card")
    return parse_card(document, where=where, notes=notes)


def _of_png(texts: tuple[tuple[str, bytes], ...], *, where: str) -> Character:
    """Return the character of the first chunk that can be read; the fault is the first one's."""
    faults: list[ConfigError] = []
    for keyword, text in texts:
        try:
            character = _parse(card_json(text, keyword=keyword, where=where), where=where)
        except ConfigError as error:
            faults.append(error)
            continue
        notes = tuple(f"chunk '{texts[0][0]}' cannot be read ({error.found}), so '{keyword}' is" for error in faults)
        return replace(character, warnings=(*notes, *character.warnings))
    raise faults[0]
