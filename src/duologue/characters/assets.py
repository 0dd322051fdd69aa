"""Where a card's files are: as files of a CharX, or inside the text of a JSON or PNG card.

A V3 card names its files by URI. Moving a card into another form moves the files and rewrites their URIs; the content
of every file stays the same, byte for byte. An address on the network is left as it is and never asked.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from duologue.characters.png import PNG_SIGNATURE, without_card
from duologue.errors import ConfigError

EMBEDDED = ("embeded://", "embedded://")  # the specification spells it with one d; SillyTavern reads both
_CHUNK = "__asset:"
_DEFAULT = "ccdefault:"
_DATA = re.compile(r"data:[^,;]*((?:;[^,;]*)*),", re.IGNORECASE)
_FOLDERS = {
    **dict.fromkeys(("png", "jpg", "jpeg", "webp", "avif", "gif", "svg", "bmp"), "images"),
    **dict.fromkeys(("mp3", "ogg", "wav", "flac", "m4a"), "audio"),
    **dict.fromkeys(("mp4", "webm", "mov", "mkv"), "video"),
    **dict.fromkeys(("mmd", "obj", "glb", "gltf", "vrm"), "3d"),
    **dict.fromkeys(("safetensors", "ckpt", "onnx"), "ai"),
    **dict.fromkeys(("otf", "ttf", "woff", "woff2"), "fonts"),
    **dict.fromkeys(("lua", "js", "py", "ts"), "code"),
}
_TYPES = {
    **{name: f"image/{name}" for name in ("png", "jpeg", "webp", "avif", "gif")},
    **{name: f"audio/{name}" for name in ("ogg", "wav")},
    **{name: f"video/{name}" for name in ("mp4", "webm")},
    "jpg": "image/jpeg",
    "mp3": "audio/mpeg",
}


@dataclass(frozen=True, slots=True)
class Moved:
    """A card document whose files are somewhere else now.

    Attributes:
        document: V3.
        files: Files of the CharX, by path.
        picture: The PNG that is the card's main icon, where one was found.
        left_out: Files that the new form has no place for.
    """

    document: dict[str, Any]
    files: dict[str, bytes]
    picture: bytes | None = None
    left_out: tuple[str, ...] = ()


def missing_files(document: Mapping[str, Any], names: Mapping[str, object]) -> tuple[str, ...]:
    """Return the files that a card names and its CharX does not hold."""
    uris = (asset["uri"] for asset in _assets(document))
    paths = (uri[len(prefix) :] for uri in uris for prefix in EMBEDDED if uri.startswith(prefix))
    return tuple(path for path in paths if path not in names)


def into_files(
    document: dict[str, Any],
    files: Mapping[str, bytes],
    *,
    picture: bytes | None,
    taken: Mapping[str, bytes] | None = None,
) -> Moved:
    """Return a V3 document whose files are beside it, for a CharX.

    Args:
        document: A V3 document; changed.
        files: Those in its PNG, by path.
        picture: The PNG it came in.
        taken: Files that the CharX has already.
    """
    out: dict[str, bytes] = dict(taken or {})
    used: set[str] = set()
    if picture is not None:
        _name_picture(document)
    for asset in _assets(document):
        uri = asset["uri"]
        content = _from_data(uri)
        if uri.startswith(_CHUNK):
            content = files.get(uri.removeprefix(_CHUNK))
            used.add(uri.removeprefix(_CHUNK))
        elif uri == _DEFAULT and asset.get("type") == "icon":
            content = picture
        if content is not None:
            path = _free_path(asset, out)
            out[path] = content
            asset["uri"] = f"{EMBEDDED[0]}{path}"
    for path, content in files.items():  # the card means them in its own way, such as Risu's extensions
        if path not in used:
            out[_free_path({"type": "other", "name": path, "ext": "bin"}, out)] = content
    return Moved(document, out)


def into_text(document: dict[str, Any], files: Mapping[str, bytes], *, wants_picture: bool) -> Moved:
    """Return a V3 document with its files written into it, for JSON and PNG.

    Args:
        document: A V3 document; changed.
        files: Those of its CharX or its PNG, by path.
        wants_picture: Whether the main icon becomes the picture of a PNG, when it is one.
    """
    used: set[str] = set()
    picture = None
    assets = _assets(document)
    icon = main_icon(assets)
    for asset in assets:
        path = _path(asset["uri"])
        if path not in files:
            continue
        used.add(path)
        content = files[path]
        if wants_picture and asset is icon and _is_bare_png(content):
            picture, asset["uri"] = content, _DEFAULT
        else:
            kind = _TYPES.get(str(asset.get("ext", "")).lower(), "application/octet-stream")
            asset["uri"] = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return Moved(document, {}, picture, tuple(path for path in files if path not in used))


def main_icon(assets: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the icon that stands for the character: the one named main, else the first."""
    icons = [asset for asset in assets if asset.get("type") == "icon"]
    return next((asset for asset in icons if asset.get("name") == "main"), icons[0] if icons else None)


