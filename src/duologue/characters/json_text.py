"""JSON that strangers wrote, read with limits: size, depth, numbers, half characters, keys given twice."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from duologue.errors import ConfigError

MAX_JSON_BYTES = 32 * 2**20
MAX_JSON_DEPTH = 100  # what is read must be copied and written again; real cards are below 20


def read_limited(path: Path, *, limit: int, what: str) -> bytes:
    """Return the content of a file.

    Raises:
        ConfigError: It cannot be read, or is larger than `limit` bytes.
    """
    try:
        with path.open("rb") as file:
            # Not by the size in the folder, which a pipe or a growing file has not; in pieces, as a read of the limit
            # would take its memory for the smallest file.
            content = bytearray()
            while len(content) <= limit and (piece := file.read(min(2**20, limit + 1 - len(content)))):
                content += piece
    except OSError as error:
        raise ConfigError(f"the {what} cannot be read ({error.strerror})", where=str(path)) from error
    if len(content) > limit:
        raise ConfigError(
            f"the {what} is {path.stat().st_size / 2**20:.1f} MiB",
            where=str(path),
            needed=f"at most {limit // 2**20} MiB",
        )
    return bytes(content)


def read_json_file(path: Path, *, what: str) -> tuple[Any, tuple[str, ...]]:
    """Return the document of a JSON file, and what was changed to read it.

    Raises:
        ConfigError: The file cannot be read, is too large, or no JSON.
    """
    return parse_json(read_limited(path, limit=MAX_JSON_BYTES, what=what), where=str(path), what=what)


def parse_json(content: bytes, *, where: str, what: str) -> tuple[Any, tuple[str, ...]]:
    """Return a JSON document and what was changed to read it.

    Half characters (lone surrogates) are replaced, as no file and no model can take them; of a key that is there twice
    the last one counts. Both are named in the notes.

    Raises:
        ConfigError: It is not UTF-8, not JSON, nested too deep, or has numbers that JSON cannot write.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"the {what} is not UTF-8 (byte {error.start})", where=where) from error
    repeated: Counter[str] = Counter()

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) < len(items):
            repeated.update(key for key, count in Counter(key for key, _ in items).items() if count > 1)
        return result

    try:
        document = json.loads(text, object_pairs_hook=pairs, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"the {what} is not valid JSON ({reason})", where=where) from error
    if _depth(document) > MAX_JSON_DEPTH:
        raise ConfigError(f"the {what} is nested too deep", where=where, needed=f"at most {MAX_JSON_DEPTH} levels")
    notes = [f"the key '{key[:60]}' is given twice in one object; the last one counts" for key in repeated]
    if "\\u" in text:
        document, num_halves = _without_surrogates(document)
        if num_halves:
            notes.append(f"{num_halves} texts held half a character (a lone surrogate), now written as U+FFFD")
    return document, tuple(notes)


def dump_json(document: object, *, indent: int | None = None) -> bytes:
    """Return a document as UTF-8 JSON."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent).encode()


def json_type(value: object) -> str:
    """Return what JSON calls a value."""
    names = {dict: "object", list: "list", str: "text", bool: "true/false", int: "number", float: "number"}
    return names.get(type(value), "null")


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def _depth(document: object) -> int:
    deepest, waiting = 0, [(document, 1)]
    while waiting:
        value, level = waiting.pop()
        if isinstance(value, dict | list):
            deepest = max(deepest, level)
            if deepest > MAX_JSON_DEPTH:
                break
            waiting += [(item, level + 1) for item in (value.values() if isinstance(value, dict) else value)]
    return deepest


def _without_surrogates(value: object) -> tuple[Any, int]:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            # Two halves written as two escapes have become one character already; what is left has no other half.
            return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in value), 1
        return value, 0
    if isinstance(value, list):
        items = [_without_surrogates(item) for item in value]
        return [item for item, _ in items], sum(count for _, count in items)
    if isinstance(value, dict):
        pairs = [(_without_surrogates(key), _without_surrogates(item)) for key, item in value.items()]
        return {key[0]: item[0] for key, item in pairs}, sum(key[1] + item[1] for key, item in pairs)
    return value, 0
