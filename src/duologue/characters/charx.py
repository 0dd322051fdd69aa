"""CharX: a zip with `card.json` at its root and the card's files beside it, read with limits.

Nothing is unpacked to disk and no zip inside it is opened. What a zip says about itself is not believed: the list of
its files is measured before it is read, and bytes are counted while they are unpacked.
"""

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from duologue.characters.json_text import MAX_JSON_BYTES
from duologue.errors import ConfigError

CARD_NAME = "card.json"
MAX_ENTRIES = 4096
MAX_NAME_CHARS = 512
MAX_LIST_BYTES = MAX_ENTRIES * 640
MAX_UNPACKED_BYTES = 2**30  # a CharX may carry weights; what is larger belongs beside it
MAX_RATIO = 200  # text shrinks to a tenth, pictures not at all; a bomb to a thousandth
MIN_BOMB_BYTES = 2**20  # small files may shrink as they like

_END_SIGN, _ZIP64_SIGN = b"PK\5\6", b"PK\6\7"
_END_LENGTH, _LOCATOR_LENGTH = 22, 20
_PACKED = re.compile(
    r"\.(?:png|jpe?g|webp|avif|gif|mp3|ogg|m4a|mp4|webm|zip|safetensors|ckpt|onnx|woff2?)", re.IGNORECASE
)
_DRIVE = re.compile(r"[A-Za-z]:")


def is_zip(path: Path) -> bool:
    """Whether a file ends as a zip does; it may begin with a program or a picture."""
    try:
        with path.open("rb") as file:
            return _find_end(file) is not None
    except OSError:
        return False


def read_charx(path: Path, *, wants: Callable[[str], bool]) -> tuple[bytes, dict[str, bytes], tuple[str, ...]]:
    """Return the JSON of a CharX, some of its other files by name, and the names of all other files.

    Args:
        path: The CharX.
        wants: Whether to read the file with this name as well.

    Raises:
        ConfigError: It is no zip, holds no card, or breaks a limit.
    """
    with open_charx(path) as charx:
        if CARD_NAME not in charx.entries:
            raise ConfigError(f"the CharX holds no '{CARD_NAME}'", where=str(path), needed="one at its root")
        card = charx.read(CARD_NAME, limit=MAX_JSON_BYTES)
        names = tuple(name for name in charx.entries if name != CARD_NAME)
        files = {name: charx.read(name, limit=MAX_UNPACKED_BYTES - charx.num_bytes) for name in names if wants(name)}
        return card, files, names


@contextmanager
def open_charx(path: Path) -> Iterator["OpenCharx"]:
    """Open a CharX whose list of files is checked; what is in them is counted as it is unpacked.

    Raises:
        ConfigError: It is no zip, or breaks a limit, or is found to be damaged while it is open.
    """
    where = str(path)
    try:
        with path.open("rb") as file:
            _check_list(file, where=where)
            with zipfile.ZipFile(file) as archive:
                yield OpenCharx(archive, _checked(archive, where=where), where)
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, ValueError) as error:
        raise ConfigError(f"the CharX is damaged ({error})", where=where) from error
    except OSError as error:
        raise ConfigError(f"the card cannot be read ({error.strerror or error})", where=where) from error


