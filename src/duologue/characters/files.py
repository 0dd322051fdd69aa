"""Card files: JSON and PNG, read with limits, written with both chunks (`chara` for V2, `ccv3` for V3).

PNG chunks are walked byte by byte; pixels are never decoded, so an image bomb costs nothing.
"""

import base64
import binascii
import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from duologue.characters.card import Character, parse_card
from duologue.errors import ConfigError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CARD_BYTES = 32 * 2**20  # whole file; the largest cards seen in the wild are below 20 MiB
MAX_TEXT_CHUNK_BYTES = 8 * 2**20
_CARD_KEYWORDS = ("ccv3", "chara")  # V3 wins when both are present (V3 specification)


def load_character(path: Path) -> Character:
    """Return the character of a card file (`.json` or `.png`).

    Raises:
        ConfigError: The file is missing, unreadable, too large, or holds no card.
    """
    raw = _read_limited(path)
    text = _card_text_from_png(raw, path) if raw.startswith(PNG_SIGNATURE) else _decode(raw, path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the card is not valid JSON ({error})", where=str(path)) from error
    return parse_card(document, where=str(path))


def write_card(character: Character, path: Path, *, image: Path | None = None) -> None:
    """Write a card: JSON (V2 with V1 mirror) for `.json`, else a PNG with a `chara` and a `ccv3` chunk.

    The file appears whole or not at all.

    Args:
        character: What to write.
        path: Target, ending in `.json` or `.png`.
        image: PNG that supplies the picture; a PNG target without one keeps the picture of an existing target.

    Raises:
        ConfigError: The ending is unknown or there is no picture to write into.
    """
    if path.suffix.lower() == ".json":
        content = json.dumps(character.as_v2(), ensure_ascii=False, indent=2).encode()
    elif path.suffix.lower() == ".png":
        content = _png_with_card(character, picture=image or path)
    else:
        raise ConfigError(f"cannot write a card as '{path.suffix}'", where=str(path), needed="'.json' or '.png'")
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def _read_limited(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_CARD_BYTES:
            limit = f"at most {MAX_CARD_BYTES // 2**20} MiB"
            raise ConfigError(f"the card is {size / 2**20:.1f} MiB", where=str(path), needed=limit)
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the card cannot be read ({error.strerror})", where=str(path)) from error


def _decode(raw: bytes, path: Path) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"the card is not UTF-8 (byte {error.start})", where=str(path)) from error


def _card_text_from_png(raw: bytes, path: Path) -> str:
    found: dict[str, bytes] = {}
    for kind, payload in _chunks(raw, path):
        if kind == b"tEXt" and b"\0" in payload:
            name, text = payload.split(b"\0", 1)
            if len(text) > MAX_TEXT_CHUNK_BYTES:
                limit = f"at most {MAX_TEXT_CHUNK_BYTES // 2**20} MiB"
                raise ConfigError(f"a text chunk is {len(text) / 2**20:.1f} MiB", where=str(path), needed=limit)
            found[name.decode("latin-1").lower()] = text
    for keyword in _CARD_KEYWORDS:
        if keyword in found:
            try:
                return base64.b64decode(found[keyword], validate=False).decode("utf-8")
            except (binascii.Error, UnicodeDecodeError) as error:
                raise ConfigError(f"chunk '{keyword}' is not base64 of UTF-8 text", where=str(path)) from error
    raise ConfigError("the PNG holds no character card", where=str(path), needed="a tEXt chunk named 'chara' or 'ccv3'")


def _chunks(raw: bytes, path: Path) -> Iterator[tuple[bytes, bytes]]:
    at = len(PNG_SIGNATURE)
    while at < len(raw):
        if at + 12 > len(raw):
            raise ConfigError("the PNG ends in the middle of a chunk", where=str(path))
        (length,) = struct.unpack(">I", raw[at : at + 4])
        kind, payload = raw[at + 4 : at + 8], raw[at + 8 : at + 8 + length]
        if len(payload) != length or at + 12 + length > len(raw):
            raise ConfigError("the PNG ends in the middle of a chunk", where=str(path))
        yield kind, payload
        at += 12 + length
        if kind == b"IEND":
            return


def _png_with_card(character: Character, *, picture: Path) -> bytes:
    raw = _read_limited(picture)
    if not raw.startswith(PNG_SIGNATURE):
        raise ConfigError("the picture is not a PNG", where=str(picture), needed="a PNG file")
    out = [PNG_SIGNATURE]
    for kind, payload in _chunks(raw, picture):
        keyword = payload.split(b"\0", 1)[0].decode("latin-1").lower()
        if kind == b"tEXt" and keyword in _CARD_KEYWORDS:
            continue
        if kind == b"IEND":
            out += [_text_chunk("chara", character.as_v2()), _text_chunk("ccv3", character.as_v3())]
        out.append(_chunk(kind, payload))
    return b"".join(out)


def _text_chunk(keyword: str, document: dict[str, object]) -> bytes:
    text = base64.b64encode(json.dumps(document, ensure_ascii=False).encode())
    return _chunk(b"tEXt", keyword.encode() + b"\0" + text)


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))
