"""Who talks: each user's name, persona and way of drawing replies, in place of those of the configuration.

One file holds them for everyone and every character. Somebody who set nothing gets what duologue.toml says.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from duologue.chat.drawing import changed_config, config_with_preset
from duologue.config import Config, preset_names
from duologue.errors import ConfigError, DataError
from duologue.files import write_whole
from duologue.store import written_alone

# What a user may choose. A file as preset, texts that end a reply and biases are the operator's.
DRAWN_KEYS = (
    "max_new_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "dry_multiplier",
    "xtc_probability",
    "xtc_threshold",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
    "seed",
)


@dataclass(frozen=True, slots=True)
class Wish:
    """How one user wants one character's replies drawn.

    Attributes:
        preset: A shipped preset; empty for what duologue.toml says.
        values: Keys of `[generation]` that win over both.
    """

    preset: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Person:
    """A user, as the user says.

    Attributes:
        name: What `{{user}}` stands for; empty for what duologue.toml says.
        persona: Who the user is; None for what duologue.toml says.
        wishes: By character's id.
    """

    name: str = ""
    persona: str | None = None
    wishes: Mapping[str, Wish] = field(default_factory=dict)

    def config(self, config: Config, *, character: str) -> Config:
        """Return a configuration as this person wants it; the very same one when nothing is wanted.

        Raises:
            ConfigError: A wish is not possible.
        """
        own: dict[str, Any] = {}
        if self.name:
            own["user_name"] = self.name
        if self.persona is not None:
            own["persona"] = self.persona
        if own:
            config = config.model_copy(update={"character": config.character.model_copy(update=own)})
        wish = self.wishes.get(character)
        return drawn_config(config, wish) if wish else config


def drawn_config(config: Config, wish: Wish) -> Config:
    """Return a configuration with a wish in its `[generation]`.

    Raises:
        ConfigError: There is no such preset among the shipped ones, no such key, or a value is wrong.
    """
    if wish.preset and wish.preset not in preset_names():
        known = ", ".join(preset_names())
        raise ConfigError(f"there is no preset '{wish.preset[:40]}'", where="preset", needed=f"one of {known}")
    foreign = [key for key in wish.values if key not in DRAWN_KEYS]
    if foreign:
        raise ConfigError(f"'{foreign[0][:40]}' is not a user's to choose", needed=f"one of {', '.join(DRAWN_KEYS)}")
    if wish.preset:
        config = config_with_preset(config, wish.preset)
    return changed_config(config, {key: json.dumps(value) for key, value in wish.values.items()})


class People:
    """Everyone who has set something. Threads may share it.

    Args:
        path: A JSON file, made when somebody first sets something; None keeps everything in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Read the file.

        Raises:
            DataError: It is not what `put` writes.
        """
        self._path = path
        self._lock = threading.Lock()
        self._people: dict[str, Person] = {}
        self._stamp: tuple[int, ...] = ()
        self._read_again()

    def get(self, user: str) -> Person:
        """Return what a user has set, also what another process of this server was told.

        Raises:
            DataError: The file is not what `put` writes.
        """
        with self._lock:
            self._read_again()
            return self._people.get(_key(user), Person())

    def put(self, user: str, person: Person) -> None:
        """Store what a user has set.

        Raises:
            DataError: The file cannot be written; nothing is changed.
        """
        if self._path is None:
            with self._lock:
                self._people = self._people_with(user, person)
            return
        try:
            with self._lock, written_alone(self._path):
                self._read_again()
                people = self._people_with(user, person)
                _write(people, self._path)
                self._people, self._stamp = people, _stamp(self._path)
        except OSError as error:
            raise DataError(f"the file cannot be written ({error.strerror})", where=str(self._path)) from error

    def _people_with(self, user: str, person: Person) -> dict[str, Person]:
        others = {key: each for key, each in self._people.items() if key != _key(user)}
        return others if person == Person() else {**others, _key(user): person}

    def _read_again(self) -> None:
        """Read the file if it has changed."""
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            assert self._path is not None, "nothing changes without a file"
            self._people = _read(self._path) if stamp else {}
            self._stamp = stamp


def _stamp(path: Path | None) -> tuple[int, ...]:
    """Return what changes with every write of a file; nothing where there is none."""
    try:
        status = path.stat() if path is not None else None
    except OSError:
        return ()
    return (status.st_ino, status.st_mtime_ns, status.st_size) if status is not None else ()


def _write(people: Mapping[str, Person], path: Path) -> None:
    document = {key: asdict(person) for key, person in people.items()}
    # Who people say they are is nobody else's business.
    write_whole(path, json.dumps(document, ensure_ascii=False, indent=1), mode=0o600)


def _key(user: str) -> str:
    """Return a name that says nothing about the user and fits any file."""
    return hashlib.sha256(user.encode("utf-8", "replace")).hexdigest()[:32]


def _read(path: Path) -> dict[str, Person]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): _person(value) for key, value in document.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        action = "Mend the file, or remove it: everyone then sets name and persona anew."
        raise DataError(f"this is not the file of people ({error})", where=str(path), action=action) from error


def _person(value: dict[str, Any]) -> Person:
    wishes = {str(key): Wish(**wish) for key, wish in value.pop("wishes", {}).items()}
    return replace(Person(**value), wishes=wishes)
