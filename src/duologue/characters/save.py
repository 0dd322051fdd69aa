"""Cards written: JSON, PNG and CharX, whole or not at all.

A PNG is written with both chunks: `chara`, V2 for older readers, and `ccv3`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from duologue.characters import assets
from duologue.characters.card import Character
from duologue.characters.charx import write_charx
from duologue.characters.files import MAX_CARD_BYTES, Card
from duologue.characters.json_text import dump_json, read_limited
from duologue.characters.picture import as_png, plain_picture
from duologue.characters.png import PNG_SIGNATURE, png_with_card, without_card
from duologue.errors import ConfigError
from duologue.files import replacing

V3_WARNING = (
    "This is a Character Card V3 read as V2, without what only V3 has. "
    "Please open it in an application that reads Character Card V3."
)


def write_card(character: Character, path: Path, *, image: Path | None = None) -> None:
    """Write a card of a character that has no files; as `save_card`.

    A PNG target without an `image` keeps the picture of an existing target.
    """
    picture = None
    if path.suffix.lower() == ".png" and image is None and path.exists():
        picture = read_limited(path, limit=MAX_CARD_BYTES, what="picture")
        if not picture.startswith(PNG_SIGNATURE):
            raise ConfigError("the picture is not a PNG", where=str(path), needed="a PNG file")
    save_card(Card(character, "png" if picture else "json", picture), path, image=image)


def save_card(
    card: Card, path: Path, *, image: Path | None = None, version: Literal["", "v2", "v3"] = ""
) -> tuple[str, ...]:
    """Write a card in the form that the ending names, and return what that form had no place for.

    The file appears whole or not at all.

    Args:
        card: What to write.
        path: Target, ending in `.json`, `.png` or `.charx`.
        image: Picture of a PNG or CharX, in place of the card's own.
        version: Of a JSON card; empty keeps V3 cards V3 and makes others V2.

    Raises:
        ConfigError: The ending is unknown, a picture cannot be used, or the card is too large for its form.
    """
    ending = path.suffix.lower()
    if ending not in (".json", ".png", ".charx"):
        needed = "'.json', '.png' or '.charx'"
        raise ConfigError(f"cannot write a card as '{path.suffix}'", where=str(path), needed=needed)
    if version and ending != ".json":
        raise ConfigError(f"a {ending[1:]} card is not written as {version.upper()} alone", where=str(path))
    if image is not None:
        card = replace(
            card, picture=as_png(read_limited(image, limit=MAX_CARD_BYTES, what="picture"), where=str(image))
        )
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            if ending == ".charx":
                moved, left_out = _as_charx(card, has_new_picture=image is not None)
                write_charx(file, card=dump_json(moved.document, indent=2), files=moved.files)
            else:
                content, left_out = _as_json(card, version) if ending == ".json" else _as_png(card, image, path)
                file.write(content)
    except OSError as error:
        raise ConfigError(f"the card cannot be written ({error.strerror})", where=str(path)) from error
    return left_out


def _as_json(card: Card, version: Literal["", "v2", "v3"]) -> tuple[bytes, tuple[str, ...]]:
    moved = assets.into_text(card.character.as_v3(), card.files, wants_picture=False)
    character = _moved(card.character, moved)
    if version == "v3" or (not version and character.version == "v3"):
        document, left_out = character.as_v3(), moved.left_out
    else:
        document, left_out = character.as_v2(), (*moved.left_out, *character.left_out_of_v2())
    content = dump_json(document, indent=2)
    if len(content) > MAX_CARD_BYTES // 2:
        raise ConfigError(
            f"the card would be {len(content) / 2**20:.1f} MiB of text",
            needed=f"at most {MAX_CARD_BYTES // 2**21} MiB",
            action="Its files are large: write it as '.charx'.",
        )
    return content, (*left_out, *(["the picture"] if card.picture else []))


def _as_png(card: Card, image: Path | None, path: Path) -> tuple[bytes, tuple[str, ...]]:
    character, picture = card.character, card.picture
    left_out: tuple[str, ...] = ()
    if card.form != "png":
        moved = assets.into_text(character.as_v3(), card.files, wants_picture=image is None)
        picture = picture or moved.picture or _icon(card)
        character, left_out = _moved(character, moved), moved.left_out
    v2 = character.as_v2()
    if character.left_out_of_v2():
        notes = v2["data"]["creator_notes"]
        v2["data"]["creator_notes"] = f"{V3_WARNING}\n\n{notes}" if notes else V3_WARNING
    where = str(image or path)
    picture = picture or plain_picture(character.name)
    return png_with_card(picture, chara=dump_json(v2), ccv3=dump_json(character.as_v3()), where=where), left_out


def _icon(card: Card) -> bytes | None:
    """Return the card's main icon as PNG; None when there is none that can be read, which a plain picture replaces."""
    content = assets.icon_content(card.character.as_v3(), card.files)
    try:
        return as_png(content, where="the icon") if content else None
    except ConfigError:
        return None


def _as_charx(card: Card, *, has_new_picture: bool) -> tuple[assets.Moved, tuple[str, ...]]:
    document = card.character.as_v3()
    if card.form == "charx" and not has_new_picture:
        return assets.Moved(document, dict(card.files)), ()
    picture = card.picture
    if picture is not None:
        picture = without_card(picture, where="the picture", keeps_assets=False)
    if card.form == "charx":
        icon = assets.main_icon(document["data"].get("assets") or [])
        if icon is not None:
            icon["uri"] = "ccdefault:"
        return assets.into_files(document, {}, picture=picture, taken=card.files), ()
    return assets.into_files(document, card.files, picture=picture), ()


def _moved(character: Character, moved: assets.Moved) -> Character:
    """Return the character with the document whose files were moved."""
    kept = (character.document or {}).get("data")
    if not isinstance(kept, dict) or moved.document["data"].get("assets") == kept.get("assets"):
        return character
    document = {**(character.document or {}), "data": {**kept, "assets": moved.document["data"]["assets"]}}
    return replace(character, document=document)
