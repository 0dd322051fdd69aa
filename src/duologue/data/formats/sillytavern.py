"""Chats of SillyTavern: a JSONL file with a header line and one message per line, also as Chub writes it."""

from collections.abc import Iterable, Iterator
from typing import Any

from duologue.data.formats.detect import is_chat_header
from duologue.data.formats.tally import NOT_USED, ROW_LEFT_OUT, Tally, refused
from duologue.data.formats.values import JsonObject, flag_of, json_type, object_of, optional_text, required, text_of
from duologue.data.found import ROW_DROPPED, Dialogue, Note, Row, RowFault, Turn
from duologue.messages import Role

_ATTACHMENT_KEYS = ("media", "files", "file", "image", "image_swipes", "video")


def read_sillytavern(rows: Iterable[Row], tally: Tally) -> Iterator[Dialogue | Note]:
    """Yield the chats of a file and what was left out of them; a header line begins a new chat.

    A header is no row of its own: the rows are the messages. Its names are not used, because each message carries the
    name it was sent under ("unused" stands in the header since SillyTavern 1.14).
    """
    turns: list[Turn] = []
    notes: list[Note] = []
    header: int | None = None
    for row in rows:
        if is_chat_header(row.value):
            yield from _finish(turns, notes, header, tally)
            turns, notes, header = [], [], row.number
            continue
        tally.add_rows("sillytavern")
        header = None
        try:
            found = _read_message(row, notes, tally)
        except RowFault as fault:
            yield refused(row.number, fault)
            continue
        if isinstance(found, Note):
            yield found
        else:
            turns.append(found)
    yield from _finish(turns, notes, header, tally)


def _finish(turns: list[Turn], notes: list[Note], header: int | None, tally: Tally) -> Iterator[Dialogue | Note]:
    if turns:
        yield Dialogue(turns[0].row, tuple(turns), tuple(notes), len(turns))
    elif header is not None:
        tally.add_rows("sillytavern")
        yield Note(header, "", "the header of a chat without messages", ROW_DROPPED)


def _read_message(row: Row, notes: list[Note], tally: Tally) -> Turn | Note:
    if isinstance(row.value, RowFault):
        raise row.value
    message = object_of(row.value, "")
    if flag_of(message, "is_system"):
        return Note(row.number, "is_system", "a message hidden from the character", ROW_LEFT_OUT)
    if not isinstance(message.get("is_user"), bool):
        raise RowFault("is_user", f"found a JSON {json_type(message.get('is_user'))}; expected true or false")
    speaker = optional_text(message, "name")
    text, field = _shown_text(required(message, "mes"), "mes")
    raw_extra = message.get("extra")
    extra: JsonObject = raw_extra if isinstance(raw_extra, dict) else {}
    _count_extras(extra, tally)
    if not text.strip():
        return Note(row.number, field, "an empty message", ROW_LEFT_OUT)
    notes += _swipe_notes(message, text, row.number, tally)
    return Turn(_role(message, extra), speaker, text, row.number, field)


def _role(message: JsonObject, extra: JsonObject) -> Role:
    if extra.get("type") == "narrator":  # the /sys command: sent to the model as a system message
        return "system"
    return "user" if message["is_user"] else "assistant"


def _shown_text(value: object, field: str) -> tuple[str, str]:
    """Return a text and its path; Chub wraps each text in an object."""
    if isinstance(value, dict):
        inside = f"{field}.message"
        return text_of(required(value, "message", f"{field}."), inside), inside
    return text_of(value, field), field


def _swipe_notes(message: JsonObject, text: str, number: int, tally: Tally) -> Iterator[Note]:
    """Count the versions that are not shown; note where the shown one is not the text of the message."""
    swipes: Any = message.get("swipes")
    if swipes is None:
        return
    if not isinstance(swipes, list):
        yield Note(number, "swipes", f"found a JSON {json_type(swipes)}; expected a list", NOT_USED)
        return
    tally.count("swipes", "other versions of messages", NOT_USED, max(len(swipes) - 1, 0))
    index = message.get("swipe_id", 0)
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < max(len(swipes), 1):
        yield Note(number, "swipe_id", "does not point at one of the swipes", "the text in mes is used")
        return
    chosen = swipes[index] if swipes else text
    if isinstance(chosen, dict):
        chosen = chosen.get("message")
    if chosen != text:
        where = f"swipes[{index}]"
        yield Note(number, where, "the version shown differs from mes", "the text in mes is used")


def _count_extras(extra: JsonObject, tally: Tally) -> None:
    if extra.get("reasoning"):
        tally.count("extra.reasoning", "reasoning beside messages", NOT_USED)
    if any(extra.get(key) for key in _ATTACHMENT_KEYS):
        tally.count("extra", "messages with files attached", "only their text is used")
