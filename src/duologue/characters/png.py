"""Cards in PNG and APNG pictures: chunks are walked byte by byte, pixels are never decoded.

The card is the text of a chunk named `ccv3` (V3) or `chara` (V2), base64 of UTF-8 JSON. The specifications say tEXt;
zTXt and iTXt are read too, unpacked only when they have that name and only up to the limit. Chunks named
`chara-ext-asset_:PATH` hold files of the card; they are read, and kept where they are.
"""

import base64
import binascii
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from duologue.errors import ConfigError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_TEXT_CHUNK_BYTES = 16 * 2**20  # the card's text; the largest ones seen, full of pictures, are below 10 MiB
CARD_KEYWORDS = ("ccv3", "chara")  # V3 wins when both are present (V3 specification)
ASSET_KEYWORD = "chara-ext-asset_"

_TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt")


@dataclass(frozen=True, slots=True)
class PngCard:
    """What a PNG holds of a card.

    Attributes:
        texts: The JSON of the card, the one to prefer first.
        assets: Its files by path.
        notes: What was not as it should be.
    """

    texts: tuple[tuple[str, bytes], ...]
    assets: dict[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_png(raw: bytes, *, where: str, with_assets: bool) -> PngCard:
    """Return what a PNG holds of a card.

    Args:
        raw: The whole file.
        where: Its name, for messages.
        with_assets: Whether to read the files in it as well.

    Raises:
        ConfigError: It is cut off, a text is too large, or it holds no card.
    """
    found: dict[str, bytes] = {}
    assets: dict[str, bytes] = {}
    notes = []
    for kind, payload, is_whole in chunks(raw, where=where):
        keyword = _keyword(kind, payload)
        if keyword.lower() in CARD_KEYWORDS:
            if not is_whole:
                notes.append(f"the checksum of chunk '{keyword}' is wrong")
            # Of several with one name the first counts, as in SillyTavern.
            found.setdefault(keyword.lower(), _text(kind, payload, keyword=keyword, where=where))
        elif with_assets and kind == b"tEXt" and keyword.startswith(ASSET_KEYWORD):
            path = keyword.removeprefix(ASSET_KEYWORD).removeprefix(":")
            try:
                assets.setdefault(path, _unbase64(payload.partition(b"\0")[2]))
            except binascii.Error:
                notes.append(f"the file '{path}' in the picture is not base64 and is left out")
    if not found:
        raise ConfigError("the PNG holds no character card", where=where, needed="a tEXt chunk named 'chara' or 'ccv3'")
    texts = tuple((keyword, found[keyword]) for keyword in CARD_KEYWORDS if keyword in found)
    return PngCard(texts, assets, tuple(notes))


def card_json(text: bytes, *, keyword: str, where: str) -> bytes:
    """Return the JSON of a card's chunk: base64 as specified, or plain as some tools write it.

    Raises:
        ConfigError: It is neither.
    """
    if text.lstrip()[:1] == b"{":
        return text
    try:
        decoded = _unbase64(text)
        decoded.decode("utf-8")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"chunk '{keyword}' is not base64 of UTF-8 text", where=where) from error
    return decoded


def png_with_card(picture: bytes, *, chara: bytes, ccv3: bytes, where: str) -> bytes:
    """Return a PNG with both card chunks in front of its end, in place of those it had.

    Args:
        picture: A PNG; its pixels and its other chunks stay as they are.
        chara: The card as V2 JSON.
        ccv3: The card as V3 JSON.
        where: Name of the picture, for messages.

    Raises:
        ConfigError: The picture is cut off, or a card is too large to be read again.
    """
    out = [without_card(picture, where=where, keeps_assets=True)[: -len(_END)]]
    for keyword, document in (("chara", chara), ("ccv3", ccv3)):
        text = base64.b64encode(document)
        _check_size(len(text), keyword=keyword, where=where)
        out.append(chunk(b"tEXt", keyword.encode() + b"\0" + text))
    return b"".join([*out, _END])


def without_card(picture: bytes, *, where: str, keeps_assets: bool) -> bytes:
    """Return a PNG without the card in it, checksums made right.

    Raises:
        ConfigError: It is cut off.
    """
    out = [PNG_SIGNATURE]
    for kind, payload, _ in chunks(picture, where=where):
        keyword = _keyword(kind, payload)
        is_card = keyword.lower() in CARD_KEYWORDS or (keyword.startswith(ASSET_KEYWORD) and not keeps_assets)
        if not is_card and kind != b"IEND":
            out.append(chunk(kind, payload))
    return b"".join([*out, _END])


def chunks(raw: bytes, *, where: str) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield the kind and the content of each chunk, and whether its checksum is right.

    Raises:
        ConfigError: The file ends before its last chunk does.
    """
    cut = ConfigError("the PNG ends in the middle of a chunk", where=where)
    at = len(PNG_SIGNATURE)
    while True:
        if at + 12 > len(raw):
            raise cut
        (length,) = struct.unpack(">I", raw[at : at + 4])
        kind, payload = raw[at + 4 : at + 8], raw[at + 8 : at + 8 + length]
        if at + 12 + length > len(raw):
            raise cut
        checksum = struct.unpack(">I", raw[at + 8 + length : at + 12 + length])[0]
        yield kind, payload, checksum == zlib.crc32(kind + payload)
        at += 12 + length
        if kind == b"IEND":
            return


def chunk(kind: bytes, payload: bytes) -> bytes:
    """Return a chunk with its length and its checksum."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


_END = chunk(b"IEND", b"")


def _keyword(kind: bytes, payload: bytes) -> str:
    """Return the name of a text chunk, or an empty text; a name has at most 79 characters."""
    name, separator, _ = payload[:400].partition(b"\0")
    return name.decode("latin-1") if kind in _TEXT_KINDS and separator else ""


def _text(kind: bytes, payload: bytes, *, keyword: str, where: str) -> bytes:
    rest = payload.partition(b"\0")[2]
    is_packed = kind == b"zTXt"
    if kind == b"zTXt":
        rest = rest[1:]
    elif kind == b"iTXt":
        is_packed, rest = rest[:1] == b"\1", rest[2:]
        rest = rest.partition(b"\0")[2].partition(b"\0")[2]  # language and translated name
    if not is_packed:
        _check_size(len(rest), keyword=keyword, where=where)
        return rest
    try:
        text = zlib.decompressobj().decompress(rest, MAX_TEXT_CHUNK_BYTES + 1)
    except zlib.error as error:
        raise ConfigError(f"chunk '{keyword}' cannot be unpacked ({error})", where=where) from error
    _check_size(len(text), keyword=keyword, where=where)
    return text


def _check_size(num_bytes: int, *, keyword: str, where: str) -> None:
    if num_bytes > MAX_TEXT_CHUNK_BYTES:
        limit = f"at most {MAX_TEXT_CHUNK_BYTES // 2**20} MiB"
        size = f"{num_bytes / 2**20:.1f} MiB" if num_bytes > MAX_TEXT_CHUNK_BYTES + 1 else "larger"
        action = "A card with large files belongs into a '.charx'."
        raise ConfigError(f"the text of chunk '{keyword}' is {size}", where=where, needed=limit, action=action)


def _unbase64(text: bytes) -> bytes:
    return base64.b64decode(b"".join(text.split()), validate=True)
