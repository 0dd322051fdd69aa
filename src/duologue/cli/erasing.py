"""Everything of one account erased in every folder of a home: chats, duels, memories with their copies, settings."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from duologue.chat import People, Person, Sessions, duels
from duologue.cli.places import SUPERMEMORY_VARIABLE, chats_place, database_url, memory_place, supermemory_key
from duologue.config import CONFIG_NAME, load_config
from duologue.errors import ConfigError
from duologue.memory import MemoryStore, Receipt, open_hosted

PEOPLE_NAME = "people.json"
_CHATS, _MEMORIES = "chats.sqlite", "memory.sqlite"


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased.

    Attributes:
        num_chats: Chats, with every character.
        num_duels: Pairs of replies that were compared blind.
        receipts: One for each store of memories that was searched afterwards.
    """

    num_chats: int
    num_duels: int
    receipts: tuple[Receipt, ...]


def erase_user(home: Path, user: str) -> Erased:
    """Erase what an account has left in a home, also in the folders of characters that were removed from it.

    Repeat the call if it fails in between: what was erased stays erased.

    Raises:
        ConfigError: A folder keeps copies of its memories elsewhere, and there is no key to erase them with.
        DataError: Another program reads a file, so that not every byte can be erased now.
    """
    people = People(home / PEOPLE_NAME)
    folders = tuple(_folders(home))
    for folder in folders:
        _require_key(folder)
    num_duels = sum(duels.forget_account(folder, user) for folder in folders)
    num_chats = sum(_erase_chats(place, user) for place in _places(folders, _CHATS))
    receipts = tuple(_forget(folder, user) for folder in _with_memories(folders))
    if people.get(user) != Person():
        people.put(user, Person())
    return Erased(num_chats, num_duels, receipts)


def _folders(home: Path) -> Iterator[Path]:
    """Yield the characters' folders of a home: its own, those in it, those put aside."""
    for pattern in (CONFIG_NAME, f"*/{CONFIG_NAME}", f"*/*/{CONFIG_NAME}"):
        yield from (path.parent for path in sorted(home.glob(pattern)))


def _places(folders: tuple[Path, ...], name: str) -> tuple[Path | str, ...]:
    """Return the one database of all folders, or the file of each folder that has one."""
    if database_url():
        return (chats_place(folders[0]),) if folders else ()
    return tuple(chats_place(folder) for folder in folders if (folder / name).is_file())


def _with_memories(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return the folders whose memories are opened: one is enough where all share a database without copies."""
    if not database_url():
        return tuple(folder for folder in folders if (folder / _MEMORIES).is_file())
    copied = tuple(folder for folder in folders if load_config(folder / CONFIG_NAME).memory.supermemory)
    return copied or folders[:1]


def _require_key(folder: Path) -> None:
    if load_config(folder / CONFIG_NAME).memory.supermemory and not supermemory_key():
        raise ConfigError(
            "this character's memories are also kept elsewhere, and there is no key to erase them there",
            where=str(folder),
            needed=SUPERMEMORY_VARIABLE,
            action=f"Set {SUPERMEMORY_VARIABLE} and say it again.",
        )


def _erase_chats(place: Path | str, user: str) -> int:
    sessions = Sessions.open(place, notify=_tell)
    try:
        return sessions.delete_user(user)
    finally:
        sessions.close()


def _forget(folder: Path, user: str) -> Receipt:
    settings = load_config(folder / CONFIG_NAME).memory
    with ExitStack() as opened:
        store = MemoryStore.open(memory_place(folder), notify=_tell)
        opened.callback(store.close)
        if settings.supermemory:
            hosted = open_hosted(store, url=settings.supermemory_url, key=supermemory_key())
            opened.callback(hosted.close)
        return store.forget_user(user)


def _tell(notice: str) -> None:
    print(f"duologue: {notice}", file=sys.stderr)
