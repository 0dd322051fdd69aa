"""Exports of Open WebUI: a tree of messages, of which one branch is shown."""

from collections.abc import Iterator

from duologue.data.formats.tally import LEFT_OUT, NOT_USED, Tally, refused
from duologue.data.formats.values import (
    JsonObject,
    json_type,
    object_of,
    optional_text,
    required,
    required_list,
    required_text,
    role_of,
    shown,
)
from duologue.data.found import Dialogue, Note, RowFault, Turn

_BLOCK, _BLOCK_END = '<details type="', "</details>"
_TOOL_BLOCKS = frozenset({"tool_calls", "code_interpreter"})


def read_open_webui(document: JsonObject, number: int, tally: Tally, *, at: str = "") -> Dialogue:
    """Return the branch of a chat that Open WebUI shows: from `currentId` back to the first message.

    Args:
        document: One chat of an export.
        number: Its row.
        tally: Counts the messages of other branches.
        at: Path of the chat inside its row.

    Raises:
        RowFault: A message is no text, names a parent that is not there, or rests on an image or a tool.
    """
    if "chat" in document:
        chat, at = object_of(document["chat"], f"{at}chat"), f"{at}chat."
    else:
        chat = document
    path = _path(chat, at, tally)
    turns: list[Turn] = []
    notes: list[Note] = []
    parameters = chat.get("params")
    if isinstance(parameters, dict):
        system = optional_text(parameters, "system", f"{at}params.")
        if system.strip():
            turns.append(Turn("system", "", system, number, f"{at}params.system"))
    num_before = len(turns)
    for message, where in path:
        turn = _turn(message, where, number, notes)
        if turn.text.strip():
            turns.append(turn)
        else:
            notes.append(Note(number, turn.field, "an empty message", LEFT_OUT))
    if len(turns) == num_before:
        raise RowFault(f"{at}history.messages", "holds no message with text")
    return Dialogue(number, tuple(turns), tuple(notes))


def read_open_webui_chats(chats: list[object], number: int, tally: Tally) -> Iterator[Dialogue | Note]:
    """Yield the chats of an export that is itself one row; each chat counts as a row of the same number."""
    for index, chat in enumerate(chats):
        at = f"[{index}]"
        tally.add_rows("open-webui")
        try:
            yield read_open_webui(object_of(chat, at), number, tally, at=f"{at}.")
        except RowFault as fault:
            yield refused(number, fault)


def _path(chat: JsonObject, at: str, tally: Tally) -> list[tuple[JsonObject, str]]:
    """Return the messages of the shown branch with their paths, first to last."""
    if "history" not in chat and "messages" in chat:  # a single branch, as old exports have it
        items = required_list(chat, "messages", at)
        paths = [f"{at}messages[{index}]" for index in range(len(items))]
        return [(object_of(item, path), path) for item, path in zip(items, paths, strict=True)]
    history = object_of(required(chat, "history", at), f"{at}history")
    inside = f"{at}history.messages"
    messages = object_of(required(history, "messages", f"{at}history."), inside)
    if not messages:
        raise RowFault(inside, "is empty; expected messages")
    field, name = f"{at}history.currentId", required(history, "currentId", f"{at}history.")
    path: list[tuple[JsonObject, str]] = []
    seen: set[str] = set()
    while name is not None:
        if not isinstance(name, str) or name not in messages:
            found = shown(name) if isinstance(name, str) else f"a JSON {json_type(name)}"
            raise RowFault(field, f"found {found}; expected the id of a message")
        if name in seen:
            raise RowFault(field, "the messages form a circle")
        seen.add(name)
        where = f"{inside}.{shown(name)[1:-1]}"
        message = object_of(messages[name], where)
        path.append((message, where))
        field, name = f"{where}.parentId", message.get("parentId")
    if not path:
        raise RowFault(field, "found a JSON null; expected the id of a message")
    tally.count("history.messages", "messages of other branches", NOT_USED, len(messages) - len(path))
    return path[::-1]


def _turn(message: JsonObject, at: str, number: int, notes: list[Note]) -> Turn:
    role = role_of(message.get("role"), f"{at}.role")
    field = f"{at}.content"
    text = required_text(message, "content", f"{at}.")
    if role == "assistant" and _BLOCK in text:
        text = _without_blocks(text, field, number, notes)
    _check_files(message.get("files"), at, number, notes)
    return Turn(role, "", text, number, field)


def _without_blocks(text: str, field: str, number: int, notes: list[Note]) -> str:
    """Return a reply without the blocks of reasoning that Open WebUI writes into it."""
    kept, position, num_blocks = "", 0, 0
    while (start := text.find(_BLOCK, position)) >= 0 and (end := text.find(_BLOCK_END, start)) >= 0:
        kind = text[start + len(_BLOCK) : start + len(_BLOCK) + 40].partition('"')[0]
        if kind in _TOOL_BLOCKS:
            raise RowFault(field, f"the reply rests on a tool ({kind}); conversations with tools cannot be learned")
        end += len(_BLOCK_END)
        kept += text[position:start] if kind == "reasoning" else text[position:end]
        num_blocks += kind == "reasoning"
        position = end
    if num_blocks:
        notes.append(Note(number, field, "reasoning inside the reply", LEFT_OUT))
    return kept + text[position:]


def _check_files(files: object, at: str, number: int, notes: list[Note]) -> None:
    if not isinstance(files, list) or not files:
        return
    for index, file in enumerate(files):
        if isinstance(file, dict) and file.get("type") == "image":
            raise RowFault(f"{at}.files[{index}]", "an image; only text can be learned")
    notes.append(Note(number, f"{at}.files", "files attached to the message", NOT_USED))
