"""Lorebooks: V2 and V3 books, SillyTavern's World Info, and what their entries say, in one type.

What a book says is kept as it was read in `document`; the fields here are its meaning. Entries that cannot be used are
named in `Lorebook.warnings` and stay in the document.
"""

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from duologue.characters.decorators import NO_DECORATORS, Decorators, split_decorators
from duologue.characters.json_text import json_type, read_json_file
from duologue.characters.lore_keys import key_fault
from duologue.characters.world_info import book_entry, world_info_entry
from duologue.errors import ConfigError
from duologue.messages import Role

LorePosition = Literal[
    "before_char", "after_char", "note_top", "note_bottom", "at_depth", "before_examples", "after_examples", "outlet"
]
LoreLogic = Literal["and_any", "not_all", "not_any", "and_all"]
LoreOrigin = Literal["chat", "persona", "character", "global"]
BookForm = Literal["character_book", "lorebook_v3", "world_info"]

# Numbers of SillyTavern's World Info.
_POSITIONS: tuple[LorePosition, ...] = (
    "before_char",
    "after_char",
    "note_top",
    "note_bottom",
    "at_depth",
    "before_examples",
    "after_examples",
    "outlet",
)
_LOGICS: tuple[LoreLogic, ...] = ("and_any", "not_all", "not_any", "and_all")
_ROLES: tuple[Role, ...] = ("system", "user", "assistant")
_SCANNED_FIELDS = {
    "matchPersonaDescription": "persona",
    "matchCharacterDescription": "description",
    "matchCharacterPersonality": "personality",
    "matchCharacterDepthPrompt": "depth_prompt",
    "matchScenario": "scenario",
    "matchCreatorNotes": "creator_notes",
}
_T = TypeVar("_T")
DEFAULT_DEPTH = 4
MAX_KEYS = 100_000  # of one book; they are looked for at every turn, and the largest books known have a tenth
DEFAULT_ORDER = 100


@dataclass(frozen=True, slots=True)
class CharacterFilter:
    """For whom an entry is: only these names and tags, or everyone else."""

    names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    is_exclude: bool = False


@dataclass(frozen=True, slots=True)
class LoreEntry:
    """An entry of a lorebook. Field by field what SillyTavern's World Info calls the same.

    Attributes:
        uid: The entry's number or name in its book.
        state_key: Names the entry in saved state; another text, another key.
        content: What is put into the prompt, without decorators, macros as they are written.
        name: The entry's name or comment, for people.
        order: Low ones stand first in the prompt; high ones are kept when lore does not fit.
        priority: V2: kept before others in a book with its own budget.
        scan_depth: Messages in which the keys are looked for; None asks the book, then the settings.
        takes_keys_as_patterns: V3 `use_regex`, in a book that SillyTavern did not write: every key is a pattern.
        probability: Per cent.
        delay_until_recursion: Fires only for what other lore says, at this level of recursion; 0 at once.
        sticky: Messages for which it stays once it fired.
        cooldown: Messages for which it stays away after it fired.
        delay: Messages the chat must have before it may fire.
        triggers: Kinds of generation it is for (`normal`, `continue`, `impersonate`, `swipe`, `regenerate`, `quiet`).
        scanned_fields: Texts of the card and the persona in which the keys are looked for as well.
    """

    uid: str
    state_key: str = ""
    keys: tuple[str, ...] = ()
    secondary_keys: tuple[str, ...] = ()
    content: str = ""
    name: str = ""
    is_enabled: bool = True
    is_constant: bool = False
    is_selective: bool = True
    logic: LoreLogic = "and_any"
    order: float = DEFAULT_ORDER
    priority: float | None = None
    position: LorePosition = "before_char"
    depth: int = DEFAULT_DEPTH
    role: Role = "system"
    outlet: str = ""
    scan_depth: int | None = None
    case_sensitive: bool | None = None
    match_whole_words: bool | None = None
    takes_keys_as_patterns: bool = False
    probability: float = 100.0
    ignores_budget: bool = False
    excludes_recursion: bool = False
    prevents_recursion: bool = False
    delay_until_recursion: int = 0
    groups: tuple[str, ...] = ()
    overrides_group: bool = False
    group_weight: float = 100.0
    use_group_scoring: bool | None = None
    sticky: int = 0
    cooldown: int = 0
    delay: int = 0
    triggers: tuple[str, ...] = ()
    character_filter: CharacterFilter | None = None
    scanned_fields: tuple[str, ...] = ()
    decorators: Decorators = NO_DECORATORS


