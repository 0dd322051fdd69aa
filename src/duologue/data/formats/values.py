"""Strict access to JSON values: what is not as expected is a fault that names its field."""

from typing import Any, NoReturn

from duologue.data.formats.tally import NOT_USED
from duologue.data.found import Note, RowFault, Turn
from duologue.messages import Role

JsonObject = dict[str, Any]

_SHOWN_CHARS = 40
_JSON_TYPES = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number", float: "number"}
_ROLE_WORDS: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "char": "assistant",
    "character": "assistant",
    "ai": "assistant",
}
# Keys that hold the text of a conversation in one format or another.
_TEXT_KEYS = frozenset(
    {"messages", "conversations", "conversation", "instruction", "output", "response", "prompt", "completion"}
    | {"question", "answer", "context", "history", "system_prompt", "chosen", "rejected"}
)
_TOOL_WORDS = frozenset(
    {
        "tool",
        "tools",
        "tool_call",
        "tool_calls",
        "tool_response",
        "tool_responses",
        "function",
        "function_call",
        "function-call",
        "function_response",
        "function-response",
        "observation",
        "ipython",
    }
)


def json_type(value: object) -> str:
    """Return the JSON name of a value's type."""
    return "null" if value is None else _JSON_TYPES.get(type(value), type(value).__name__)


def text_of(value: object, field: str) -> str:
    """Return a text.

    Raises:
        RowFault: It is no string, or holds a NUL character or half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise RowFault(field, f"found a JSON {json_type(value)}; expected a string")
    if "\0" in value:
        raise RowFault(field, "contains a NUL character")
    if not value.isascii():
        try:
            value.encode()  # the quickest way to find what is no Unicode text
        except UnicodeEncodeError as error:
            raise RowFault(field, "contains half of a surrogate pair") from error
    return value


def optional_text(row: JsonObject, key: str, at: str = "") -> str:
    """Return the text under a key; empty where the key is absent or null.

    Raises:
        RowFault: Something else is there.
    """
    value = row.get(key)
    return "" if value is None else text_of(value, at + key)


def required_text(row: JsonObject, key: str, at: str = "") -> str:
    """Return the text under a key.

    Raises:
        RowFault: The key is absent or its value is no text.
    """
    return text_of(required(row, key, at), at + key)


def required(row: JsonObject, key: str, at: str = "") -> Any:  # noqa: ANN401 (JSON is any type)
    """Return the value under a key.

    Raises:
        RowFault: The key is absent.
    """
    if key not in row:
        missing(at + key)
    return row[key]


def required_list(row: JsonObject, key: str, at: str = "", *, of: str = "messages") -> list[Any]:
    """Return the list under a key.

    Raises:
        RowFault: The key is absent, its value is no list, or the list is empty.
    """
    items = required(row, key, at)
    if not isinstance(items, list):
        raise RowFault(at + key, f"found a JSON {json_type(items)}; expected a list of {of}")
    if not items:
        raise RowFault(at + key, f"is empty; expected a list of {of}")
    return items


def object_of(value: object, field: str) -> JsonObject:
    """Return a JSON object.

    Raises:
        RowFault: It is something else.
    """
    if not isinstance(value, dict):
        raise RowFault(field, f"found a JSON {json_type(value)}; expected an object")
    return value


def flag_of(row: JsonObject, key: str, at: str = "") -> bool:
    """Return a boolean; false where the key is absent or null.

    Raises:
        RowFault: Something else is there.
    """
    value = row.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise RowFault(at + key, f"found a JSON {json_type(value)}; expected true or false")
    return value


def known_role(word: object) -> Role | None:
    """Return the role that a word of any format means; None for a word that is unknown as it is spelled."""
    return _ROLE_WORDS.get(word) if isinstance(word, str) else None


def role_of(value: object, field: str) -> Role:
    """Return the role that a word of any format means.

    Raises:
        RowFault: The word is unknown, or the message belongs to a tool. A reply that rests on a tool's result cannot be
            learned without it, and the chat has no tools; so the whole row is refused and nothing is taken out of it.
    """
    word = value.strip().lower() if isinstance(value, str) else None
    role = _ROLE_WORDS.get(word) if word is not None else None
    if role is not None:
        return role
    if word in _TOOL_WORDS:
        raise RowFault(field, f'the role "{word}" belongs to a tool; conversations with tools cannot be learned')
    raise RowFault(field, f"unknown role {shown(value)}; expected system, user or assistant")


def unused_texts(row: JsonObject, used: frozenset[str], turns: list[Turn]) -> list[Note]:
    """Return a note for each text of a row that stands under the key of another format and is not used.

    A text that is in the conversation anyway, such as the prompt beside all messages, is none.
    """
    others = (row.keys() & _TEXT_KEYS) - used
    if not others:
        return []
    texts = [turn.text.strip() for turn in turns]
    found = []
    for key in sorted(others):
        value = row[key]
        is_there = value.strip() in texts if isinstance(value, str) else any(value == row.get(name) for name in used)
        if value and not is_there:
            names = ", ".join(f"'{name}'" for name in sorted(used & row.keys()))
            found.append(Note(turns[-1].row, key, f"a text beside {names}", NOT_USED))
    return found


def missing(field: str, expected: str = "") -> NoReturn:
    """Refuse a row because a key is not there."""
    raise RowFault(field, f"missing; expected {expected}" if expected else "missing")


def shown(value: object) -> str:
    """Return a short, printable form of a value of the file."""
    if isinstance(value, str):
        cut = value if len(value) <= _SHOWN_CHARS else value[: _SHOWN_CHARS - 3] + "..."
        return '"' + "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut) + '"'
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, int | float):
        return repr(value)[:_SHOWN_CHARS]
    return f"a JSON {json_type(value)}"
