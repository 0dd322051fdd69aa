"""Chats of SillyTavern (and Chub): JSON lines with a header, one line per message of the path, its versions inside.

What we do not store ourselves travels along: the header with `chat_metadata`, and of each message `extra`, dates as
they were written, and every field we do not know. So reading and writing again gives the same file.

Source of the format: `saveChat` in SillyTavern 1.18's script.js.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from duologue.chat.chat_state import NOTE
from duologue.chat.exchange.found import (
    NO_MESSAGE,
    Account,
    GrowingTree,
    ImportedChat,
    Names,
    iso_date,
    versions_of,
    without,
)
from duologue.chat.tree import SessionTree, TreeMessage
from duologue.data.formats import (
    JsonObject,
    Row,
    RowFault,
    flag_of,
    is_chat_header,
    json_type,
    object_of,
    optional_text,
    required,
    text_of,
)
from duologue.messages import Role

KEY = "sillytavern"
_STORED = ("mes", "swipes", "swipe_id", "swipe_info")


def read(rows: Sequence[Row], account: Account) -> list[ImportedChat]:
    """Return the chats of a file; a header line begins a new one."""
    chats: list[ImportedChat] = []
    begun: tuple[Row | None, list[Row]] | None = None
    parts: list[tuple[Row | None, list[Row]]] = []
    for row in rows:
        if isinstance(row.value, RowFault):
            account.fault(row.number, row.value)
        elif is_chat_header(row.value):
            begun = (row, [])
            parts.append(begun)
        else:
            if begun is None:
                begun = (None, [])
                parts.append(begun)
            begun[1].append(row)
    for header, messages in parts:
        if not messages:
            account.note("a chat without messages: left out")
            continue
        chats += _read_chat(header, messages, account)
    return chats


def write(tree: SessionTree, names: Names, account: Account) -> str:
    """Return a chat as SillyTavern saves it: the path, with the versions of its messages."""
    versions = versions_of(tree, account)
    lines = [_header(tree), *(_written(entry, versions[entry.id], names) for entry in tree.path())]
    return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)


# ------------------------------------------------------------------------------------------------------------- reading


def _read_chat(header: Row | None, rows: Sequence[Row], account: Account) -> list[ImportedChat]:
    documents: list[tuple[JsonObject, int]] = []
    for row in rows:
        try:
            message = object_of(row.value, "")
            if not isinstance(message.get("is_user"), bool):
                raise RowFault("is_user", f"found a JSON {json_type(message.get('is_user'))}; expected true or false")
            optional_text(message, "name")
            documents.append((message, row.number))
        except RowFault as fault:
            account.fault(row.number, fault)
    voices = {False: _names(documents, is_user=False), True: _names(documents, is_user=True)}
    tree, parent_id = GrowingTree(), NO_MESSAGE
    for message, number in documents:
        is_named = len(voices[message["is_user"]]) > 1
        try:
            parent_id = _add(tree, parent_id, message, is_named=is_named, account=account)
        except RowFault as fault:
            account.fault(number, fault)
    if account.faults:
        return []
    extra = {} if header is None else {KEY: {"header": header.value}}
    created_at = iso_date(object_of(header.value, "").get("create_date")) if header is not None else ""
    return [
        ImportedChat(
            tree.finished(created_at=created_at, states=_states(extra), extra=extra),
            character=_only(voices[False]),
            user=_only(voices[True]),
        )
    ]


def _states(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the author's note of a header as a session keeps it."""
    metadata = _as_object(extra[KEY]["header"].get("chat_metadata") if extra else None)
    text = metadata.get("note_prompt")
    if not isinstance(text, str) or not text:
        return {}
    depth = metadata.get("note_depth")
    is_depth = isinstance(depth, int) and not isinstance(depth, bool) and depth >= 0
    return {NOTE: {"text": text, "depth": depth} if is_depth else {"text": text}}


def _names(documents: Sequence[tuple[JsonObject, int]], *, is_user: bool) -> list[str]:
    spoken = (m for m, _ in documents if m["is_user"] is is_user and _role(m) != "system" and not m.get("is_system"))
    return list(dict.fromkeys(name for message in spoken if (name := optional_text(message, "name"))))