@dataclass(frozen=True, slots=True)
class Lorebook:
    """A lorebook.

    Attributes:
        name: For people; never in a prompt.
        entries: Those that can be used, in the order of the file.
        scan_messages: Messages in which keys are looked for; None leaves it to the settings.
        token_budget: Most tokens its entries may take together; None leaves it to the settings.
        is_recursive: Whether its entries fire for what other lore says; None leaves it to the settings.
        origin: Whose lore it is; decides who comes first when not all fits.
        form: What was read.
        document: As it was read.
        warnings: What could not be used, and why.
    """

    name: str = ""
    entries: tuple[LoreEntry, ...] = ()
    scan_messages: int | None = None
    token_budget: int | None = None
    is_recursive: bool | None = None
    origin: LoreOrigin = "character"
    form: BookForm = "character_book"
    document: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def as_document(self) -> dict[str, Any]:
        """Return the book as it was read."""
        return copy.deepcopy(dict(self.document))

    def as_character_book(self) -> dict[str, Any]:
        """Return the book as the `character_book` of a card."""
        document = self.as_document()
        if self.form == "lorebook_v3":
            return dict(document["data"])
        if self.form == "character_book":
            return document
        entries = _world_info_entries(document)
        book = [book_entry(entry, number=number) for number, entry in enumerate(entries) if isinstance(entry, dict)]
        return {"extensions": {}, **document, "entries": book}

    def as_lorebook_v3(self) -> dict[str, Any]:
        """Return the book as a V3 lorebook file."""
        return self.as_document() if self.form == "lorebook_v3" else {"spec": "lorebook_v3", "data": self._v3_data()}

    def as_world_info(self) -> dict[str, Any]:
        """Return the book as a World Info file of SillyTavern."""
        if self.form == "world_info":
            return self.as_document()
        book = self.as_character_book()
        entries = [
            world_info_entry(entry, number=number)
            for number, entry in enumerate(book.get("entries") or [])
            if isinstance(entry, dict)
        ]
        uids = [str(entry["uid"]) for entry in entries]
        names = uids if len(set(uids)) == len(uids) else [str(number) for number in range(len(entries))]
        return {**book, "entries": dict(zip(names, entries, strict=True))}

    def _v3_data(self) -> dict[str, Any]:
        book = self.as_character_book()
        for entry in book.get("entries") or []:
            if isinstance(entry, dict):
                entry.setdefault("use_regex", False)
        book.setdefault("extensions", {})
        return book


def load_lorebook(path: Path, *, origin: LoreOrigin = "global") -> Lorebook:
    """Return the lorebook of a JSON file: a V3 lorebook, a card's book by itself, or World Info of SillyTavern.

    Raises:
        ConfigError: The file is missing, too large, not JSON, or no lorebook.
    """
    document, notes = read_json_file(path, what="lorebook")
    return parse_lorebook(document, where=str(path), origin=origin, notes=notes)


