"""The character's picture as the report holds it: small, and without the card that may lie inside the file."""

import base64
import io
from pathlib import Path

from matplotlib import image

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_BYTES = 32 * 2**20
_MAX_PIXELS = 40_000_000  # a camera's picture; what says it has more is not decoded
_LEAST_SIDE_PIXELS = 144  # the largest place for it, twice over for fine screens


def portrait_of(picture: Path | None) -> str:
    """Return a picture as a data address; empty when there is none, or when it cannot be read or is no PNG."""
    try:
        if picture is None or picture.stat().st_size > _MAX_BYTES:
            return ""
        raw = picture.read_bytes()
        if not raw.startswith(_PNG_SIGNATURE) or len(raw) < 24 or _num_pixels(raw) > _MAX_PIXELS:
            return ""
        small = _scaled_down(raw)
    except (OSError, SyntaxError, ValueError):  # a damaged file; a report without its picture is still the report
        return ""
    return f"data:image/png;base64,{base64.b64encode(small).decode()}"


def _num_pixels(raw: bytes) -> int:
    return int.from_bytes(raw[16:20], "big") * int.from_bytes(raw[20:24], "big")  # of the first chunk, IHDR


def _scaled_down(raw: bytes) -> bytes:
    """Return a PNG whose shorter side has between one and two times `_LEAST_SIDE_PIXELS`; each pixel a mean of some."""
    pixels = image.imread(io.BytesIO(raw), format="png")
    height, width = pixels.shape[:2]
    step = max(1, min(height, width) // _LEAST_SIDE_PIXELS)
    rows, columns = height // step, width // step
    blocks = pixels[: rows * step, : columns * step].reshape(rows, step, columns, step, -1)
    small = blocks.mean(axis=(1, 3))
    out = io.BytesIO()
    image.imsave(out, small[..., 0] if small.shape[2] < 3 else small, format="png", cmap="gray", vmin=0.0, vmax=1.0)
    return out.getvalue()
