"""The card document: V1, V2 and V3 JSON to a `Character`, and a `Character` to V2 and V3 JSON.

Shapes follow the published specifications `chara_card_v2` (spec_version 2.0) and `chara_card_v3` (3.0). What a card
says beside its known fields is kept in `Character.document` and written back. Card text is never evaluated as a
template: here the names are replaced as plain text, and `macros` does the rest for a chat.
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from duologue.characters.json_text import json_type
from duologue.errors import ConfigError
from duologue.messages import Role

if TYPE_CHECKING:  # most cards have no lorebook, and every command reads the card
    from duologue.characters.lorebook import Lorebook

CardVersion = Literal["v1", "v2", "v3"]

_V1_TEXTS = ("name", "description", "personality", "scenario", "first_mes", "mes_example")
_PROMPT_TEXTS = (*_V1_TEXTS[1:], "system_prompt", "post_history_instructions", "nickname")
_NOTES = ("creator_notes", "creator", "character_version")  # never in a prompt, so a number there is no fault
_LISTS = ("alternate_greetings", "tags", "group_only_greetings")
_V3_ONLY = (
    *("nickname", "group_only_greetings", "assets", "source", "creation_date", "modification_date"),
    "creator_notes_multilingual",
)
_SPECS = {"chara_card_v2": 2.0, "chara_card_v3": 3.0}
_CHAR_MACRO = re.compile(r"\{\{char\}\}|<bot>|<char>", re.IGNORECASE)
_USER_MACRO = re.compile(r"\{\{user\}\}|<user>", re.IGNORECASE)
_RATING_TAGS = frozenset(("adult", "explicit", "mature", "nsfw", "nsfl", "18+", "r18", "r-18", "smut", "erotic"))
DEFAULT_TALKATIVENESS = 0.5
DEFAULT_DEPTH = 4


@dataclass(frozen=True, slots=True)
class DepthPrompt:
    """A text of the card that stands in the chat near its end (SillyTavern's character note).

    Attributes:
        text: Macros as they are written.
        depth: Messages that stand below it.
        role: Who says it.
    """

    text: str
    depth: int = DEFAULT_DEPTH
    role: Role = "system"


@dataclass(frozen=True, slots=True)
class Asset:
    """A picture, a sound or another file that a V3 card names.

    Attributes:
        kind: What it is for: `icon`, `background`, `emotion`, `user_icon`, or a name that begins with `x_`.
        uri: Where it is: inside a CharX (`embeded://`), in the card itself (`data:`), the picture of the card
            (`ccdefault:`), or an address, which is never asked.
        name: What it is called among those of its kind.
        ext: Its ending, without a dot.
    """

    kind: str
    uri: str
    name: str = ""
    ext: str = "unknown"


@dataclass(frozen=True, slots=True)
class Character:
    """A character as its card describes it.

    Attributes:
        name: The character's name.
        description: Who the character is; part of the system text.
        personality: Traits; part of the system text.
        scenario: Where the conversation takes place; part of the system text.
        greeting: The first message of a new session, or an empty string.
        alternate_greetings: Other first messages.
        example_dialogue: The card's `mes_example`, unparsed.
        system_prompt: Replaces the default system text unless empty.
        nickname: What `{{char}}` stands for when given (V3).
        tags: The card's tags; never part of a prompt.
        document: The whole card as it was read, kept so that unknown fields survive a round trip.
        post_history_instructions: What stands below the chat, unless empty.
        group_only_greetings: First messages for chats of several characters (V3).
        depth_prompt: A text that stands near the end of the chat.
        lorebook: The card's own lorebook.
        world: Name of a World Info file that SillyTavern keeps with the card; the file is not part of it.
        talkativeness: How readily the character speaks up in a chat of several, 0 to 1.
        assets: Files that the card names.
        creator: Who made the card; never part of a prompt.
        creator_notes: For the user; never part of a prompt.
        character_version: Of the card; never part of a prompt.
        version: Form of the document.
        warnings: What was not as it should be, and what was made of it.
    """

    name: str
    description: str = ""
    personality: str = ""
    scenario: str = ""
    greeting: str = ""
    alternate_greetings: tuple[str, ...] = ()
    example_dialogue: str = ""
    system_prompt: str = ""
    nickname: str = ""
    tags: tuple[str, ...] = ()
    document: Mapping[str, Any] | None = None
    post_history_instructions: str = ""
    group_only_greetings: tuple[str, ...] = ()
    depth_prompt: DepthPrompt | None = None
    lorebook: "Lorebook | None" = None
    world: str = ""
    talkativeness: float = DEFAULT_TALKATIVENESS
    assets: tuple[Asset, ...] = ()
    creator: str = ""
    creator_notes: str = ""
    character_version: str = ""
    version: CardVersion = "v2"
    warnings: tuple[str, ...] = ()

    @property
    def display_name(self) -> str:
        """The nickname when there is one, else the name."""
        return self.nickname or self.name

    @property
    def rating_tags(self) -> tuple[str, ...]:
        """The tags that say the card is not for everyone."""
        return tuple(tag for tag in self.tags if tag.strip().lower() in _RATING_TAGS)

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text of the card that can become part of a prompt or a chat, its lore included."""
        note, book = self.depth_prompt, self.lorebook
        return (
            *(self.name, self.nickname, self.description, self.personality, self.scenario, self.system_prompt),
            *(self.post_history_instructions, self.example_dialogue, self.greeting),
            *self.alternate_greetings,
            *self.group_only_greetings,
            *([note.text] if note else []),
            *([entry.content for entry in book.entries] if book else []),
        )

    def resolve_macros(self, text: str, *, user_name: str) -> str:
        """Return `text` with the name macros of the card specifications replaced."""
        if "{" not in text and "<" not in text:
            return text  # most messages have no macro, and this is called for every one of them
        # A function, not a string: names are data, so a backslash or \1 in them must not be read as a pattern.
        text = _CHAR_MACRO.sub(lambda _: self.display_name, text)
        return _USER_MACRO.sub(lambda _: user_name, text)

    def as_v2(self) -> dict[str, Any]:
        """Return the card as a V2 document with the V1 fields mirrored at the top level.

        Of a V3 card the fields that V2 does not know are left out (`left_out_of_v2` names them), and the decorators of
        its lore.
        """
        data = self._data()
        for name in _V3_ONLY:
            data.pop(name, None)
        if self.version == "v3":
            _strip_lore_decorators(data)
        spec = self._spec(2.0)
        return {**self._top(), **{key: data[key] for key in _V1_TEXTS}, **spec, "data": data}

    def as_v3(self) -> dict[str, Any]:
        """Return the card as a V3 document; one that was read as V3 with everything it had."""
        data = self._data()
        if data.get("group_only_greetings") is None:
            data["group_only_greetings"] = []
        top = self._top()
        mirrored = {key: data[key] for key in _V1_TEXTS if key in top}
        return {**top, **mirrored, **self._spec(3.0), "data": data}

    def left_out_of_v2(self) -> tuple[str, ...]:
        """Return what the card has and a V2 document has no place for."""
        data = self._data()
        names = [name for name in _V3_ONLY if data.get(name)]
        if self.version == "v3" and _strip_lore_decorators(data):
            names.append("decorators of the lorebook")
        return tuple(names)

    def _top(self) -> dict[str, Any]:
        """Return what stands beside `data`; SillyTavern keeps fields of its own there."""
        names = [key for key in self.document or {} if key not in ("spec", "spec_version", "data")]
        return {key: copy.deepcopy((self.document or {})[key]) for key in names}

    def _spec(self, version: float) -> dict[str, Any]:
        """Return the version of the document: the one it was read with, when it is of that specification."""
        name = next(spec for spec, number in _SPECS.items() if number == version)
        document = self.document or {}
        is_same = document.get("spec") == name and "spec_version" in document
        return {"spec": name, "spec_version": document["spec_version"] if is_same else f"{version:.1f}"}

    def _data(self) -> dict[str, Any]:
        """Return the card's fields: as they were read, but for those that were changed since."""
        document = self.document or {}
        kept = copy.deepcopy(document["data"]) if isinstance(document.get("data"), dict) else {}
        before = _fields(kept).writable() if kept else {}
        for key, value in self.writable().items():
            if kept.get(key) is None or before.get(key) != value:
                kept[key] = value
        for key in ("nickname", "group_only_greetings"):
            if before.get(key) and key not in self.writable():
                kept.pop(key, None)
        if not isinstance(kept.get("extensions"), dict):
            kept["extensions"] = {}
        if self.document is None or self.lorebook != _lorebook(kept, where="", warnings=[]):
            kept.pop("character_book", None)
            if self.lorebook is not None:
                kept["character_book"] = self.lorebook.as_character_book()
        _write_extensions(kept["extensions"], self, _fields(kept))
        return kept

    def writable(self) -> dict[str, Any]:
        """Return the fields of a card document that this character has a value for."""
        return {
            "name": self.name,
            "description": self.description,
            "personality": self.personality,
            "scenario": self.scenario,
            "first_mes": self.greeting,
            "mes_example": self.example_dialogue,
            "creator_notes": self.creator_notes,
            "system_prompt": self.system_prompt,
            "post_history_instructions": self.post_history_instructions,
            "alternate_greetings": list(self.alternate_greetings),
            "tags": list(self.tags),
            "creator": self.creator,
            "character_version": self.character_version,
            **({"nickname": self.nickname} if self.nickname else {}),
            **({"group_only_greetings": list(self.group_only_greetings)} if self.group_only_greetings else {}),
        }


def parse_card(document: object, *, where: str, notes: tuple[str, ...] = ()) -> Character:
    """Return the character of a V1, V2 or V3 card document.

    Args:
        document: The parsed JSON.
        where: Name of the file, for messages.
        notes: Warnings that reading the file gave.

    Raises:
        ConfigError: The document is not a card, or a field has the wrong type; all faults are named at once.
    """
    if not isinstance(document, dict):
        raise ConfigError(
            f"the card is a JSON {json_type(document)}",
            where=where,
            needed="an object with the fields of a character card (V1, V2 or V3)",
        )
    if document.get("spec") == "lorebook_v3" or ("entries" in document and "name" not in document):
        raise ConfigError(
            "this is a lorebook, not a character card", where=where, action="Name it in character.lorebooks."
        )
    spec = document.get("spec")
    is_nested = (isinstance(spec, str) and spec in _SPECS) or isinstance(document.get("data"), dict)
    data = document.get("data") if is_nested else document
    if not isinstance(data, dict):
        raise ConfigError(f"'data' of the card is a JSON {json_type(data)}", where=where, needed="an object")
    faults = _faults(data)
    if faults:
        raise ConfigError("; ".join(faults), where=where, action="Correct these fields of the card.")
    warnings = [*notes, *_version_warnings(document)]
    found = _fields(data, warnings=warnings)
    book = _lorebook(data, where=where, warnings=warnings)
    version: CardVersion = "v3" if spec == "chara_card_v3" else "v2" if is_nested else "v1"
    return replace(
        found,
        lorebook=book,
        version=version,
        document=document if is_nested else {"data": document},
        warnings=tuple(warnings),
    )


def _fields(data: Mapping[str, Any], *, warnings: list[str] | None = None) -> Character:
    """Return the fields of a document without faults, its lorebook left out."""
    said: list[str] = [] if warnings is None else warnings
    notes = {key: _note(data, key, said) for key in _NOTES}
    extensions = data.get("extensions")
    extensions = extensions if isinstance(extensions, dict) else {}
    return Character(
        name=data["name"].strip(),
        description=data.get("description") or "",
        personality=data.get("personality") or "",
        scenario=data.get("scenario") or "",
        greeting=data.get("first_mes") or "",
        alternate_greetings=tuple(data.get("alternate_greetings") or ()),
        example_dialogue=data.get("mes_example") or "",
        system_prompt=data.get("system_prompt") or "",
        nickname=data.get("nickname") or "",
        tags=tuple(data.get("tags") or ()),
        post_history_instructions=data.get("post_history_instructions") or "",
        group_only_greetings=tuple(data.get("group_only_greetings") or ()),
        depth_prompt=_depth_prompt(extensions, said),
        world=extensions["world"] if isinstance(extensions.get("world"), str) else "",
        talkativeness=_talkativeness(extensions.get("talkativeness", data.get("talkativeness")), said),
        assets=_assets(data, said),
        creator=notes["creator"],
        creator_notes=notes["creator_notes"],
        character_version=notes["character_version"],
    )


def _faults(data: Mapping[str, Any]) -> list[str]:
    faults = []
    if not isinstance(data.get("name"), str) or not data["name"].strip():
        faults.append("field 'name' is missing or empty; expected the character's name")
    for key in _PROMPT_TEXTS:
        if data.get(key) is not None and not isinstance(data[key], str):
            faults.append(f"field '{key}' is a JSON {json_type(data[key])}; expected a text")
    for key in _LISTS:
        value = [] if data.get(key) in (None, "") else data[key]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            faults.append(f"field '{key}' is not a list of texts")
    return faults


def _version_warnings(document: Mapping[str, Any]) -> list[str]:
    spec, version = document.get("spec"), document.get("spec_version")
    if spec is not None and (not isinstance(spec, str) or spec not in _SPECS):
        return [f"the specification '{str(spec)[:40]}' is not known; the card is read as V2"]
    if spec is None or version is None:
        return []
    known = _SPECS[spec]
    try:
        number = float(version)
    except (TypeError, ValueError):
        return [f"spec_version is '{str(version)[:40]}', not a number; the card is read as {known:.1f}"]
    if number > known:
        return [
            f"the card is of version {number:g}, newer than {known:.1f}; what is new in it is kept but has no effect"
        ]
    return []


def _note(data: Mapping[str, Any], key: str, warnings: list[str]) -> str:
    value = data.get(key)
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, dict | list):
        warnings.append(f"field '{key}' is a JSON {json_type(value)}, not a text; it is kept but not shown")
        return ""
    return str(value)


