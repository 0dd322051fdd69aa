"""SillyTavern's World Info entries and the lorebook entries of V2 and V3 cards: one written as the other.

A field that one side knows by another name is renamed, after SillyTavern's own conversion; a field neither knows keeps
its name and its place, so that there and back is nothing lost.
"""

import copy
from collections.abc import Mapping
from typing import Any

_RENAMED = {"keys": "key", "secondary_keys": "keysecondary", "insertion_order": "order", "id": "uid"}
# Names under `extensions` of a card's entry, and what World Info calls them.
_EXTENSIONS = {
    "probability": "probability",
    "useProbability": "useProbability",
    "depth": "depth",
    "selectiveLogic": "selectiveLogic",
    "outlet_name": "outletName",
    "group": "group",
    "group_override": "groupOverride",
    "group_weight": "groupWeight",
    "use_group_scoring": "useGroupScoring",
    "scan_depth": "scanDepth",
    "case_sensitive": "caseSensitive",
    "match_whole_words": "matchWholeWords",
    "role": "role",
    "sticky": "sticky",
    "cooldown": "cooldown",
    "delay": "delay",
    "exclude_recursion": "excludeRecursion",
    "prevent_recursion": "preventRecursion",
    "delay_until_recursion": "delayUntilRecursion",
    "ignore_budget": "ignoreBudget",
    "vectorized": "vectorized",
    "automation_id": "automationId",
    "display_index": "displayIndex",
    "triggers": "triggers",
    "character_filter": "characterFilter",
    "match_persona_description": "matchPersonaDescription",
    "match_character_description": "matchCharacterDescription",
    "match_character_personality": "matchCharacterPersonality",
    "match_character_depth_prompt": "matchCharacterDepthPrompt",
    "match_scenario": "matchScenario",
    "match_creator_notes": "matchCreatorNotes",
}


def world_info_entry(entry: Mapping[str, Any], *, number: int) -> dict[str, Any]:
    """Return an entry of a card's lorebook in the shape of World Info.

    Args:
        entry: As V2 or V3 has it.
        number: Its place in the book, for an entry without an id.
    """
    rest = copy.deepcopy(dict(entry))
    extensions = rest.pop("extensions", None)
    result = {_RENAMED.get(key, key): value for key, value in rest.items() if key not in ("enabled", "position")}
    result.setdefault("uid", number)
    result["disable"] = not rest.get("enabled", True)
    result["position"] = 0 if rest.get("position") == "before_char" else 1
    if rest.get("case_sensitive") is not None:
        result["caseSensitive"] = result.pop("case_sensitive")
    if isinstance(extensions, dict):
        if extensions.get("position") is not None:
            result["position"] = extensions.pop("position")
        for name, world_info_name in _EXTENSIONS.items():
            if name in extensions:
                result[world_info_name] = extensions.pop(name)
        if extensions:
            result["extensions"] = extensions
    return result


def book_entry(entry: Mapping[str, Any], *, number: int) -> dict[str, Any]:
    """Return a World Info entry in the shape of a card's lorebook, as SillyTavern exports it.

    Args:
        entry: As a World Info file has it.
        number: Its place in the file, for an entry without a uid.
    """
    rest = copy.deepcopy(dict(entry))
    known = rest.pop("extensions", None)
    extensions: dict[str, Any] = known if isinstance(known, dict) else {}
    position = rest.pop("position", 0)
    is_enabled = not rest.pop("disable", False)
    for name, world_info_name in _EXTENSIONS.items():
        if world_info_name in rest:
            extensions[name] = rest.pop(world_info_name)
    names = {world_info_name: name for name, world_info_name in _RENAMED.items()}
    result = {names.get(key, key): value for key, value in rest.items()}
    defaults: dict[str, Any] = {"id": number, "keys": [], "secondary_keys": [], "content": "", "insertion_order": 100}
    written = {
        "enabled": is_enabled,
        "position": "before_char" if position == 0 else "after_char",
        "extensions": {"position": position, **extensions},
    }
    return {**defaults, "use_regex": True, **result, **written}
