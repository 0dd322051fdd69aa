"""Exports of chat programs that hold plain lists: text-generation-webui, RisuAI, Agnai, CAI Tools."""

from collections.abc import Callable, Iterator
from typing import Any

from duologue.data.formats.tally import LEFT_OUT, NOT_USED, Tally, refused
from duologue.data.formats.values import (
    JsonObject,
    flag_of,
    json_type,
    object_of,
    optional_text,
    required,
    required_list,
    required_text,
    shown,
    text_of,
)
from duologue.data.found import DataFormat, Dialogue, Note, RowFault, Turn
from duologue.messages import Role

_BEGIN = "<|BEGIN-VISIBLE-CHAT|>"  # stands where the user's message would be when the character speaks first


def read_text_generation_webui(document: JsonObject, number: int, tally: Tally) -> Dialogue:
    """Return the chat of text-generation-webui: pairs of texts under `internal`, or `data` in old files.

    `visible` holds the same texts as HTML and is not read.

    Raises:
        RowFault: The pairs are missing or one is no pair of texts.
    """
    key = "data" if "data" in document and "internal" not in document else "internal"
    turns: list[Turn] = []
    notes: list[Note] = []
    for index, pair in enumerate(required_list(document, key, of="pairs of texts")):
        at = f"{key}[{index}]"
        if not isinstance(pair, list) or len(pair) != 2:
            found = f"{len(pair)} items" if isinstance(pair, list) else f"a JSON {json_type(pair)}"
            raise RowFault(at, f"found {found}; expected a pair of texts")
        sides: tuple[tuple[int, Role], ...] = ((0, "user"), (1, "assistant"))
        for side, role in sides:
            text = "" if pair[side] is None else text_of(pair[side], f"{at}[{side}]")
            if side == 0 and text == _BEGIN:
                continue
            _add(turns, notes, Turn(role, "", text, number, f"{at}[{side}]"))
    _count_versions(document.get("metadata"), tally)
    return _finished(turns, notes, number, key)


def _count_versions(metadata: object, tally: Tally) -> None:
    entries = metadata.values() if isinstance(metadata, dict) else ()
    versions = [entry["versions"] for entry in entries if isinstance(entry, dict) and "versions" in entry]
    others = sum(len(version) - 1 for version in versions if isinstance(version, list) and version)
    tally.count("metadata", "other versions of messages", NOT_USED, others)


def read_risuai(document: JsonObject, number: int, tally: Tally) -> Iterator[Dialogue | Note]:
    """Yield the chats of a RisuAI export: one, or all chats of a character.

    Raises:
        RowFault: The document holds no chats.
    """
    data = required(document, "data")
    if isinstance(data, list):
        chats = required_list(document, "data", of="chats")
        yield from _each(chats, "data", "risuai", tally, _risu_chat)
        return
    dialogue = _risu_chat(data, "data", number, tally)
    tally.add_rows("risuai")
    yield dialogue


def _risu_chat(chat: object, at: str, row: int, tally: Tally) -> Dialogue:
    messages = required_list(object_of(chat, at), "message", f"{at}.")
    turns: list[Turn] = []
    notes: list[Note] = []
    voices: set[str] = set()
    for index, item in enumerate(messages):
        where = f"{at}.message[{index}]"
        message = object_of(item, where)
        role = required(message, "role", f"{where}.")
        if role not in ("user", "char"):
            raise RowFault(f"{where}.role", f"unknown role {shown(role)}; expected user or char")
        text = required_text(message, "data", f"{where}.")
        if message.get("disabled") or message.get("isComment"):
            notes.append(Note(row, where, "a message hidden from the character", LEFT_OUT))
            continue
        swipes = message.get("swipes")
        tally.count("swipes", "other versions of messages", NOT_USED, _others(swipes))
        voices.add(optional_text(message, "saying", f"{where}."))
        _add(turns, notes, Turn("user" if role == "user" else "assistant", "", text, row, f"{where}.data"))
    if len(voices - {""}) > 1:
        notes.append(Note(row, f"{at}.message", "several characters, whose names are not in the export", "noticed"))
    return _finished(turns, notes, row, f"{at}.message")