def _talkativeness(value: object, warnings: list[str]) -> float:
    if value in (None, ""):
        return DEFAULT_TALKATIVENESS
    try:
        number = float(value) if isinstance(value, int | float | str) else float("nan")
    except (ValueError, OverflowError):
        number = float("nan")
    if 0 <= number <= 1:
        return number
    warnings.append(f"talkativeness is {str(value)[:40]!r}, expected 0 to 1; {DEFAULT_TALKATIVENESS} is taken")
    return DEFAULT_TALKATIVENESS


def _depth_prompt(extensions: Mapping[str, Any], warnings: list[str]) -> DepthPrompt | None:
    value = extensions.get("depth_prompt")
    if not isinstance(value, dict) or not isinstance(value.get("prompt"), str) or not value["prompt"].strip():
        return None
    role: Role = value["role"] if value.get("role") in ("system", "user", "assistant") else "system"
    try:
        depth = int(float(value.get("depth", DEFAULT_DEPTH)))
    except (TypeError, ValueError, OverflowError):
        warnings.append(f"the depth of depth_prompt is no number; {DEFAULT_DEPTH} is taken")
        depth = DEFAULT_DEPTH
    return DepthPrompt(value["prompt"], max(0, depth), role)


def _assets(data: Mapping[str, Any], warnings: list[str]) -> tuple[Asset, ...]:
    value = data.get("assets")
    if value is None:
        return ()
    found = []
    for number, item in enumerate(value if isinstance(value, list) else [value]):
        texts = [item.get(key) for key in ("type", "uri")] if isinstance(item, dict) else []
        if not texts or not all(isinstance(text, str) for text in texts):
            warnings.append(f"asset {number} has no type or no uri; it is kept but has no effect")
            continue
        name, ext = (item[key] if isinstance(item.get(key), str) else "" for key in ("name", "ext"))
        found.append(Asset(item["type"], item["uri"], name, ext or "unknown"))
    icons = [asset for asset in found if asset.kind == "icon"]
    if len(icons) > 1 and sum(asset.name == "main" for asset in icons) != 1:
        warnings.append("of several icons exactly one must be named 'main'; the first one is taken")
    return tuple(found)


