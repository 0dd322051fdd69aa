"""Decorators of V3 lorebooks: the leading `@@name value` lines of an entry, and the `@@@` lines they fall back to.

Source: `SPEC_V3.md` of character-card-spec-v3. What has no meaning in a chat, or needs what duologue does not have
(user icons, prompts of the user interface, places inside the personality and the scenario), is kept in the card and
listed in `Decorators.unheeded`; its fallback is taken instead, as the specification asks.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from duologue.messages import ROLES, Role

_LINE = re.compile(r"@@(@?)([A-Za-z_][A-Za-z0-9_]*)(?:[ \t]+(.*))?", re.ASCII)
_POSITIONS = {"before_desc": "before_char", "after_desc": "after_char"}


@dataclass(frozen=True, slots=True)
class Decorators:
    """What the decorators of one entry ask for.

    Attributes:
        only_after: The entry waits for so many replies.
        only_every: The entry may fire when the number of replies is a multiple of this; 0 always.
        keeps_after_match: Once it fired, it always fires.
        stops_after_match: Once it fired, it never fires again.
        depth: Messages that stand below it; None leaves the entry's own place.
        reverse_depth: As `depth`, counted from the oldest message.
        role: Who says it at depth; empty leaves the entry's own.
        scan_depth: Messages in which its keys are looked for.
        greeting: Number of the greeting it belongs to, 0 for the first.
        position: Before or after the character's description; empty leaves the entry's own place.
        yields_first: Left out before others when lore does not fit.
        additional_keys: One of these must be found as well.
        exclude_keys: None of these may be found.
        activates: Fires in any case.
        never_activates: Never fires by itself.
        unheeded: Decorators without effect here, as they are written.
    """

    only_after: int = 0
    only_every: int = 0
    keeps_after_match: bool = False
    stops_after_match: bool = False
    depth: int | None = None
    reverse_depth: int | None = None
    role: Role | None = None
    scan_depth: int | None = None
    greeting: int | None = None
    position: Literal["before_char", "after_char", ""] = ""
    yields_first: bool = False
    additional_keys: tuple[str, ...] = ()
    exclude_keys: tuple[str, ...] = ()
    activates: bool = False
    never_activates: bool = False
    unheeded: tuple[str, ...] = ()


NO_DECORATORS = Decorators()


def split_decorators(content: str) -> tuple[Decorators, str]:
    """Return the decorators at the head of an entry's content, and the content without them."""
    if not content.lstrip().startswith("@@"):
        return NO_DECORATORS, content
    lines = content.split("\n")
    found: dict[str, Any] = {}
    unheeded: list[str] = []
    seen: set[str] = set()
    is_chain_open = False  # the decorator above had no effect, so its fallback counts
    at = 0
    for at, line in enumerate([*lines, ""]):
        text = line.strip()
        match = _LINE.fullmatch(text)
        if not match:
            if text or at == len(lines):
                break
            continue
        is_fallback, name, value = bool(match[1]), match[2].lower(), (match[3] or "").strip()
        if is_fallback and not is_chain_open:
            continue
        effect = {} if name in seen else _effect(name, value)  # of several with one name the first counts
        if effect is None and not (is_fallback and unheeded):
            unheeded.append(text)
        elif effect is not None:
            if is_fallback and unheeded:
                unheeded.pop()
            found.update(effect)
            seen.add(name)
        is_chain_open = effect is None
    if not found and not unheeded and at == 0:
        return NO_DECORATORS, content
    return Decorators(**found, unheeded=tuple(unheeded)), "\n".join(lines[at:])


def strip_decorators(content: str) -> str:
    """Return an entry's content without its decorators, as readers of V2 cards need it."""
    return split_decorators(content)[1]


def _effect(name: str, value: str) -> dict[str, Any] | None:
    """Return the fields a decorator sets, or None when it is unknown or its value is not valid."""
    if name not in _READERS:
        return None
    field, read = _READERS[name]
    try:
        return {field: read(value)}
    except (ValueError, KeyError):
        return None


def _number(value: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", value, re.ASCII):
        raise ValueError(value)
    return int(value)


def _count(value: str) -> int:
    return max(0, _number(value))


def _role(value: str) -> Role:
    return ROLES[ROLES.index(value.lower())]


def _list(value: str) -> tuple[str, ...]:
    keys = tuple(key.strip().replace("\\,", ",") for key in re.split(r"(?<!\\),", value) if key.strip())
    if not keys:
        raise ValueError(value)
    return keys


def _true(_value: str) -> bool:
    return True


_READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "activate_only_after": ("only_after", _count),
    "activate_only_every": ("only_every", _count),
    "keep_activate_after_match": ("keeps_after_match", _true),
    "dont_activate_after_match": ("stops_after_match", _true),
    "depth": ("depth", _count),
    "reverse_depth": ("reverse_depth", _count),
    "role": ("role", _role),
    "scan_depth": ("scan_depth", _count),
    "is_greeting": ("greeting", _count),
    "position": ("position", lambda value: _POSITIONS[value.lower()]),
    "ignore_on_max_context": ("yields_first", _true),
    "additional_keys": ("additional_keys", _list),
    "exclude_keys": ("exclude_keys", _list),
    "activate": ("activates", _true),
    "dont_activate": ("never_activates", _true),
}