def _only(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ""


def _role(message: JsonObject) -> Role:
    extra = message.get("extra")
    if isinstance(extra, dict) and extra.get("type") == "narrator":  # the /sys command
        return "system"
    return "user" if message["is_user"] else "assistant"


def _add(tree: GrowingTree, parent_id: int, message: JsonObject, *, is_named: bool, account: Account) -> int:
    """Add a message with its versions; return the one that is shown."""
    shown_text = _text(required(message, "mes"), "mes")
    swipes, infos = message.get("swipes"), message.get("swipe_info")
    if swipes is not None and not isinstance(swipes, list):
        raise RowFault("swipes", f"found a JSON {json_type(swipes)}; expected a list")
    texts = [_text(swipe, f"swipes[{index}]") for index, swipe in enumerate(swipes or [])]
    place = message.get("swipe_id", 0)
    if not texts:
        texts, place = [shown_text], 0
    elif isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(texts):
        account.note("a swipe_id that points at no version: the text in mes is added as a version of its own")
        texts, place = [*texts, shown_text], len(texts)
    rest = without(message, *_STORED) | {"has_swipes": swipes is not None}
    shown_id = NO_MESSAGE
    for index, text in enumerate(texts):
        extra: dict[str, Any] = {"message": rest} if index == place else {}
        if isinstance(infos, list) and index < len(infos):
            extra["info"] = infos[index]
        if index == place and text != shown_text:
            account.note("a version shown that differs from mes: the text in mes is used, the other is kept aside")
            extra |= {"swipe": text, "shown": shown_text}
        date = message.get("send_date") if index == place else _date_of(extra.get("info"))
        version_id = tree.add(
            parent_id,
            _role(message),
            shown_text if index == place else text,
            created_at=iso_date(date),
            speaker=optional_text(message, "name") if is_named or _role(message) == "system" else "",
            finish_reason="" if message["is_user"] else "stop",
            is_hidden=flag_of(message, "is_system") and _role(message) != "system",
            extra={KEY: extra},
        )
        if index == place:
            shown_id = version_id
    tree.show(parent_id, shown_id)
    return shown_id


def _text(value: object, field: str) -> str:
    """Return a text; Chub wraps each in an object."""
    if isinstance(value, dict):
        return text_of(required(value, "message", f"{field}."), f"{field}.message")
    return text_of(value, field)


def _date_of(info: object) -> object:
    return info.get("send_date") if isinstance(info, dict) else None


# ------------------------------------------------------------------------------------------------------------- writing


def _header(tree: SessionTree) -> dict[str, Any]:
    """Return the first line as it came, with the author's note as it is now."""
    header: dict[str, Any] = tree.extra.get(KEY, {}).get("header") or {
        "chat_metadata": {},
        "user_name": "unused",
        "character_name": "unused",
    }
    note = tree.states.get(NOTE)
    if not isinstance(note, dict) or "text" not in note:
        return header
    metadata = {**_as_object(header.get("chat_metadata")), "note_prompt": note["text"]}
    if "depth" in note:
        metadata["note_depth"] = note["depth"]
    return {**header, "chat_metadata": metadata}


def _written(entry: TreeMessage, versions: Sequence[TreeMessage], names: Names) -> dict[str, Any]:
    own = entry.extra.get(KEY, {})
    # What was said about the message as a whole is kept with the version that was shown when it was read.
    rest: dict[str, Any] = next((v.extra[KEY]["message"] for v in versions if "message" in v.extra.get(KEY, {})), {})
    had_swipes = rest.get("has_swipes", False)
    line = {
        "name": names.of(entry),
        "is_user": entry.message.role == "user",
        "is_system": entry.is_hidden,
        "send_date": entry.created_at,
        "mes": entry.message.content,
        **without(rest, "has_swipes"),
    }
    line["is_system"] = entry.is_hidden or (entry.message.role == "system" and bool(line["is_system"]))
    if "is_system" not in rest and rest and not line["is_system"]:
        del line["is_system"]
    if entry.speaker:
        line["name"] = entry.speaker
    if "message" not in own:  # another version is shown now: its own dates and details, as a swipe brings them
        line["send_date"] = entry.created_at
        line |= {key: own["info"][key] for key in _taken(own.get("info"))}
    line.setdefault("extra", {})
    if entry.message.role == "system":
        line["extra"] = {"type": "narrator", **_as_object(line["extra"])}
    if rest and "extra" not in rest and entry.message.role != "system" and not line["extra"]:
        del line["extra"]
    if len(versions) > 1 or had_swipes:
        line["swipes"] = [_swipe_text(version) for version in versions]
        line["swipe_id"] = versions.index(entry)
        if any("info" in version.extra.get(KEY, {}) for version in versions):
            line["swipe_info"] = [version.extra.get(KEY, {}).get("info", _new_info(version)) for version in versions]
    return line


def _swipe_text(version: TreeMessage) -> str:
    own = version.extra.get(KEY, {})
    is_unchanged = own.get("shown") == version.message.content
    return str(own["swipe"]) if "swipe" in own and is_unchanged else version.message.content


def _taken(info: object) -> list[str]:
    return [
        key for key in ("send_date", "gen_started", "gen_finished", "extra") if isinstance(info, dict) and key in info
    ]


def _as_object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _new_info(version: TreeMessage) -> dict[str, Any]:
    return {"send_date": version.created_at, "extra": {}}
