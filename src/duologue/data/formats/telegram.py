"""Chats of Telegram Desktop: `result.json` of one chat, or of all chats of an account."""

from collections.abc import Iterator

from duologue.data.formats.chat_log import Message, cut_at_pauses, read_messages, seconds_of
from duologue.data.formats.tally import ROW_LEFT_OUT, Tally, refused
from duologue.data.formats.values import (
    JsonObject,
    json_type,
    object_of,
    optional_text,
    required,
    required_list,
    shown,
    text_of,
)
from duologue.data.found import Dialogue, Note, RowFault, Turn

_MEDIA_KEYS = ("media_type", "photo", "file", "sticker_emoji", "location_information", "poll", "contact_information")
_MAX_SECONDS_DIGITS = 12


def read_telegram(document: JsonObject, _: int, tally: Tally, *, pause_hours: float) -> Iterator[Dialogue | Note]:
    """Yield the conversations of one chat or of all; each message is a row, counted through all chats.

    Raises:
        RowFault: The document has no list of messages and no list of chats.
    """
    if "messages" in document or "chats" not in document:
        required_list(document, "messages")
        yield from _read_chat(document, "", tally, pause_hours)
        return
    lists = [key for key in ("chats", "left_chats") if document.get(key) is not None]
    if not lists:
        raise RowFault("chats", "found a JSON null; expected an object with a list of chats")
    chats = [(chat, f"{key}.list[{index}]") for key in lists for index, chat in enumerate(_chats(document[key], key))]
    num_rows_before = tally.num_rows
    for chat, where in chats:
        try:
            yield from _read_chat(object_of(chat, where), f"{where}.", tally, pause_hours)
        except RowFault as fault:
            tally.add_rows("telegram")
            yield refused(tally.num_rows, fault)
    if tally.num_rows == num_rows_before:
        raise RowFault("chats.list", "holds no messages")


def _chats(group: object, at: str) -> list[object]:
    items = required(object_of(group, at), "list", f"{at}.")
    if not isinstance(items, list):
        raise RowFault(f"{at}.list", f"found a JSON {json_type(items)}; expected a list of chats")
    return items


def _read_chat(chat: JsonObject, at: str, tally: Tally, pause_hours: float) -> Iterator[Dialogue | Note]:
    messages = required(chat, "messages", at)
    if messages == []:  # a chat that was opened and never used
        return
    required_list(chat, "messages", at)

    def read_one(raw: object, where: str, row: int) -> Message:
        return _read_message(raw, where, row, tally)

    found = read_messages(messages, read_one, data_format="telegram", at=f"{at}messages", tally=tally)
    yield from cut_at_pauses(found, pause_hours=pause_hours, tally=tally)


def _read_message(raw: object, at: str, row: int, tally: Tally) -> Message:
    message = object_of(raw, at)
    seconds = _seconds(message)
    kind = message.get("type", "message")
    if kind == "service":
        return Message(seconds, Note(row, f"{at}.type", "a notice of Telegram", ROW_LEFT_OUT))
    if kind != "message":
        raise RowFault(f"{at}.type", f'found {shown(kind)}; expected "message" or "service"')
    speaker = optional_text(message, "from", f"{at}.") or optional_text(message, "from_id", f"{at}.")
    if not speaker.strip():
        raise RowFault(f"{at}.from", "missing; expected the name of the sender")
    field, text = _text(message, at)
    for key, what in (("forwarded_from", "a forwarded message"), ("via_bot", "a message made by a bot")):
        if message.get(key):
            return Message(seconds, Note(row, f"{at}.{key}", what, ROW_LEFT_OUT))
    has_media = any(message.get(key) for key in _MEDIA_KEYS)
    if not text.strip():
        what = "a message with media only" if has_media else "an empty message"
        return Message(seconds, Note(row, field, what, ROW_LEFT_OUT))
    if has_media:
        tally.count("media_type", "messages with media", "only their text is used")
    return Message(seconds, Turn(None, speaker, text, row, field))


def _text(message: JsonObject, at: str) -> tuple[str, str]:
    """Return the path and the text: a string, or pieces of which some have a format."""
    key = "text" if "text" in message or "text_entities" not in message else "text_entities"
    value = required(message, key, f"{at}.")
    field = f"{at}.{key}"
    if not isinstance(value, list):
        return field, text_of(value, field)
    pieces = []
    for index, piece in enumerate(value):
        where = f"{field}[{index}]"
        if isinstance(piece, dict):
            pieces.append(text_of(required(piece, "text", f"{where}."), f"{where}.text"))
        else:
            pieces.append(text_of(piece, where))
    return field, "".join(pieces)


def _seconds(message: JsonObject) -> float | None:
    value = message.get("date_unixtime")
    if isinstance(value, str) and value.isdecimal() and len(value) <= _MAX_SECONDS_DIGITS:
        return float(value)
    return seconds_of(message.get("date"))