def parse_lorebook(
    document: object, *, where: str, origin: LoreOrigin = "character", notes: tuple[str, ...] = ()
) -> Lorebook:
    """Return the lorebook of a document.

    Args:
        document: Parsed JSON: V2 or V3 book, `lorebook_v3`, or World Info.
        where: Name of the file, for messages.
        origin: Whose lore it is.
        notes: Warnings that reading the file gave.

    Raises:
        ConfigError: The document is no lorebook.
    """
    data = document.get("data") if isinstance(document, dict) and document.get("spec") == "lorebook_v3" else document
    if not isinstance(document, dict) or not isinstance(data, dict) or not isinstance(data.get("entries"), list | dict):
        raise ConfigError(
            f"this is no lorebook but a JSON {json_type(document)}{' without entries' if document else ''}",
            where=where,
            needed="a V2 or V3 lorebook or World Info of SillyTavern, an object with 'entries'",
        )
    form = _form(document, data)
    raw_entries = _world_info_entries(data) if form == "world_info" else data["entries"]
    entries: list[LoreEntry] = []
    warnings = list(notes)
    num_keys = 0
    for number, raw in enumerate(raw_entries):
        if not isinstance(raw, dict):
            warnings.append(f"entry {number} is a JSON {json_type(raw)} and is not used")
            continue
        entry = raw if form == "world_info" else world_info_entry(raw, number=number)
        reading = _Reading(entry, number)
        made = reading.entry(takes_patterns=form != "world_info" and _is_plain_v3(raw))
        warnings += reading.warnings
        if made is None:
            continue
        num_keys += len(made.keys) + len(made.secondary_keys) + 1
        if num_keys > MAX_KEYS:
            warnings.append(f"entry {number} and those after it are not used: the book has over {MAX_KEYS:,} keys")
            break
        entries.append(made)
    book = _Reading(data, -1)
    return Lorebook(
        name=data["name"] if isinstance(data.get("name"), str) else "",
        entries=tuple(entries),
        scan_messages=book.count("scan_depth"),
        token_budget=book.count("token_budget"),
        is_recursive=book.flag("recursive_scanning"),
        origin=origin,
        form=form,
        document=document,
        warnings=(*warnings, *book.warnings),
    )


def _form(document: dict[str, Any], data: dict[str, Any]) -> BookForm:
    if document is not data:
        return "lorebook_v3"
    entries = data["entries"]
    first = next((entry for entry in entries if isinstance(entry, dict)), {}) if isinstance(entries, list) else {}
    return "world_info" if isinstance(entries, dict) or ("key" in first and "keys" not in first) else "character_book"


def _world_info_entries(data: Mapping[str, Any]) -> list[Any]:
    entries = data["entries"]
    return list(entries.values()) if isinstance(entries, dict) else list(entries)


def _is_plain_v3(entry: Mapping[str, Any]) -> bool:
    """Whether `use_regex` means what V3 says; SillyTavern writes it on every entry and lets the key decide."""
    extensions = entry.get("extensions")
    return entry.get("use_regex") is True and not (isinstance(extensions, dict) and "selectiveLogic" in extensions)