def _others(versions: object) -> int:
    return max(len(versions) - 1, 0) if isinstance(versions, list) else 0


def read_agnai(document: JsonObject, number: int, _: Tally) -> Dialogue:
    """Return the chat of an Agnai export; a message with a `userId` is the user's.

    Raises:
        RowFault: A message is no text.
    """
    turns: list[Turn] = []
    notes: list[Note] = []
    for index, item in enumerate(required_list(document, "messages")):
        at = f"messages[{index}]"
        message = object_of(item, at)
        text = required_text(message, "msg", f"{at}.")
        user = optional_text(message, "userId", f"{at}.")
        speaker = optional_text(message, "handle", f"{at}.") or optional_text(message, "name", f"{at}.")
        if message.get("adapter") == "image" or flag_of(message, "ooc", f"{at}."):
            what = "an image" if message.get("adapter") == "image" else "a message out of character"
            notes.append(Note(number, at, what, LEFT_OUT))
            continue
        _add(turns, notes, Turn("user" if user else "assistant", speaker, text, number, f"{at}.msg"))
    return _finished(turns, notes, number, "messages")


def read_cai_tools(document: JsonObject, _: int, tally: Tally) -> Iterator[Dialogue | Note]:
    """Yield the histories of a CAI Tools export; each is a row.

    Raises:
        RowFault: The document holds no histories.
    """
    at = "histories"
    histories: Any = document[at]
    if isinstance(histories, dict):
        histories = required_list(histories, "histories", "histories.", of="histories")
        at = "histories.histories"
    elif not isinstance(histories, list) or not histories:
        raise RowFault(at, f"found {shown(histories)}; expected histories with messages")
    yield from _each(histories, at, "cai-tools", tally, _cai_history)


def _cai_history(history: object, at: str, row: int, _: Tally) -> Dialogue:
    turns: list[Turn] = []
    notes: list[Note] = []
    for index, item in enumerate(required_list(object_of(history, at), "msgs", f"{at}.")):
        where = f"{at}.msgs[{index}]"
        message = object_of(item, where)
        source = object_of(required(message, "src", f"{where}."), f"{where}.src")
        is_human = required(source, "is_human", f"{where}.src.")
        if not isinstance(is_human, bool):
            raise RowFault(f"{where}.src.is_human", f"found a JSON {json_type(is_human)}; expected true or false")
        speaker = optional_text(source, "name", f"{where}.src.")
        text = required_text(message, "text", f"{where}.")
        _add(turns, notes, Turn("user" if is_human else "assistant", speaker, text, row, f"{where}.text"))
    return _finished(turns, notes, row, f"{at}.msgs")


def _each(
    chats: list[Any],
    at: str,
    data_format: DataFormat,
    tally: Tally,
    read_one: Callable[[object, str, int, Tally], Dialogue],
) -> Iterator[Dialogue | Note]:
    """Yield each chat of a document that holds several; each is a row."""
    for index, chat in enumerate(chats):
        tally.add_rows(data_format)
        row = tally.num_rows
        try:
            yield read_one(chat, f"{at}[{index}]", row, tally)
        except RowFault as fault:
            yield refused(row, fault)


def _add(turns: list[Turn], notes: list[Note], turn: Turn) -> None:
    """Add a turn; an empty one, such as a reply that was stopped at once, is left out and noted."""
    if turn.text.strip():
        turns.append(turn)
    elif turn.text or turn.role == "assistant" or turns:
        notes.append(Note(turn.row, turn.field, "an empty message", LEFT_OUT))


def _finished(turns: list[Turn], notes: list[Note], row: int, field: str) -> Dialogue:
    if not turns:
        raise RowFault(field, "holds no message with text")
    return Dialogue(row, tuple(turns), tuple(notes))
