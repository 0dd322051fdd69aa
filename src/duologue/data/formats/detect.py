"""The format of a row or a document, by its keys and the shape of what they hold."""

from collections.abc import Callable
from typing import Any, NoReturn

from duologue.data.formats.values import JsonObject, json_type, missing, shown
from duologue.data.found import DataFormat, RowFault

Keys = frozenset[str]

_ROW_KEYS = frozenset({"messages", "conversations", "conversation", "instruction", "prompt", "question"})
# A row of a known format that lacks one key is told which, by the key that is there.
_HALVES = (
    ("prompt", "completion"),
    ("completion", "prompt"),
    ("question", "answer"),
    ("answer", "question"),
    ("output", "instruction"),
    ("response", "instruction"),
)
_TELEGRAM_CHATS = frozenset(
    {
        "personal_chat",
        "bot_chat",
        "saved_messages",
        "private_group",
        "private_supergroup",
        "public_supergroup",
        "private_channel",
        "public_channel",
    }
)
_EXPECTED = (
    "a row with 'messages', 'conversations', 'instruction' or 'prompt' with 'completion', or an export of SillyTavern, "
    "text-generation-webui, RisuAI, Agnai, Kobold Lite, CAI Tools, Open WebUI, Discord or Telegram"
)


def detect_format(value: object) -> DataFormat:
    """Return the format of a row or of a document that is the only row of its file.

    Keys without a value (null, or an empty cell of a table) count only where no other key decides.

    Raises:
        RowFault: The shape is unknown; the reason names the keys that were found and what is expected.
    """
    if not isinstance(value, dict):
        hint = '; is this one conversation? Write {"messages": [...]}' if isinstance(value, list) else ""
        raise RowFault("", f"a row is an object; found a JSON {json_type(value)}{hint}")
    filled = frozenset(key for key, item in value.items() if item is not None and item != "")
    found = _by_keys(value, filled) or _by_keys(value, frozenset(value))
    return found or _refuse(value)


def is_chat_header(value: object) -> bool:
    """Whether a row is the first line of a SillyTavern chat, of either age."""
    if not isinstance(value, dict) or "mes" in value or "is_user" in value:
        return False
    names = "user_name" in value or "character_name" in value
    return "chat_metadata" in value or (names and not _ROW_KEYS & value.keys())


def _by_keys(row: JsonObject, keys: Keys) -> DataFormat | None:
    return next((name for name, has_shape in _SHAPES if has_shape(row, keys)), None)


def _is_sillytavern(row: JsonObject, keys: Keys) -> bool:
    return "mes" in keys or "is_user" in keys or is_chat_header(row)


def _is_discord(row: JsonObject, keys: Keys) -> bool:
    if "guild" in keys and "channel" in keys:
        return True
    return "role" not in _message_keys(row) and {"author", "content"} <= _message_keys(row)


def _is_telegram(row: JsonObject, keys: Keys) -> bool:
    if isinstance(row.get("chats"), dict) and "list" in row["chats"]:
        return True
    kind = row.get("type")
    if isinstance(kind, str) and kind in _TELEGRAM_CHATS:
        return "messages" in keys or "name" in keys
    inside = _message_keys(row)
    return "role" not in inside and "text" in inside and bool({"date", "date_unixtime", "from_id"} & inside)


def _is_agnai(row: JsonObject, keys: Keys) -> bool:
    return "msg" in _message_keys(row) or {"messages", "sampleChat"} <= keys


def _is_text_generation_webui(row: JsonObject, keys: Keys) -> bool:
    return bool({"internal", "data_visible"} & keys) or ("visible" in keys and isinstance(row["visible"], list))


def _is_risuai(row: JsonObject, _: Keys) -> bool:
    kind, data = row.get("type"), row.get("data")
    return (isinstance(kind, str) and kind.startswith("risu")) or (isinstance(data, dict) and "message" in data)


def _is_kobold_lite(_: JsonObject, keys: Keys) -> bool:
    return "savedsettings" in keys or {"gamestarted", "actions"} <= keys


def _is_open_webui(row: JsonObject, keys: Keys) -> bool:
    chat = row["chat"] if "chat" in keys else row
    if not isinstance(chat, dict):
        return bool({"meta", "folder_id", "user_id", "pinned"} & keys)
    history = chat.get("history")
    if isinstance(history, dict) and {"messages", "currentId"} & history.keys():
        return True
    return "chat" in keys and ("messages" in chat or "history" in chat)


def _is_pair(_: JsonObject, keys: Keys) -> bool:
    if "prompt" in keys:
        return bool({"completion", "response"} & keys)
    return {"question", "answer"} <= keys


# The exports come first: some of them have a key of the row formats too.
_SHAPES: tuple[tuple[DataFormat, Callable[[JsonObject, Keys], bool]], ...] = (
    ("sillytavern", _is_sillytavern),
    ("discord", _is_discord),
    ("telegram", _is_telegram),
    ("agnai", _is_agnai),
    ("text-generation-webui", _is_text_generation_webui),
    ("risuai", _is_risuai),
    ("kobold-lite", _is_kobold_lite),
    ("cai-tools", lambda _, keys: "histories" in keys),
    ("open-webui", _is_open_webui),
    ("messages", lambda _, keys: "messages" in keys),
    ("sharegpt", lambda _, keys: bool({"conversations", "conversation"} & keys)),
    ("alpaca", lambda _, keys: "instruction" in keys),
    ("prompt-completion", _is_pair),
)


def _message_keys(row: JsonObject) -> set[Any]:
    """Return the keys of the first message that is an object."""
    messages = row.get("messages")
    if not isinstance(messages, list):
        return set()
    return set(next((message for message in messages if isinstance(message, dict)), {}))


def _refuse(row: JsonObject) -> NoReturn:
    """Refuse a row of no known format."""
    keys = row.keys()
    for there, absent in _HALVES:
        if there in keys and not {"chosen", "rejected"} & keys:
            missing(absent, f"it beside '{there}'")
    hint = ""
    if {"role", "content"} <= keys or {"from", "value"} <= keys:
        hint = '; this is one message: put all messages of a conversation into {"messages": [...]}'
    elif {"chosen", "rejected"} <= keys:
        hint = "; pairs of a chosen and a rejected reply are not conversations"
    elif any(name not in _ROW_KEYS and name.strip().lower() in _ROW_KEYS for name in map(str, keys)):
        hint = "; the keys are written in small letters, without spaces around them"
    elif inside := [key for key, item in row.items() if isinstance(item, list) and item and isinstance(item[0], dict)]:
        hint = f"; if the rows are the list in {shown(str(inside[0]))}, save that list as the file"
    names = ", ".join(shown(str(key)) for key in sorted(keys, key=str)[:8])
    found = f"found the keys {names}" if names else "found an empty object"
    raise RowFault("", f"unknown format; {found}; expected {_EXPECTED}{hint}")
