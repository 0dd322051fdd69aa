"""The characters a server offers: the folders in its home, and a bot for each that somebody talks to.

A bot is opened with its chats and memories when somebody first looks at the character; its model is loaded once a word
of it is needed, and shared (`engine.Shelf`).
"""

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from duologue.characters import Character
from duologue.chat import Bot, duels, load_folder_character, slug
from duologue.config import CONFIG_NAME, Config, Home, load_config
from duologue.engine import Adapter, EngineName, Shelf
from duologue.errors import DuologueError, GuardError
from duologue.guard import RATINGS, Rating
from duologue.serve.retiring import Retiring
from duologue.train import Run, list_runs

log = logging.getLogger("duologue.serve")
_READ_SUFFIXES = frozenset({".toml", ".json", ".png", ".charx"})
FAULT_SHOWN = "its folder has faults; an admin sees which"
BASE_RUN = duels.BASE  # names the character on its base model, without an adapter


class OpenBot(Protocol):
    """Opens the bot of a folder."""

    def __call__(self, folder: Path, config: Config, *, adapter: Adapter | None) -> Bot:
        """Return the bot; its caller closes it."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A character of the home.

    Attributes:
        id: As in addresses and as the API's model: `lila-quill`.
        folder: Its folder.
        name: As shown.
        rating: Its content rating, never above the home's.
        config: Its configuration; None when it has faults.
        character: Its card; None when it has faults.
        runs: Names of its finished runs, the newest last.
        fault: Why it cannot be talked to, as a sentence; empty when it can.
    """

    id: str
    folder: Path
    name: str
    rating: Rating = "general"
    config: Config | None = None
    character: Character | None = None
    runs: tuple[str, ...] = ()
    fault: str = ""

    def broken(self) -> GuardError:
        """Return the refusal for whoever may not see the fault, which names places on this machine; it is logged."""
        log.error("%s cannot be talked to: %s", self.name, self.fault)
        return GuardError(f"{self.name}: {FAULT_SHOWN}", reason="broken", where="character")

    @property
    def card(self) -> Path | None:
        """The card's file, if it has one."""
        if self.config is None or not self.config.character.card:
            return None
        return self.folder / self.config.character.card


