"""Rows that hold a list of messages: OpenAI's `messages` and ShareGPT's `conversations`."""

from typing import Any

from duologue.data.formats.tally import NOT_USED
from duologue.data.formats.values import (
    JsonObject,
    json_type,
    known_role,
    object_of,
    optional_text,
    required,
    required_list,
    role_of,
    shown,
    text_of,
    unused_texts,
)
from duologue.data.found import Dialogue, Note, RowFault, Turn

_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
_CALL_KEYS = ("tool_calls", "function_call")
_PLAIN_KEYS = frozenset({"role", "content", "from", "value"})
# The roles as OpenAI and ShareGPT spell them; any other word is understood, but said.
_USUAL_WORDS = {
    "role": frozenset({"system", "user", "assistant"}),
    "from": frozenset({"system", "user", "human", "assistant", "gpt", "chatgpt", "bing", "bard"}),
}
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})


def read_chat_row(row: JsonObject, number: int) -> Dialogue:
    """Return the conversation of a row of OpenAI messages or of ShareGPT.

    Raises:
        RowFault: A message is no text with a known role, or belongs to a tool.
    """
    notes: list[Note] = []
    key = next(key for key in ("messages", "conversations", "conversation") if key in row)
    turns = system_turns(row, number)
    turns += read_turns(required_list(row, key), key, row=number, notes=notes)
    notes += unused_texts(row, frozenset({key}), turns)
    return Dialogue(number, tuple(turns), tuple(notes))


def system_turns(row: JsonObject, number: int) -> list[Turn]:
    """Return the system text that stands beside the messages, as a list of one turn or none."""
    system = optional_text(row, "system")
    return [Turn("system", "", system, number, "system")] if system.strip() else []


def read_turns(items: list[Any], at: str, *, row: int, notes: list[Note]) -> list[Turn]:
    """Return the turns of a list of messages with `role` and `content` or `from` and `value`.

    Args:
        items: The list.
        at: Path of the list.
        row: Number of the row.
        notes: Receives what was joined or not used.

    Raises:
        RowFault: As `read_chat_row`.
    """
    return [_turn(item, f"{at}[{index}]", row=row, notes=notes) for index, item in enumerate(items)]


def _turn(item: object, at: str, *, row: int, notes: list[Note]) -> Turn:
    message = object_of(item, at)
    is_sharegpt = "from" in message or ("value" in message and "role" not in message)
    role_key, text_key = ("from", "value") if is_sharegpt else ("role", "content")
    role = known_role(message.get(role_key)) or role_of(required(message, role_key, f"{at}."), f"{at}.{role_key}")
    if message[role_key] not in _USUAL_WORDS[role_key]:
        reason = f"the role {shown(message[role_key])}"
        if not any(note.reason == reason for note in notes):  # the same word once per row
            notes.append(Note(row, f"{at}.{role_key}", reason, f"read as {role}"))
    if text_key not in message:
        text_key = _other_text_key(message, at, text_key)
    field = f"{at}.{text_key}"
    is_plain = message.keys() <= _PLAIN_KEYS  # nearly all messages; the rest is looked at closely
    if not is_plain:
        _refuse_calls(message, at, field)
        notes += [
            Note(row, f"{at}.{key}", "reasoning beside the reply", NOT_USED)
            for key in _REASONING_KEYS
            if message.get(key)
        ]
    return Turn(
        role,
        "" if is_plain else optional_text(message, "name", f"{at}."),
        _content(message[text_key], field, row=row, notes=notes),
        row,
        field,
        is_trained=is_plain or role != "assistant" or _is_trained(message, at),
    )


def _refuse_calls(message: JsonObject, at: str, field: str) -> None:
    for key in _CALL_KEYS:
        if message.get(key):
            where = f"{at}.{key}" if message.get(field.rpartition(".")[2]) else field
            raise RowFault(where, f"the message calls a tool ({key}); conversations with tools cannot be learned")


def _other_text_key(message: JsonObject, at: str, expected: str) -> str:
    """Return the text key of a message that mixes both spellings, such as `from` with `content`."""
    other = {"value": "content", "content": "value"}[expected]
    if other not in message:
        raise RowFault(f"{at}.{expected}", "missing")
    return other


def _is_trained(message: JsonObject, at: str) -> bool:
    """Whether the file wants this reply learned: OpenAI's `weight`; `train` or `loss` for other trainers."""
    is_trained = True
    for key in ("weight", "train", "loss"):
        value = message.get(key)
        if value is None:
            continue
        if value not in (0, 1) or not isinstance(value, bool | int | float):
            expected = "0 or 1" if key == "weight" else "true or false"
            raise RowFault(f"{at}.{key}", f"found {shown(value)}; expected {expected}")
        is_trained = is_trained and bool(value)
    return is_trained


def _content(value: object, field: str, *, row: int, notes: list[Note]) -> str:
    """Return a text, or the texts of a list of parts joined by line ends."""
    if not isinstance(value, list):
        return text_of(value, field)
    if not value:
        raise RowFault(field, "is an empty list; expected text")
    if len(value) > 1:
        notes.append(Note(row, field, f"{len(value)} text parts", "joined"))
    return "\n".join(_part(part, f"{field}[{index}]") for index, part in enumerate(value))


def _part(value: object, field: str) -> str:
    part = object_of(value, field)
    kind = part.get("type", "text")
    if not isinstance(kind, str):
        raise RowFault(f"{field}.type", f"found a JSON {json_type(kind)}; expected a string")
    if kind not in _TEXT_PARTS:
        raise RowFault(field, f"a part of the type {shown(kind)}; only text can be learned")
    return text_of(required(part, "text", f"{field}."), f"{field}.text")