def _lorebook(data: Mapping[str, Any], *, where: str, warnings: list[str]) -> "Lorebook | None":
    value = data.get("character_book")
    if value is None:
        return None
    from duologue.characters.lorebook import parse_lorebook

    try:
        book = parse_lorebook(value, where=where)
    except ConfigError as error:
        warnings.append(f"the card's lorebook is kept but has no effect: {error.found}")
        return None
    warnings += [f"lorebook: {warning}" for warning in book.warnings]
    return book


def _write_extensions(extensions: dict[str, Any], now: Character, before: Character) -> None:
    if now.talkativeness != before.talkativeness:
        extensions["talkativeness"] = now.talkativeness
    if now.depth_prompt != before.depth_prompt:
        note = now.depth_prompt or DepthPrompt("")
        extensions["depth_prompt"] = {"prompt": note.text, "depth": note.depth, "role": note.role}
    if now.world != before.world:
        extensions["world"] = now.world


def _strip_lore_decorators(data: dict[str, Any]) -> bool:
    """Take the decorators out of a card's lore and return whether there were any."""
    book = data.get("character_book")
    entries = book.get("entries") if isinstance(book, dict) else None
    if not isinstance(entries, list):
        return False
    from duologue.characters.decorators import strip_decorators

    has_any = False
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("content"), str):
            content = strip_decorators(entry["content"])
            has_any = has_any or content != entry["content"]
            entry["content"] = content
    return has_any