class Library:
    """The characters of a home folder.

    Args:
        root: A character's folder, or one that holds characters' folders.
        home: What holds for all of them.
        open_bot: Opens a bot; None for a library whose bots are open.
        overrides: Lines of `--set` for a home that is a character's folder itself.
        shelf: Where the bots have their models; None when each has its own.
        engine: Which engine replies.
        num_replies: Replies that one model makes at the same time.

    Attributes:
        retiring: The bots of folders that have changed; whoever starts a reply holds its bot there.
    """

    def __init__(
        self,
        root: Path,
        home: Home,
        *,
        open_bot: OpenBot | None,
        overrides: tuple[str, ...] = (),
        shelf: Shelf | None = None,
        engine: EngineName = "hf",
        num_replies: int = 1,
    ) -> None:
        """Open nothing."""
        self.root = root
        self.shelf = shelf
        self.engine = engine
        self.num_replies = num_replies
        self._home = home
        self._open_bot = open_bot
        self._overrides = overrides
        self._lock = threading.Lock()
        self._opening: dict[tuple[str, str], threading.Lock] = {}
        self._bots: dict[tuple[str, str], Bot] = {}
        self._known: dict[Path, tuple[object, Entry]] = {}
        self._num_forgotten = 0
        self.retiring = Retiring()
        self._only: Entry | None = None

    @classmethod
    def of(cls, bot: Bot, *, home: Home, folder: Path, card: Path | None = None) -> "Library":
        """Return the library of one bot that is open already and stays its owner's."""
        config = bot.config.model_copy(
            update={"character": bot.config.character.model_copy(update={"card": str(card) if card else ""})}
        )
        entry = Entry(bot.model_id, folder, bot.name, config.guard.rating, config, bot.character)
        library = cls(folder, home, open_bot=None)
        library._only = entry
        library._bots[(entry.id, BASE_RUN)] = bot
        return library

    @property
    def is_single(self) -> bool:
        """Whether the home is one character's own folder, where no other can be made."""
        return self._only is not None or (self.root / CONFIG_NAME).is_file()

    def entries(self) -> tuple[Entry, ...]:
        """Return every character, by name."""
        if self._only is not None:
            return (self._only,)
        folders = [self.root] if self.is_single else sorted(path.parent for path in self.root.glob(f"*/{CONFIG_NAME}"))
        entries: dict[str, Entry] = {}
        for folder in folders:
            entry = self._entry(folder)
            if entry.id in entries:  # two cards with one name: the folder tells them apart
                entry = replace(entry, id=f"{entry.id}-{slug(folder.name)}")
            entries[entry.id] = entry
        return tuple(sorted(entries.values(), key=lambda entry: (entry.name.casefold(), entry.id)))

    def entry(self, character_id: str) -> Entry:
        """Return a character.

        Raises:
            GuardError: With reason `not_found`.
        """
        found = next((entry for entry in self.entries() if entry.id == character_id), None)
        if found is None:
            raise GuardError(
                f"there is no character '{character_id[:80]}' here",
                reason="not_found",
                where="character",
                action="The page's list, or GET /v1/models, names those there are.",
            )
        return found

    def bot(self, character_id: str, *, run: str = "") -> Bot:
        """Return a character's bot, opened with its stores but perhaps without its model.

        Args:
            character_id: Which character.
            run: Name of the run whose adapter is used; the newest when empty, none with `BASE_RUN`.

        Raises:
            GuardError: With reason `not_found`.
            DuologueError: Its folder has faults.
        """
        num_forgotten = self._num_forgotten
        entry = self.entry(character_id)
        if entry.fault or entry.config is None:
            raise entry.broken()
        if run and run != BASE_RUN and run not in entry.runs:
            raise GuardError(f"{entry.name} has no finished run '{run[:80]}'", reason="not_found", where="run")
        run = run or (entry.runs[-1] if entry.runs else BASE_RUN)
        key = (entry.id, run)
        with self._lock:
            if key in self._bots:
                return self._bots[key]
            opening = self._opening.setdefault(key, threading.Lock())
        with opening:
            with self._lock:
                if key in self._bots:
                    return self._bots[key]
            assert self._open_bot is not None, "the only bot is open already"
            adapter = None if run == BASE_RUN else Run(entry.folder / "runs" / run).adapter()
            bot = self._open_bot(entry.folder, entry.config, adapter=adapter)
            with self._lock:
                is_current = num_forgotten == self._num_forgotten
                if is_current:
                    self._bots[key] = bot
            if not is_current:  # the folder has changed while it was opened: it serves this caller alone
                self.retiring.retire(bot)
            return bot

    def forget(self, character_id: str) -> None:
        """Give nobody a character's bots any more, whose folder has changed; the next call opens them anew.

        Replies that are being written go on to their end with the bot they began with, which is closed then.
        """
        with self._lock:
            self._num_forgotten += 1
            opened = [key for key in self._bots if key[0] == character_id] if self._open_bot else []
            closing = [self._bots.pop(key) for key in opened]
            self._known.clear()
        for bot in closing:
            self.retiring.retire(bot)

    def open_bots(self) -> tuple[Bot, ...]:
        """Return the bots that are open."""
        with self._lock:
            return tuple(self._bots.values())

    def close(self) -> None:
        """Close every bot that the library has opened."""
        with self._lock:
            closing = list(self._bots.values()) if self._open_bot else []
            self._bots.clear()
        self.retiring.close()
        for bot in closing:
            bot.close()

    def _entry(self, folder: Path) -> Entry:
        stamp = _stamp(folder)
        known = self._known.get(folder)
        if known is not None and known[0] == stamp:
            return known[1]
        entry = self._read(folder)
        self._known[folder] = (stamp, entry)
        return entry

    def _read(self, folder: Path) -> Entry:
        try:
            config = load_config(folder / CONFIG_NAME, overrides=self._overrides if self.is_single else ())
            rating = min(config.guard.rating, self._home.guard.rating, key=RATINGS.index)
            config = config.model_copy(update={"guard": config.guard.model_copy(update={"rating": rating})})
            character = load_folder_character(folder, config)
        except DuologueError as error:
            return Entry(slug(folder.name), folder, folder.name, fault=error.sentence())
        runs = tuple(run.name for run in list_runs(folder) if run.is_finished)
        return Entry(slug(character.name), folder, character.display_name, rating, config, character, runs)


def _stamp(folder: Path) -> object:
    """Return what changes when a folder's configuration, card or finished runs do."""
    files = [path for path in folder.iterdir() if path.suffix.lower() in _READ_SUFFIXES]
    files += folder.glob("runs/*/manifest.json")
    times = []
    for path in sorted(files):
        with suppress(OSError):  # it has just gone
            status = path.stat()
            times.append((path, status.st_mtime_ns, status.st_size))
    return times
