"""Prepared data kept for the next time, in a folder named by everything that decides what is in it.

The name is a SHA-256 over the contents of the files, the settings, the character, the tokenizer and the code of the
rooms that prepare data. The contents are read and hashed every time: size and time of a file can stay the same when
its contents change, and hashing takes a small part of the time of preparing. An entry counts only with its manifest,
which is written last and names the SHA-256 of every file in it.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from duologue import __version__
from duologue.data.store import cannot_write
from duologue.errors import DataError
from duologue.files import sync

CACHE_FOLDER = Path("runs") / ".cache"  # in a character's folder
NUM_KEPT = 3  # entries; the newest is in use, the others make it cheap to go back to an earlier setting

_MANIFEST = "manifest.json"
_PARTIAL = ".partial-"
_ABANDONED_SECONDS = 24 * 3600.0  # a folder that nobody finished for so long was left by a killed process
_DECIDING_CODE = ("data", "guard", "characters", "engine", "prompt.py", "messages.py")


def cache_key(parts: Mapping[str, Any]) -> str:
    """Return the name of an entry.

    Args:
        parts: What decides the result besides the code, as JSON values.
    """
    document = {"version": __version__, "code": _code_sha256(), **parts}
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's contents in hexadecimal; empty when it cannot be read.

    Reading it will say why.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def find_entry(folder: Path, key: str, *, say: Callable[[str], None]) -> Path | None:
    """Return the folder of a whole entry, or None; a damaged one is removed.

    Args:
        folder: The cache.
        key: Name of the entry.
        say: Told in a sentence when an entry is damaged.
    """
    entry = folder / key
    if not entry.is_dir():
        return None
    damage = _damage(entry)
    if damage:
        say(f"prepared data in {entry} is damaged ({damage}); it is made again")
        shutil.rmtree(entry, ignore_errors=True)
        return None
    with contextlib.suppress(OSError):  # a folder that cannot be written is still good to read
        os.utime(entry / _MANIFEST)  # the newest is the one used last
    return entry


def make_entry(folder: Path, key: str, fill: Callable[[Path], None]) -> Path:
    """Make an entry and return its folder; it appears whole or not at all.

    Args:
        folder: The cache; made when it is not there.
        key: Name of the entry.
        fill: Writes the files of the entry into the folder it is given.

    Raises:
        DataError: The disk is full or not writable.
    """
    entry = folder / key
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=folder))
    except OSError as error:
        raise cannot_write(error, folder) from error
    try:
        fill(partial)
        _write_manifest(partial)
        try:
            partial.rename(entry)
        except OSError:
            if _damage(entry):  # else another process made the same entry meanwhile
                raise
    except OSError as error:
        raise cannot_write(error, entry) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _prune(folder, keep=entry)
    return entry


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write JSON and flush it to the disk.

    Raises:
        DataError: The disk is full or not writable.
    """
    try:
        with path.open("w", encoding="utf-8", errors="surrogatepass") as stream:
            json.dump(document, stream, ensure_ascii=False)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise cannot_write(error, path) from error


def read_document(path: Path) -> dict[str, Any]:
    """Return JSON that `write_document` wrote.

    Raises:
        DataError: It cannot be read.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
    except (OSError, ValueError) as error:
        raise DataError(f"prepared data cannot be read ({error})", where=str(path)) from error
    return document


@cache
def _code_sha256() -> str:
    """Return a digest of the code that decides what is prepared, so that no version number can be forgotten."""
    root = Path(__file__).parents[1]
    files: list[Path] = []
    for name in _DECIDING_CODE:
        files += (root / name).rglob("*.py") if (root / name).is_dir() else [root / name]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(root).as_posix()}\0{file_sha256(file)}\0".encode())
    return digest.hexdigest()


def _write_manifest(folder: Path) -> None:
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)} for path in sorted(folder.iterdir())
    }
    write_document(folder / _MANIFEST, {"files": files})
    if os.name == "posix":
        sync(folder)


def _damage(entry: Path) -> str:
    """Return what is wrong with an entry, or an empty string."""
    try:
        files = read_document(entry / _MANIFEST)["files"]
        for name, expected in files.items():
            if (entry / name).stat().st_size != expected["bytes"]:
                return f"{name} has another size"
            if file_sha256(entry / name) != expected["sha256"]:
                return f"{name} was changed"
    except (DataError, OSError, KeyError, TypeError, AttributeError):
        return "it is not complete"
    return ""


def _prune(folder: Path, *, keep: Path) -> None:
    """Remove all but the newest entries, and what killed processes left."""
    entries = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(_PARTIAL)]
    entries.sort(key=_last_used, reverse=True)
    others = [entry for entry in entries if entry != keep]
    abandoned = [
        path for path in folder.glob(f"{_PARTIAL}*") if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
    ]
    _remove((*others[NUM_KEPT - 1 :], *abandoned))


def _last_used(entry: Path) -> float:
    manifest = entry / _MANIFEST
    return manifest.stat().st_mtime if manifest.is_file() else 0.0


def _remove(folders: Iterable[Path]) -> None:
    for path in folders:
        shutil.rmtree(path, ignore_errors=True)