def icon_content(document: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes | None:
    """Return the content of the main icon, where the card holds it."""
    icon = main_icon(_assets(document))
    return None if icon is None else files.get(_path(icon["uri"]), _from_data(icon["uri"]))


def icon_path(document: Mapping[str, Any]) -> str:
    """Return where in a CharX the main icon is; empty when it is elsewhere."""
    icon = main_icon(_assets(document))
    return "" if icon is None else _path(icon["uri"])


def is_picture(content: bytes) -> bool:
    """Whether a file begins as a PNG, a JPEG or a WebP does."""
    return content.startswith((PNG_SIGNATURE, b"\xff\xd8\xff")) or content[:4] + content[8:12] == b"RIFFWEBP"


def _name_picture(document: dict[str, Any]) -> None:
    """Let a document name the picture of its PNG, which needs no name there."""
    found = _assets(document)
    if any(asset.get("type") == "icon" and asset["uri"] == _DEFAULT for asset in found):
        return
    name = "main" if main_icon(found) is None else "card"
    named = {"type": "icon", "uri": _DEFAULT, "name": name, "ext": "png"}
    kept = document["data"].get("assets")
    document["data"]["assets"] = [*(kept if isinstance(kept, list) else []), named]


def _assets(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    data = document.get("data")
    found = data.get("assets") if isinstance(data, dict) else None
    items = found if isinstance(found, list) else []
    return [item for item in items if isinstance(item, dict) and isinstance(item.get("uri"), str)]


def _path(uri: str) -> str:
    """Return where in its CharX or its PNG a file is; empty when it is elsewhere."""
    return next((uri[len(prefix) :] for prefix in (*EMBEDDED, _CHUNK) if uri.startswith(prefix)), "")


def _from_data(uri: str) -> bytes | None:
    """Return the content of a data URI; None for another one, and for one that cannot be read."""
    match = _DATA.match(uri)
    if match is None:
        return None
    rest = uri[match.end() :]
    if ";base64" not in match[1].lower():
        from urllib.parse import unquote_to_bytes

        return unquote_to_bytes(rest)
    try:
        return base64.b64decode(rest, validate=True)
    except binascii.Error:
        return None


def _is_bare_png(content: bytes) -> bool:
    """Whether a file can be the picture of a card and be taken out again as it was."""
    if not content.startswith(PNG_SIGNATURE):
        return False
    try:
        return without_card(content, where="", keeps_assets=False) == content
    except ConfigError:
        return False


def _free_path(asset: Mapping[str, Any], taken: Mapping[str, bytes]) -> str:
    ext = re.sub(r"[^a-z0-9]", "", str(asset.get("ext") or "").lower())[:16] or "unknown"
    kind = re.sub(r"[^A-Za-z0-9_-]", "_", str(asset.get("type") or "other"))[:40] or "other"
    name = re.sub(r"[^A-Za-z0-9_-]", "_", str(asset.get("name") or "file"))[:80] or "file"
    folder = f"assets/{kind}/{_FOLDERS.get(ext, 'other')}"
    path, number = f"{folder}/{name}.{ext}", 1
    while path in taken:
        number += 1
        path = f"{folder}/{name}_{number}.{ext}"
    return path