def write_charx(file: BinaryIO, *, card: bytes, files: Mapping[str, bytes]) -> None:
    """Write a CharX; equal content makes equal bytes."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in {CARD_NAME: card, **files}.items():
            entry = zipfile.ZipInfo(name)  # dated 1980
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            is_packed = _PACKED.search(name) is not None
            entry.compress_type = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)


class OpenCharx:
    """An open CharX: unpacks its files and counts what comes out.

    Attributes:
        entries: What the zip says of each file, by name.
        num_bytes: Unpacked so far.
    """

    def __init__(self, archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], where: str) -> None:
        """Take an archive whose list was checked."""
        self.entries = entries
        self.num_bytes = 0
        self._archive = archive
        self._where = where

    def pieces(self, name: str, *, limit: int) -> Iterator[bytes]:
        """Yield a file bit by bit.

        Raises:
            ConfigError: More comes out than `limit` bytes, or than any honest file of its packed size holds.
        """
        entry = self.entries[name]
        allowed = min(limit, max(MIN_BOMB_BYTES, MAX_RATIO * entry.compress_size))
        num_bytes = 0
        with self._archive.open(entry) as file:
            while piece := file.read(2**18):
                num_bytes += len(piece)
                if num_bytes > allowed:
                    reason = f"'{entry.filename}' unpacks to more than {allowed / 2**20:.0f} MiB"
                    needed = f"{limit / 2**20:.0f} MiB at most, and at most {MAX_RATIO} times its packed size"
                    raise ConfigError(reason, where=self._where, needed=needed)
                yield piece
        self.num_bytes += num_bytes

    def read(self, name: str, *, limit: int) -> bytes:
        """Return a file.

        Raises:
            ConfigError: As `pieces`.
        """
        return b"".join(self.pieces(name, limit=limit))


def _checked(archive: zipfile.ZipFile, *, where: str) -> dict[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    if len(archive.infolist()) > MAX_ENTRIES:
        raise ConfigError(
            f"the CharX holds {len(archive.infolist()):,} files", where=where, needed=f"at most {MAX_ENTRIES:,}"
        )
    for entry in archive.infolist():
        name = entry.orig_filename  # what is written there; `filename` is made harmless
        if fault := _name_fault(name):
            raise ConfigError(f"the file name {name[:80]!r} in the CharX {fault}", where=where)
        if entry.flag_bits & 0x1:
            raise ConfigError(f"'{name}' in the CharX is encrypted", where=where, needed="a CharX without a password")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise ConfigError(f"'{name}' in the CharX is a link", where=where, needed="files only")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ConfigError(
                f"'{name}' is packed by an unusual method", where=where, needed="stored or deflated files"
            )
        if name in entries:
            raise ConfigError(f"'{name}' is in the CharX twice", where=where)
        if not name.endswith("/"):
            entries[name] = entry
    return entries


def _name_fault(name: str) -> str:
    parts = name.split("/")
    if not name or len(name) > MAX_NAME_CHARS:
        return "is empty" if not name else f"is longer than {MAX_NAME_CHARS} characters"
    if name.startswith("/") or _DRIVE.match(name):
        return "is an absolute path"
    if "\\" in name or any(ord(char) < 32 for char in name):
        return "has a backslash or a control character"
    if ".." in parts or "." in parts or "" in parts[:-1]:
        return "leads out of the CharX"
    return ""


def _check_list(file: BinaryIO, *, where: str) -> None:
    """Refuse a list of files that would take much memory, before it is read."""
    end = _find_end(file)
    if end is None:
        raise ConfigError("the CharX is no zip, or cut off", where=where)
    record, before = end
    num_bytes = struct.unpack("<I", record[12:16])[0]
    if before.startswith(_ZIP64_SIGN):
        raise ConfigError("the CharX is a zip64", where=where, needed=f"at most {MAX_ENTRIES:,} files below 4 GiB")
    if num_bytes > MAX_LIST_BYTES:
        needed = f"at most {MAX_ENTRIES:,} files"
        raise ConfigError(
            f"the list of files in the CharX is {num_bytes / 2**20:.1f} MiB long", where=where, needed=needed
        )


def _find_end(file: BinaryIO) -> tuple[bytes, bytes] | None:
    """Return the record that ends a zip and the bytes before it."""
    size = file.seek(0, 2)
    length = min(size, _LOCATOR_LENGTH + _END_LENGTH + 2**16)
    file.seek(size - length)
    tail = file.read(length)
    at = tail.rfind(_END_SIGN)
    if at < 0 or at + _END_LENGTH > len(tail):
        return None
    return tail[at : at + _END_LENGTH], tail[max(0, at - _LOCATOR_LENGTH) : at]
