"""One key of a TOML file set in place: comments, order and every other line stay as they are.

The standard library reads TOML and does not write it. So a line is changed or added, and the result is read again: it
must say what it said before but for that key. Where that is not certain, the file is left alone and the line to write
is told.
"""

import copy
import json
import re
import tomllib
from pathlib import Path
from typing import Any

from duologue.errors import ConfigError
from duologue.files import write_whole

Value = str | int | float | bool | tuple[str, ...]


def set_key(path: Path, key: str, value: Value) -> None:
    """Set `section.key` in a TOML file, making file and section when they are missing.

    Raises:
        ConfigError: The file cannot be read or written, or writes this key in a way that cannot be changed safely.
    """
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        write_whole(path, with_key(text, key, value, where=str(path)))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"the file cannot be changed ({reason})", where=str(path)) from error


def with_key(text: str, key: str, value: Value, *, where: str) -> str:
    """Return a TOML text with one key set.

    Args:
        text: The file.
        key: `section.key`.
        value: What it is set to.
        where: Name of the file, for messages.

    Raises:
        ConfigError: The text is no TOML, or writes this key in a way that cannot be changed safely.
    """
    section, _, name = key.partition(".")
    try:
        wanted = copy.deepcopy(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"this is not TOML: {error}", where=where) from error
    line = f"{name} = {_written(value)}"
    table = wanted.setdefault(section, {})
    is_known = isinstance(table, dict) and name in table
    if isinstance(table, dict):
        table[name] = list(value) if isinstance(value, tuple) else value
    changed = _changed(text, section, name, line, is_known=is_known)
    if _read(changed) != wanted:
        raise ConfigError(
            f"'{key}' cannot be changed safely in this file",
            where=where,
            action=f"Open it in an editor and write, below [{section}]: {line}",
        )
    return changed


def _changed(text: str, section: str, name: str, line: str, *, is_known: bool) -> str:
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    head = re.compile(rf"\s*\[\s*{re.escape(section)}\s*\]\s*(?:#.*)?$")
    start = next((at for at, row in enumerate(lines) if head.match(row)), None)
    if start is None:
        gap = ["\n"] if lines else []
        return "".join([*lines, *gap, f"[{section}]\n", f"{line}\n"])
    if not is_known:
        return "".join([*lines[: start + 1], f"{line}\n", *lines[start + 1 :]])
    entry = re.compile(rf"\s*{re.escape(name)}\s*=")
    at = next((at for at in range(start + 1, len(lines)) if entry.match(lines[at])), None)
    if at is None:
        return text  # written as `section.key` or in quotes: found out by who reads it again
    end = _end_of_value(lines, at)
    return "".join([*lines[:at], f"{line}{_comment(lines[end - 1])}\n", *lines[end:]])


def _end_of_value(lines: list[str], at: int) -> int:
    """Return the line after a value that begins in a line: the first at which what was read is whole."""
    for end in range(at + 1, len(lines) + 1):
        if _read("".join(lines[at:end])) is not None:
            return end
    return at + 1


def _comment(row: str) -> str:
    """Return the comment at the end of a line; an empty text where a `#` may be part of a text."""
    value, sign, comment = row.rstrip("\n").partition("#")
    if not sign or value.count('"') % 2 or value.count("'") % 2:
        return ""
    return f"{value[len(value.rstrip()) :]}#{comment}"


def _read(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _written(value: Value) -> str:
    """Return a value as TOML. A JSON text is a TOML text, but for DEL, which JSON leaves as it is."""
    if isinstance(value, tuple):
        return f"[{', '.join(_written(item) for item in value)}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return json.dumps(value)
