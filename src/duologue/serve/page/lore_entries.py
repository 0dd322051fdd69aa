"""The entries of a card's lorebook as the page shows and changes them, each by its place in the book.

Only what a person has changed is written: everything else of an entry stays as its author wrote it.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from duologue.characters import Character, parse_lorebook
from duologue.errors import GuardError

POSITIONS = ("before_char", "after_char", "note_top", "note_bottom", "at_depth", "before_examples", "after_examples")
LOGICS = ("and_any", "not_all", "not_any", "and_all")
_DEPTH, _ORDER = 4, 100
# What the page calls a field of `extensions`, and its default.
_EXTENSIONS: dict[str, tuple[str, int]] = {
    "depth": ("depth", _DEPTH),
    "sticky": ("sticky", 0),
    "cooldown": ("cooldown", 0),
    "delay": ("delay", 0),
}


def lore_documents(character: Character) -> dict[str, Any] | None:
    """Return the book of a card; None when it has none that can be used."""
    book = character.lorebook
    if book is None:
        return None
    raw = book.as_character_book()
    entries = raw.get("entries")
    listed = entries if isinstance(entries, list) else []
    return {
        "name": book.name,
        "scan_messages": book.scan_messages,
        "token_budget": book.token_budget,
        "is_recursive": book.is_recursive,
        "entries": [
            {"place": place, **lore_fields(entry)} for place, entry in enumerate(listed) if isinstance(entry, dict)
        ],
        "warnings": list(book.warnings[:50]),
    }


def lore_fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry as the page shows it."""
    more = raw.get("extensions")
    more = more if isinstance(more, dict) else {}
    number = _count(more.get("position"), -1)
    position = "after_char" if raw.get("position") == "after_char" else "before_char"
    logic = _count(more.get("selectiveLogic"), 0)
    return {
        "title": str(raw.get("comment") or raw.get("name") or ""),
        "keys": _texts(raw.get("keys")),
        "secondary_keys": _texts(raw.get("secondary_keys")),
        "content": raw["content"] if isinstance(raw.get("content"), str) else "",
        "is_enabled": raw.get("enabled") is not False,
        "is_constant": raw.get("constant") is True,
        "is_selective": raw.get("selective") is True,
        "order": _count(raw.get("insertion_order"), _ORDER),
        "position": POSITIONS[number] if 0 <= number < len(POSITIONS) else position,
        "logic": LOGICS[logic] if 0 <= logic < len(LOGICS) else LOGICS[0],
        "probability": 100 if more.get("useProbability") is False else _count(more.get("probability"), 100),
        "case_sensitive": raw.get("case_sensitive") is True,
        **{name: _count(more.get(key), default) for name, (key, default) in _EXTENSIONS.items()},
    }


def with_entry(character: Character, place: int | None, values: Mapping[str, Any]) -> Character:
    """Return a character whose book has an entry changed, or a new one at its end.

    Args:
        character: The character.
        place: Of the entry; None for a new one.
        values: As `lore_fields` returns them.

    Raises:
        GuardError: With reason `not_found`.
    """
    book, entries = _opened(character)
    if place is None:
        raw: dict[str, Any] = {"id": _free_id(entries), "keys": [], "content": "", "extensions": {}, "enabled": True}
        raw |= {"insertion_order": _ORDER, "use_regex": False}
        entries.append(raw)
    else:
        raw = _entry_at(entries, place)
    before = lore_fields(raw)
    for name, value in values.items():
        if before[name] != value or place is None:
            _write(raw, name, value)
    return _with_book(character, book)


def without_entry(character: Character, place: int) -> Character:
    """Return a character whose book has one entry less.

    Raises:
        GuardError: With reason `not_found`.
    """
    book, entries = _opened(character)
    _entry_at(entries, place)
    del entries[place]
    return _with_book(character, book)


def _opened(character: Character) -> tuple[dict[str, Any], list[Any]]:
    book = character.lorebook.as_character_book() if character.lorebook else {"extensions": {}, "entries": []}
    entries = book.get("entries")
    assert isinstance(entries, list), "a card's book has a list of entries"
    return book, entries


def _entry_at(entries: list[Any], place: int) -> dict[str, Any]:
    entry = entries[place] if 0 <= place < len(entries) else None
    if not isinstance(entry, dict):
        raise GuardError(f"the lorebook has no entry {place}", reason="not_found", where="lorebook")
    return entry


def _with_book(character: Character, book: dict[str, Any]) -> Character:
    return replace(character, lorebook=parse_lorebook(copy.deepcopy(book), where="lorebook"))


def _write(raw: dict[str, Any], name: str, value: Any) -> None:  # noqa: ANN401  (a field of any type)
    names = {
        "keys": "keys",
        "secondary_keys": "secondary_keys",
        "content": "content",
        "is_enabled": "enabled",
        "is_constant": "constant",
        "is_selective": "selective",
        "order": "insertion_order",
        "case_sensitive": "case_sensitive",
    }
    if name in names:
        raw[names[name]] = value
        return
    if name == "title":
        raw["comment" if raw.get("comment") or not raw.get("name") else "name"] = value
        return
    more = raw.get("extensions")
    if not isinstance(more, dict):
        more = raw["extensions"] = {}
    if name == "position":
        raw["position"] = "before_char" if value == "before_char" else "after_char"
        more["position"] = POSITIONS.index(value)
    elif name == "logic":
        more["selectiveLogic"] = LOGICS.index(value)
    elif name == "probability":
        more["probability"], more["useProbability"] = value, True
    else:
        more[_EXTENSIONS[name][0]] = value


def _free_id(entries: list[Any]) -> int:
    taken = [entry.get("id") for entry in entries if isinstance(entry, dict)]
    return max([number for number in taken if isinstance(number, int)], default=-1) + 1


def _texts(value: object) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else value
    return [text.strip() for text in parts if isinstance(text, str) and text.strip()] if isinstance(parts, list) else []


def _count(value: object, default: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return int(value) if abs(value) < 1e9 else default
