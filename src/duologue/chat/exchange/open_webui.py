"""Exports of Open WebUI: a tree like ours, both ways; what we do not store ourselves travels along."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from duologue.chat.exchange.found import (
    NO_MESSAGE,
    Account,
    GrowingTree,
    ImportedChat,
    Names,
    iso_of_unix,
    seconds_of_iso,
    without,
)
from duologue.chat.tree import SessionTree, TreeMessage
from duologue.data.formats import (
    JsonObject,
    RowFault,
    json_type,
    object_of,
    optional_text,
    required,
    required_list,
    required_text,
    role_of,
    shown,
)

KEY = "open-webui"
_STORED = ("parentId", "childrenIds", "role", "content")


def read(document: JsonObject, account: Account) -> ImportedChat:
    """Return a chat of an export, all its branches included.

    Raises:
        RowFault: A message is no text, or the messages are no tree.
    """
    is_wrapped = "chat" in document
    chat = object_of(document["chat"], "chat") if is_wrapped else document
    tree = GrowingTree()
    _check_files(chat, account)
    if "history" in chat:
        _read_tree(tree, object_of(chat["history"], "history"))
    else:  # a single branch, as old exports have it
        parent_id = NO_MESSAGE
        for index, item in enumerate(required_list(chat, "messages")):
            parent_id = _add(tree, parent_id, object_of(item, f"messages[{index}]"), f"messages[{index}]")
    meta = document.get("meta")
    tags = meta.get("tags") if isinstance(meta, dict) else chat.get("tags")
    outer = without(document, "chat") if is_wrapped else None
    extra = {KEY: {"chat": without(chat, "history", "messages", "title"), "outer": outer}}
    return ImportedChat(
        tree.finished(
            title=optional_text(chat, "title"),
            tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
            created_at=iso_of_unix(document.get("created_at")),
            extra=extra,
        )
    )


def write(tree: SessionTree, names: Names) -> str:
    """Return a chat as Open WebUI exports it: a list with one chat, every branch included."""
    ids = _ids(tree)
    children = tree.children()
    messages: dict[str, dict[str, Any]] = {}
    for entry in tree.messages:
        raw = entry.extra.get(KEY, {})
        written: dict[str, Any] = {"id": ids[entry.id], "parentId": ids.get(entry.parent_id), "childrenIds": []}
        written["childrenIds"] = [ids[child.id] for child in children.get(entry.id, ())]
        written |= {"role": entry.message.role, "content": entry.message.content}
        if not raw:
            written["timestamp"] = int(seconds_of_iso(entry.created_at)) if entry.created_at else 0
            if entry.message.role == "assistant":
                written |= {"model": names.character, "modelName": names.of(entry), "done": True}
        messages[ids[entry.id]] = {**written, **without(raw, "id")}
    path = [messages[ids[entry.id]] for entry in tree.path()]
    kept = tree.extra.get(KEY, {})
    chat = {
        "title": tree.title or "New Chat",
        "models": [names.character],
        **kept.get("chat", {}),
        "history": {"messages": messages, "currentId": path[-1]["id"] if path else None},
        "messages": path,
    }
    chat["title"] = tree.title or "New Chat"
    outer = kept.get("outer") or {"meta": {"tags": list(tree.tags)}, "pinned": False, "folder_id": None}
    return json.dumps([{**outer, "chat": chat}], ensure_ascii=False, indent=1)


def _read_tree(tree: GrowingTree, history: JsonObject) -> None:
    inside = "history.messages"
    messages = object_of(required(history, "messages", "history."), inside)
    below: dict[str | None, list[str]] = {}
    for name, message in messages.items():
        parent = object_of(message, f"{inside}.{name}").get("parentId")
        if parent is not None and (not isinstance(parent, str) or parent not in messages):
            found = shown(parent) if isinstance(parent, str) else f"a JSON {json_type(parent)}"
            raise RowFault(f"{inside}.{name}.parentId", f"found {found}; expected the id of a message")
        below.setdefault(parent, []).append(name)
    rows: dict[str | None, int] = {None: NO_MESSAGE}
    waiting: list[str | None] = [None]
    while waiting:
        parent = waiting.pop()
        for name in _in_order(below.get(parent, []), messages.get(parent, {}) if parent is not None else {}):
            rows[name] = _add(tree, rows[parent], messages[name], f"{inside}.{name}")
            waiting.append(name)
        if below.get(parent):
            tree.show(rows[parent], rows[_in_order(below[parent], messages.get(parent, {}) if parent else {})[-1]])
    if len(rows) <= len(messages):
        name = next(name for name in messages if name not in rows)
        raise RowFault(f"{inside}.{name}.parentId", "the messages form a circle")
    current = history.get("currentId")
    if current is not None and (not isinstance(current, str) or current not in messages):
        raise RowFault("history.currentId", f"found {shown(current)}; expected the id of a message")
    while current is not None:
        parent = messages[current].get("parentId")
        tree.show(rows[parent], rows[current])
        current = parent


def _in_order(names: list[str], parent: JsonObject) -> list[str]:
    """Return the versions below a message in the order in which it lists them."""
    listed = parent.get("childrenIds")
    places = (
        {name: place for place, name in enumerate(listed) if isinstance(name, str)} if isinstance(listed, list) else {}
    )
    return sorted(names, key=lambda name: places.get(name, len(places)))


def _add(tree: GrowingTree, parent_id: int, message: JsonObject, at: str) -> int:
    role = role_of(message.get("role"), f"{at}.role")
    is_done = message.get("done", True) is not False
    return tree.add(
        parent_id,
        role,
        required_text(message, "content", f"{at}."),
        created_at=iso_of_unix(message.get("timestamp")),
        finish_reason="stop" if role == "assistant" and is_done else "",
        extra={KEY: without(message, *_STORED)},
    )


def _check_files(chat: Mapping[str, Any], account: Account) -> None:
    files = chat.get("files")
    account.note(
        "files attached to the chat: kept for an export, not shown", len(files) if isinstance(files, list) else 0
    )


def _ids(tree: SessionTree) -> dict[int, str]:
    """Return the id of each message: the one it came with, or a new one that is the same each time."""
    ids: dict[int, str] = {}
    given: set[str] = set()
    for entry in tree.messages:
        name = entry.extra.get(KEY, {}).get("id")
        ids[entry.id] = name if isinstance(name, str) and name not in given else _new_id(tree, entry)
        given.add(ids[entry.id])
    return ids


def _new_id(tree: SessionTree, entry: TreeMessage) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{tree.created_at}/{entry.id}/{entry.created_at}"))
