"""Rows of a file, and one row of any known format to messages.

A format is recognised by its keys: `messages` (OpenAI), `conversations` (ShareGPT), `instruction` (Alpaca).
"""

import json
from collections.abc import Callable
from typing import Any, Literal, get_args

from duologue.messages import Message, Role

DataFormat = Literal["messages", "sharegpt", "alpaca"]
DATA_FORMATS: tuple[DataFormat, ...] = get_args(DataFormat)

_ROLE_WORDS: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "char": "assistant",
}


class RowFault(Exception):
    """A row that cannot be used: the field and the reason."""

    def __init__(self, field: str, reason: str) -> None:
        """Store where and why."""
        super().__init__(reason)
        self.field = field
        self.reason = reason


def detect_format(row: dict[str, Any]) -> DataFormat:
    """Return the format of a row by its keys.

    Raises:
        RowFault: No known key is there.
    """
    if "messages" in row:
        return "messages"
    if "conversations" in row:
        return "sharegpt"
    if "instruction" in row:
        return "alpaca"
    found = ", ".join(sorted(row)[:8]) or "none"
    raise RowFault("", f"unknown format; expected the key 'messages', 'conversations' or 'instruction', found: {found}")


def parse_row(row: object, row_format: DataFormat | None) -> tuple[DataFormat, list[Message]]:
    """Return the format and the messages of one row, in the order and with the roles as found.

    Args:
        row: Parsed JSON.
        row_format: The format to require, or None to detect it.

    Raises:
        RowFault: The row does not have that format, a role is unknown, or a content is not text.
    """
    if not isinstance(row, dict):
        raise RowFault("", f"a row is an object; found a JSON {json_type(row)}")
    row_format = row_format or detect_format(row)
    readers: dict[DataFormat, Callable[[dict[str, Any]], list[Message]]] = {
        "messages": lambda r: _list_of_messages(r, "messages", role_key="role", text_key="content"),
        "sharegpt": _sharegpt,
        "alpaca": _alpaca,
    }
    return row_format, readers[row_format](row)


def json_type(value: object) -> str:
    """Return the JSON name of a value's type."""
    names = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def strict_json(text: str) -> Any:  # noqa: ANN401 (JSON is any type)
    """Parse JSON as RFC 8259 has it: no NaN, no Infinity, no duplicate keys.

    Raises:
        ValueError: With what was wrong.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key '{twice}' occurs twice in one object")
    return result


def _sharegpt(row: dict[str, Any]) -> list[Message]:
    messages = _list_of_messages(row, "conversations", role_key="from", text_key="value")
    system = row.get("system")
    if system is None or system == "":
        return messages
    return [Message("system", _text(system, "system")), *messages]


def _alpaca(row: dict[str, Any]) -> list[Message]:
    reply_key = "output" if "output" in row else "response"
    if reply_key not in row:
        raise RowFault("output", "missing; expected 'output' or 'response'")
    instruction = _text(row["instruction"], "instruction")
    extra = _text(row.get("input") or "", "input")
    question = f"{instruction}\n\n{extra}" if extra.strip() else instruction
    messages = [Message("user", question), Message("assistant", _text(row[reply_key], reply_key))]
    system = _text(row.get("system") or "", "system")
    return [Message("system", system), *messages] if system.strip() else messages


def _list_of_messages(row: dict[str, Any], key: str, *, role_key: str, text_key: str) -> list[Message]:
    if key not in row:
        raise RowFault(key, "missing")
    items = row[key]
    if not isinstance(items, list):
        raise RowFault(key, f"found a JSON {json_type(items)}; expected a list of messages")
    messages = []
    for index, item in enumerate(items):
        at = f"{key}[{index}]"
        if not isinstance(item, dict):
            raise RowFault(at, f"found a JSON {json_type(item)}; expected an object")
        role_word = item.get(role_key)
        role = _ROLE_WORDS.get(role_word.strip().lower()) if isinstance(role_word, str) else None
        if role is None:
            shown = json.dumps(role_word)[:40]
            raise RowFault(f"{at}.{role_key}", f"unknown role {shown}; expected system, user or assistant")
        messages.append(Message(role, _text(item.get(text_key), f"{at}.{text_key}")))
    return messages


def _text(value: object, field: str) -> str:
    if isinstance(value, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in value):
        return "\n".join(part["text"] for part in value)  # OpenAI's list of text parts
    if not isinstance(value, str):
        raise RowFault(field, f"found a JSON {json_type(value)}; expected a string")
    if "\0" in value:
        raise RowFault(field, "contains a NUL character")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise RowFault(field, "contains half of a surrogate pair")
    return value
