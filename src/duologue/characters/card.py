"""The card document: V1, V2 and V3 JSON to a `Character`, and a `Character` to V2 and V3 JSON.

Shapes follow the published specifications `chara_card_v2` (spec_version 2.0) and `chara_card_v3` (3.0). Card text is
never evaluated as a template: the macros `{{char}}` and `{{user}}` are replaced as plain text.
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from duologue.errors import ConfigError

_V1_TEXTS = ("name", "description", "personality", "scenario", "first_mes", "mes_example")
_V2_TEXTS = ("creator_notes", "system_prompt", "post_history_instructions", "creator", "character_version")
_CHAR_MACRO = re.compile(r"\{\{char\}\}|<bot>", re.IGNORECASE)
_USER_MACRO = re.compile(r"\{\{user\}\}|<user>", re.IGNORECASE)


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

    @property
    def display_name(self) -> str:
        """The nickname when there is one, else the name."""
        return self.nickname or self.name

    def resolve_macros(self, text: str, *, user_name: str) -> str:
        """Return `text` with the name macros of the card specifications replaced."""
        if "{" not in text and "<" not in text:
            return text  # most messages have no macro, and this is called for every one of them
        # A function, not a string: names are data, so a backslash or \1 in them must not be read as a pattern.
        text = _CHAR_MACRO.sub(lambda _: self.display_name, text)
        return _USER_MACRO.sub(lambda _: user_name, text)

    def as_v2(self) -> dict[str, Any]:
        """Return the card as a V2 document with the V1 fields mirrored at the top level."""
        data = self._data()
        for v3_only in ("nickname", "group_only_greetings", "assets", "source", "creation_date", "modification_date"):
            data.pop(v3_only, None)
        mirror = {key: data[key] for key in _V1_TEXTS}
        return {**mirror, "spec": "chara_card_v2", "spec_version": "2.0", "data": data}

    def as_v3(self) -> dict[str, Any]:
        """Return the card as a V3 document."""
        data = self._data()
        data.setdefault("group_only_greetings", [])
        return {"spec": "chara_card_v3", "spec_version": "3.0", "data": data}

    def _data(self) -> dict[str, Any]:
        document = copy.deepcopy(dict(self.document or {}))
        kept = document["data"] if isinstance(document.get("data"), dict) else {}
        fields: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "personality": self.personality,
            "scenario": self.scenario,
            "first_mes": self.greeting,
            "mes_example": self.example_dialogue,
            "system_prompt": self.system_prompt,
            "alternate_greetings": list(self.alternate_greetings),
            "tags": list(self.tags),
        }
        defaults = {"creator_notes": "", "post_history_instructions": "", "creator": "", "character_version": ""}
        if self.nickname:
            fields["nickname"] = self.nickname
        return {**defaults, "extensions": {}, **kept, **fields}


def parse_card(document: object, *, where: str) -> Character:
    """Return the character of a V1, V2 or V3 card document.

    Args:
        document: The parsed JSON.
        where: Name of the file, for messages.

    Raises:
        ConfigError: The document is not a card, or a field has the wrong type; all faults are named at once.
    """
    if not isinstance(document, dict):
        raise ConfigError(
            f"the card is a JSON {_json_type(document)}",
            where=where,
            needed="an object with the fields of a character card (V1, V2 or V3)",
        )
    spec = document.get("spec")
    is_nested = spec in ("chara_card_v2", "chara_card_v3") or isinstance(document.get("data"), dict)
    data = document.get("data") if is_nested else document
    if not isinstance(data, dict):
        raise ConfigError(f"'data' of the card is a JSON {_json_type(data)}", where=where, needed="an object")
    faults = _faults(data)
    if faults:
        raise ConfigError("; ".join(faults), where=where, action="Correct these fields of the card.")
    return Character(
        name=data["name"].strip(),
        description=data.get("description", ""),
        personality=data.get("personality", ""),
        scenario=data.get("scenario", ""),
        greeting=data.get("first_mes", ""),
        alternate_greetings=tuple(data.get("alternate_greetings") or ()),
        example_dialogue=data.get("mes_example", ""),
        system_prompt=data.get("system_prompt", ""),
        nickname=data.get("nickname") or "",
        tags=tuple(data.get("tags") or ()),
        document=document if is_nested else {"data": document},
    )


def _faults(data: dict[str, Any]) -> list[str]:
    faults = []
    if not isinstance(data.get("name"), str) or not data["name"].strip():
        faults.append("field 'name' is missing or empty; expected the character's name")
    for key in (*_V1_TEXTS[1:], *_V2_TEXTS):
        if key in data and not isinstance(data[key], str):
            faults.append(f"field '{key}' is a JSON {_json_type(data[key])}; expected a text")
    for key in ("alternate_greetings", "tags"):
        value = data.get(key) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            faults.append(f"field '{key}' is not a list of texts")
    if not isinstance(data.get("nickname") or "", str):
        faults.append("field 'nickname' is not a text")
    return faults


def _json_type(value: object) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "true/false", int: "number", float: "number"}
    return names.get(type(value), "null")
