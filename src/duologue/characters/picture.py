"""Pictures for cards that need one: another format made PNG, or a plain one drawn from the name."""

import hashlib
import io

from duologue.characters.png import PNG_SIGNATURE
from duologue.errors import ConfigError

MAX_PIXELS = 40_000_000  # a camera's picture; a bomb says it has more, and is not decoded
_SIZE = (400, 600)


def as_png(content: bytes, *, where: str) -> bytes:
    """Return a picture as PNG; a PNG is returned as it is, undecoded.

    Raises:
        ConfigError: It is no PNG, JPEG or WebP, has too many pixels, or is damaged.
    """
    if content.startswith(PNG_SIGNATURE):
        return content
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "WEBP")) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                pixels = f"{width:,} x {height:,} pixels"
                raise ConfigError(
                    f"the picture has {pixels}", where=where, needed=f"at most {MAX_PIXELS:,} pixels in all"
                )
            out = io.BytesIO()
            image.convert("RGBA" if "A" in image.getbands() else "RGB").save(out, format="PNG")
    except UnidentifiedImageError as error:
        raise ConfigError("the picture is of an unknown format", where=where, needed="PNG, JPEG or WebP") from error
    except (OSError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ConfigError(f"the picture cannot be read ({error})", where=where) from error
    return out.getvalue()


def plain_picture(name: str) -> bytes:
    """Return a PNG for a card without a picture: two colours made of the name, and its first letters."""
    from PIL import Image, ImageDraw, ImageFont

    digest = hashlib.sha256(name.encode()).digest()
    top, bottom = (tuple(40 + byte // 2 for byte in digest[at : at + 3]) for at in (0, 3))
    mask = Image.linear_gradient("L").resize(_SIZE)
    image = Image.composite(Image.new("RGB", _SIZE, bottom), Image.new("RGB", _SIZE, top), mask)
    letters = "".join(word[0] for word in name.split()[:2]).upper()
    font = ImageFont.load_default(size=140)
    centre = (_SIZE[0] // 2, _SIZE[1] // 2)
    ImageDraw.Draw(image).text(centre, letters, font=font, fill=(255, 255, 255), anchor="mm")
    out = io.BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()
