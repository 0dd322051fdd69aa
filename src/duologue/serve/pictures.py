"""Pictures for the page, made from the picture of the card without the card inside it."""

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from duologue.characters import load_picture
from duologue.errors import ConfigError

AVATAR_PIXELS = 192
PORTRAIT_WIDTH_PIXELS = 640
_MAX_PIXELS = 40_000_000  # decoded, a picture takes four bytes per pixel


@dataclass(frozen=True, slots=True)
class Pictures:
    """A character's pictures as WebP files in memory.

    Attributes:
        avatar: Small and square, for the messages.
        portrait: The whole picture, for the head of the page.
    """

    avatar: bytes
    portrait: bytes


def make_pictures(card: Path) -> Pictures | None:
    """Return the pictures of a PNG or CharX card; None for a card without a picture.

    The card's text stays behind: a visitor sees the picture, not the character's definition.

    Raises:
        ConfigError: The picture cannot be read or is too large.
    """
    source: Path | io.BytesIO = card
    if card.suffix.lower() == ".charx":
        icon = load_picture(card)
        if icon is None:
            return None
        source = io.BytesIO(icon)
    elif card.suffix.lower() != ".png":
        return None
    try:
        with Image.open(source, formats=["PNG", "JPEG", "WEBP"]) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                raise ConfigError(
                    f"the card's picture has {picture.width} x {picture.height} pixels",
                    where=str(card),
                    needed=f"at most {_MAX_PIXELS // 10**6} million",
                    action="Scale the picture down.",
                )
            whole = picture.convert("RGB")
    except (OSError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise ConfigError(f"the card's picture cannot be read ({error})", where=str(card)) from error
    portrait = whole.crop((0, 0, whole.width, min(whole.height, 2 * whole.width)))
    portrait.thumbnail((PORTRAIT_WIDTH_PIXELS, 2 * PORTRAIT_WIDTH_PIXELS), Image.Resampling.LANCZOS)
    avatar = _face(whole).resize((AVATAR_PIXELS, AVATAR_PIXELS), Image.Resampling.LANCZOS)
    return Pictures(avatar=_webp(avatar), portrait=_webp(portrait))


def _face(picture: Image.Image) -> Image.Image:
    """Return the square where a portrait usually has its face: a little above the middle."""
    side = max(1, round(min(picture.size) * (0.75 if picture.height > picture.width else 1.0)))
    left = (picture.width - side) // 2
    top = min(max(0, round(picture.height * 0.42) - side // 2), picture.height - side)
    return picture.crop((left, top, left + side, top + side))


def _webp(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=88)
    return buffer.getvalue()
