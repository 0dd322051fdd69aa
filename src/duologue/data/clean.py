"""One text made safe to train on: plain line breaks, no control characters; what is odd but harmless is noticed."""

import re

from duologue.data.found import RowFault

# What a text seldom holds; one search finds out that there is nothing to do.
_ODD = re.compile(
    "[{<\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]")
_HIDDEN = re.compile("[\xad\u200b\u202a-\u202e\u2060-\u2069\U000e0000-\U000e007f]")
_LINE_SEPARATOR = re.compile("[\u2028\u2029]")
_MACRO = re.compile(r"\{\{([^{}\n]{1,120})\}\}")
_MACRO_NAME = re.compile(r"\s*([^\s:]{1,24})")
_RESOLVED = re.compile(r"\{\{(?:char|user)\}\}|<(?:bot|char|user)>", re.IGNORECASE)  # by Character.resolve_macros
_RESOLVED_MACROS = frozenset({"char", "user"})
_MOST_SHOWN = 3
# Anything but space and characters that leave no mark: joiners, variation selectors, fillers, the braille blank.
_VISIBLE = re.compile(
    "[^\\s\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)


def clean(text: str, *, field: str) -> tuple[str, tuple[tuple[str, str], ...], int]:
    """Return a text without outer space and control characters, what was found, and the carriage returns in it.

    Characters of the range U+0080-U+009F are text in Windows-1252 that was read as Latin-1 (as the HTML standard has
    it) and become what they were meant to be. Hidden characters that writing systems need stay.

    Args:
        text: Any text.
        field: Where it stands, for the fault.

    Returns:
        The text; pairs of reason and action; the number of carriage returns that became line breaks.

    Raises:
        RowFault: It holds half of a surrogate pair, so it is no Unicode text.
    """
    if not _ODD.search(text):
        return text.strip(), (), 0
    if _SURROGATE.search(text):
        raise RowFault(field, "contains half of a surrogate pair")
    changes: list[tuple[str, str]] = []
    num_returns = text.count("\r")
    if num_returns:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _without_controls(text, changes)
    separators = _LINE_SEPARATOR.findall(text)
    if separators:
        text = _LINE_SEPARATOR.sub("\n", text)
        changes.append((f"Unicode line separators: {len(separators)}", "turned into plain line breaks"))
    hidden = _HIDDEN.findall(text)
    if hidden:
        changes.append((f"invisible characters ({_listed(hidden)}): {len(hidden)}", "kept"))
    names = _RESOLVED.findall(text)
    if names:
        shown = ", ".join(sorted(set(names))[:_MOST_SHOWN])
        changes.append((f"macros of names ({shown}): {len(names)}", "resolved"))
    unknown = [_macro_name(macro) for macro in _MACRO.findall(text) if macro.lower() not in _RESOLVED_MACROS]
    if unknown:
        shown = ", ".join(sorted(set(unknown))[:_MOST_SHOWN])
        changes.append((f"macros that are not resolved ({shown}): {len(unknown)}", "kept as text"))
    return text.strip(), tuple(changes), num_returns


def is_visible(text: str) -> bool:
    """Whether a text holds anything but spaces and invisible characters."""
    return _VISIBLE.search(text) is not None


def _macro_name(macro: str) -> str:
    """Return the name alone: its arguments are the text of the conversation."""
    name = _MACRO_NAME.match(macro)
    return f"{{{{{name[1] if name else ''}}}}}"


def _without_controls(text: str, changes: list[tuple[str, str]]) -> str:
    found = _CONTROL.findall(text)
    if not found:
        return text
    meant = {char: _windows_1252(char) for char in dict.fromkeys(found)}
    mended = [char for char in found if meant[char]]
    removed = [char for char in found if not meant[char]]
    if mended:
        changes.append((f"Windows-1252 characters ({_listed(mended)}): {len(mended)}", "turned into Unicode"))
    if removed:
        changes.append((f"control characters ({_listed(removed)}): {len(removed)}", "removed"))
    return _CONTROL.sub(lambda match: meant[match[0]], text)


def _windows_1252(char: str) -> str:
    """Return what a C1 control character stands for in Windows-1252, or an empty string."""
    if not "\x80" <= char <= "\x9f":
        return ""
    try:
        return char.encode("latin-1").decode("cp1252")
    except UnicodeDecodeError:
        return ""


def _listed(chars: list[str]) -> str:
    codes = [f"U+{ord(char):04X}" for char in dict.fromkeys(chars)]
    return ", ".join(codes[:_MOST_SHOWN]) + (", ..." if len(codes) > _MOST_SHOWN else "")
