"""Characters' folders as the page changes them: made of a card, put aside, brought back; cards kept as they were."""

import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

from duologue.characters import Character
from duologue.chat import slug
from duologue.config import CONFIG_NAME, Home, make_folder, set_key
from duologue.errors import ConfigError, GuardError
from duologue.files import replacing
from duologue.guard import Rating
from duologue.serve.library import Entry, Library
from duologue.serve.page.cards import lowest_rating
from duologue.serve.refusal import ApiError

BACKUPS = ".backups"  # earlier cards of a character, in its folder
REMOVED = "removed"  # characters that were put aside, in the home
NUM_BACKUPS = 20
_MAX_NAME_CHARS = 60
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|removed)", re.IGNORECASE)  # the first ones by Windows
_REMOVED_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,60}@[0-9]{8}T[0-9]{12}")


def make_character(library: Library, home: Home, card: Path, character: Character, *, recipe: str) -> Path:
    """Make the folder of a new character from its card.

    Raises:
        ApiError: 409: the home is one character's own folder.
        GuardError: With reason `content_policy`: the home's rating does not allow the card.
        ConfigError: The folder cannot be made.
    """
    if library.is_single:
        raise single_home()
    rating: Rating = lowest_rating(character, highest=home.guard.rating)
    folder = make_folder(free_folder(library.root, character.name), recipe=recipe, data=(), card=card)
    if rating != "general":
        set_key(folder / CONFIG_NAME, "guard.rating", rating)
    return folder


def single_home() -> ApiError:
    """Return the refusal for what a home of one character cannot do."""
    return ApiError(
        409,
        "this server serves one character's own folder, so there is no place for others; to have several, put their "
        "folders into one and serve that one: duologue serve HOME",
        code="single_home",
    )


def free_folder(root: Path, name: str) -> Path:
    """Return where a character of this name can have its folder."""
    stem = slug(name)[:_MAX_NAME_CHARS].strip("-") or "character"
    if _RESERVED.fullmatch(stem):
        stem = f"character-{stem}"
    taken = {path.name.lower() for path in root.iterdir()} if root.is_dir() else set()
    path, number = stem, 1
    while path in taken:
        number += 1
        path = f"{stem}-{number}"
    return root / path


def put_aside(library: Library, entry: Entry) -> str:
    """Move a character's folder into the home's `removed/` and return its name there; nothing is erased.

    Raises:
        ApiError: 409: the home is one character's own folder.
        ConfigError: The folder cannot be moved.
    """
    if library.is_single:
        raise single_home()
    stem = slug(entry.folder.name)[:_MAX_NAME_CHARS]
    name = f"{stem}@{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    library.forget(entry.id)
    try:
        (library.root / REMOVED).mkdir(exist_ok=True)
        entry.folder.rename(library.root / REMOVED / name)
    except OSError as error:
        raise ConfigError(f"the folder cannot be moved ({error.strerror})", where=str(entry.folder)) from error
    return name


def bring_back(library: Library, name: str) -> Path:
    """Move a folder out of `removed/` again and return where it is.

    Raises:
        GuardError: With reason `not_found`.
        ConfigError: The folder cannot be moved.
    """
    source = library.root / REMOVED / name
    if not _REMOVED_NAME.fullmatch(name) or not (source / CONFIG_NAME).is_file():
        raise GuardError("there is no such removed character", reason="not_found", where="removed")
    target = free_folder(library.root, name.partition("@")[0])
    try:
        source.rename(target)
    except OSError as error:
        raise ConfigError(f"the folder cannot be moved ({error.strerror})", where=str(source)) from error
    return target


def removed_characters(library: Library) -> list[dict[str, str]]:
    """Return what lies in `removed/`, the latest first."""
    place = library.root / REMOVED
    names = [path.name for path in place.iterdir() if path.is_dir()] if place.is_dir() else []
    known = [name for name in names if _REMOVED_NAME.fullmatch(name)]
    rows = [(*name.split("@"), name) for name in known]
    return [
        {"id": name, "name": stem, "at": f"{datetime.strptime(at, '%Y%m%dT%H%M%S%f').isoformat()}+00:00"}
        for stem, at, name in sorted(rows, key=lambda row: row[1], reverse=True)
    ]


def keep_backup(card: Path) -> None:
    """Keep a card file as it is now; the oldest of many go.

    Raises:
        ConfigError: It cannot be copied.
    """
    place = card.parent / BACKUPS
    try:
        place.mkdir(exist_ok=True)
        kept = place / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}{card.suffix}"
        with replacing(kept) as partial:  # half a card, when the disk is full, must never be what an undo brings back
            shutil.copyfile(card, partial)
        for old in backups(card)[NUM_BACKUPS:]:
            old.unlink()
    except OSError as error:
        raise ConfigError(f"the card cannot be kept ({error.strerror})", where=str(place)) from error


def backups(card: Path) -> list[Path]:
    """Return the earlier states of a card file, the latest first."""
    place = card.parent / BACKUPS
    return sorted(place.glob(f"*{card.suffix}"), reverse=True) if place.is_dir() else []


def undo_card(card: Path) -> None:
    """Put the latest earlier state of a card in its place; the one it replaces is gone.

    Raises:
        GuardError: With reason `not_found`: there is none.
        ConfigError: It cannot be put in its place.
    """
    kept = backups(card)
    if not kept:
        raise GuardError("there is no earlier version of this card", reason="not_found", where="card")
    try:
        os.replace(kept[0], card)
    except OSError as error:
        raise ConfigError(f"the card cannot be put back ({error.strerror})", where=str(card)) from error