class _Reading:
    """Reads one entry in the shape of World Info, and keeps what was wrong with it."""

    def __init__(self, raw: Mapping[str, Any], number: int) -> None:
        self._raw = raw
        label = raw.get("comment") or raw.get("name")
        title = f" ({label})" if isinstance(label, str) and label else ""
        self._where = f"entry {number}{title}: " if number >= 0 else ""
        self.warnings: list[str] = []

    def entry(self, *, takes_patterns: bool) -> LoreEntry | None:
        keys, secondary = self._texts("key"), self._texts("keysecondary")
        content = self._raw.get("content", "")
        place = self._choice("position", _POSITIONS)
        if keys is None or secondary is None or not isinstance(content, str) or place is None:
            if not isinstance(content, str):
                self._warn(f"'content' is a JSON {json_type(content)}, not a text")
            self._warn("it is not used")
            return None
        decorators, text = split_decorators(content)
        for line in decorators.unheeded:
            self._warn(f"the decorator '{line}' has no effect")
        for key in (*keys, *secondary):
            if fault := key_fault(key, is_pattern=takes_patterns):
                self._warn(f"the key '{key[:60]}' never matches: {fault}")
        uid = str(self._raw.get("uid", ""))
        label = self._raw.get("name") or self._raw.get("comment") or ""
        return LoreEntry(
            uid=uid,
            state_key=f"{uid}-{_digest(self._raw)}",
            keys=keys,
            secondary_keys=secondary,
            content=text,
            name=str(label),
            is_enabled=not self.flag("disable"),
            is_constant=bool(self.flag("constant")) and not takes_patterns,
            is_selective=self.flag("selective") is not False and not takes_patterns,
            logic=self._choice("selectiveLogic", _LOGICS) or "and_any",
            order=self._number("order", DEFAULT_ORDER),
            priority=self._number("priority", 0) if self._raw.get("priority") is not None else None,
            position=place,
            depth=int(self._number("depth", DEFAULT_DEPTH)),
            role=self._choice("role", _ROLES) or "system",
            outlet=str(self._raw.get("outletName") or ""),
            scan_depth=self.count("scanDepth"),
            case_sensitive=self.flag("caseSensitive"),
            match_whole_words=self.flag("matchWholeWords"),
            takes_keys_as_patterns=takes_patterns,
            probability=100.0 if self.flag("useProbability") is False else self._number("probability", 100),
            ignores_budget=bool(self.flag("ignoreBudget")),
            excludes_recursion=bool(self.flag("excludeRecursion")),
            prevents_recursion=bool(self.flag("preventRecursion")),
            delay_until_recursion=max(0, int(self._number("delayUntilRecursion", 0))),
            groups=tuple(name.strip() for name in str(self._raw.get("group") or "").split(",") if name.strip()),
            overrides_group=bool(self.flag("groupOverride")),
            group_weight=max(0.0, self._number("groupWeight", 100)),
            use_group_scoring=self.flag("useGroupScoring"),
            sticky=max(0, int(self._number("sticky", 0))),
            cooldown=max(0, int(self._number("cooldown", 0))),
            delay=max(0, int(self._number("delay", 0))),
            triggers=self._texts("triggers") or (),
            character_filter=self._filter(),
            scanned_fields=tuple(name for key, name in _SCANNED_FIELDS.items() if self.flag(key)),
            decorators=decorators,
        )

    def count(self, key: str) -> int | None:
        return None if self._raw.get(key) is None else max(0, int(self._number(key, 0)))

    def flag(self, key: str) -> bool | None:
        value = self._raw.get(key)
        if value is None or isinstance(value, bool):
            return value
        if value in (0, 1):
            return bool(value)
        self._warn(f"'{key}' is a JSON {json_type(value)}, not true or false, and does not count")
        return None

    def _number(self, key: str, default: float) -> float:
        value = self._raw.get(key)
        try:
            if isinstance(value, bool | int | float | str) and value != "":
                number = float(value)
                if abs(number) < 1e9:
                    return number
            elif value in (None, ""):
                return default
        except (ValueError, OverflowError):
            pass
        self._warn(f"'{key}' is no number, so {default:g} is taken")
        return default

    def _choice(self, key: str, choices: tuple[_T, ...]) -> _T | None:
        number = self._number(key, 0)
        if number in range(len(choices)):
            return choices[int(number)]
        self._warn(f"'{key}' is {number:g}, expected 0 to {len(choices) - 1}")
        return None

    def _texts(self, key: str) -> tuple[str, ...] | None:
        value = self._raw.get(key)
        if isinstance(value, str):
            value = value.split(",")
        if value is None or (isinstance(value, list) and all(isinstance(text, str) for text in value)):
            return tuple(text.strip() for text in value or () if text.strip())
        self._warn(f"'{key}' is no list of texts")
        return None

    def _filter(self) -> CharacterFilter | None:
        value = self._raw.get("characterFilter")
        if not isinstance(value, dict):
            return None
        reading = _Reading(value, -1)
        names, tags = reading._texts("names") or (), reading._texts("tags") or ()
        self.warnings += reading.warnings
        return CharacterFilter(names, tags, bool(reading.flag("isExclude"))) if names or tags else None

    def _warn(self, text: str) -> None:
        self.warnings.append(f"{self._where}{text}")


def _digest(raw: Mapping[str, Any]) -> str:
    text = json.dumps(raw, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
