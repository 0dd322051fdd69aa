"""Chats of RisuAI and Agnai, and training rows: plain lists of messages, of which only the path is written."""

import json
from typing import Any

from duologue.chat.exchange.found import (
    NO_MESSAGE,
    Account,
    GrowingTree,
    ImportedChat,
    Names,
    as_line,
    iso_date,
    iso_of_unix,
    seconds_of_iso,
    versions_of,
    without,
)
from duologue.chat.tree import SessionTree, TreeMessage
from duologue.data.formats import (
    JsonObject,
    RowFault,
    flag_of,
    object_of,
    optional_text,
    required,
    required_list,
    required_text,
    role_of,
    shown,
)

RISUAI, AGNAI = "risuai", "agnai"


# -------------------------------------------------------------------------------------------------------------- RisuAI


def read_risuai(document: JsonObject, account: Account) -> list[ImportedChat]:
    """Return the chats of a RisuAI export: one, or all chats of a character.

    Raises:
        RowFault: The document holds no chats, or a message is no text.
    """
    data = required(document, "data")
    if isinstance(data, list):
        return [_risu_chat(object_of(chat, f"data[{n}]"), account, at=f"data[{n}]") for n, chat in enumerate(data)]
    return [_risu_chat(object_of(data, "data"), account, at="data")]


def write_risuai(tree: SessionTree, account: Account) -> str:
    """Return a chat as RisuAI exports it."""
    _count_versions(tree, account)
    kept = tree.extra.get(RISUAI, {})
    messages = []
    for entry in _path(tree, account):
        raw = entry.extra.get(RISUAI, {})
        written: dict[str, Any] = {
            "role": "user" if entry.message.role == "user" else "char",
            "data": entry.message.content,
        }
        if entry.created_at:
            written["time"] = round(seconds_of_iso(entry.created_at) * 1000)
        messages.append({**written, **({"disabled": True} if entry.is_hidden else {}), **without(raw, "disabled")})
        if entry.is_hidden and ("disabled" in raw or "isComment" in raw):
            messages[-1] |= {key: raw[key] for key in ("disabled", "isComment") if key in raw}
    chat = {"note": "", "name": tree.title, "localLore": [], **kept.get("chat", {}), "message": messages}
    chat["name"] = tree.title
    return json.dumps({"type": "risuChat", "ver": 2, "data": chat}, ensure_ascii=False, indent=1)


def _risu_chat(chat: JsonObject, account: Account, *, at: str) -> ImportedChat:
    tree, parent_id = GrowingTree(), NO_MESSAGE
    for index, item in enumerate(required_list(chat, "message", f"{at}.")):
        where = f"{at}.message[{index}]"
        message = object_of(item, where)
        role = required(message, "role", f"{where}.")
        if role not in ("user", "char"):
            raise RowFault(f"{where}.role", f"unknown role {shown(role)}; expected user or char")
        if message.get("swipes"):
            account.note("other versions of RisuAI messages: kept for an export, not shown")
        parent_id = tree.add(
            parent_id,
            "user" if role == "user" else "assistant",
            required_text(message, "data", f"{where}."),
            created_at=iso_of_unix(message.get("time"), per_second=1000),
            finish_reason="stop" if role == "char" else "",
            is_hidden=bool(message.get("disabled") or message.get("isComment")),
            extra={RISUAI: without(message, "role", "data")},
        )
    title = optional_text(chat, "name", f"{at}.")
    return ImportedChat(tree.finished(title=title, extra={RISUAI: {"chat": without(chat, "message", "name")}}))


def _path(tree: SessionTree, account: Account) -> list[TreeMessage]:
    kept = [entry for entry in tree.path() if entry.message.role != "system"]
    account.note("system messages: left out", len(tree.path()) - len(kept))
    return kept


# --------------------------------------------------------------------------------------------------------------- Agnai


def read_agnai(document: JsonObject, account: Account) -> ImportedChat:
    """Return the chat of an Agnai export; a message with a `userId` is the user's.

    Raises:
        RowFault: A message is no text.
    """
    tree, parent_id = GrowingTree(), NO_MESSAGE
    items = required_list(document, "messages")
    documents = [object_of(item, f"messages[{index}]") for index, item in enumerate(items)]
    voices = {_handle(message, index) for index, message in enumerate(documents) if not message.get("userId")} - {""}
    for index, message in enumerate(documents):
        at = f"messages[{index}]."
        if message.get("adapter") == "image":
            account.note("images: left out")
            continue
        is_user = bool(optional_text(message, "userId", at))
        parent_id = tree.add(
            parent_id,
            "user" if is_user else "assistant",
            required_text(message, "msg", at),
            created_at=iso_date(message.get("createdAt")),
            speaker=_handle(message, index) if len(voices) > 1 and not is_user else "",
            finish_reason="" if is_user else "stop",
            is_hidden=flag_of(message, "ooc", at),
            extra={AGNAI: without(message, "msg")},
        )
    rest = without(document, "messages", "name")
    tree_of = tree.finished(title=optional_text(document, "name"), extra={AGNAI: {"rest": rest}})
    return ImportedChat(tree_of, character=voices.pop() if len(voices) == 1 else "")


def write_agnai(tree: SessionTree, names: Names, account: Account) -> str:
    """Return a chat as Agnai exports it."""
    _count_versions(tree, account)
    messages = []
    for entry in _path(tree, account):
        raw: dict[str, Any] = dict(entry.extra.get(AGNAI, {}))
        if not raw:
            raw["handle"] = names.of(entry)
            if entry.message.role == "user":
                raw["userId"] = "anon"
            if entry.created_at:
                raw["createdAt"] = entry.created_at
        if entry.is_hidden:
            raw["ooc"] = True
        elif raw.get("ooc"):
            raw["ooc"] = False
        messages.append({"msg": entry.message.content, **raw})
    document = {"name": tree.title, **tree.extra.get(AGNAI, {}).get("rest", {}), "messages": messages}
    return json.dumps(document, ensure_ascii=False, indent=1)


def _handle(message: JsonObject, index: int) -> str:
    at = f"messages[{index}]."
    return optional_text(message, "handle", at) or optional_text(message, "name", at)


# ------------------------------------------------------------------------------------------------------- training rows


def read_training_row(row: JsonObject, account: Account) -> ImportedChat:
    """Return the conversation of an OpenAI training row.

    Raises:
        RowFault: A message has no role or no text.
    """
    tree, parent_id = GrowingTree(), NO_MESSAGE
    for index, item in enumerate(required_list(row, "messages")):
        at = f"messages[{index}]"
        message = object_of(item, at)
        role = role_of(message.get("role"), f"{at}.role")
        text = required_text(message, "content", f"{at}.")
        account.note("fields beside role and content: left out", len(without(message, "role", "content")))
        parent_id = tree.add(parent_id, role, text, finish_reason="stop" if role == "assistant" else "")
    return ImportedChat(tree.finished())


def write_training_row(tree: SessionTree, account: Account) -> str:
    """Return a chat as one OpenAI training row; empty when nobody replies in it."""
    _count_versions(tree, account)
    path = as_line(tree, account, has_system=True)
    if not {"user", "assistant"} <= {entry.message.role for entry in path}:
        account.note("chats without a reply: left out")
        return ""
    messages = [{"role": entry.message.role, "content": entry.message.content} for entry in path]
    return json.dumps({"messages": messages}, ensure_ascii=False)


def _count_versions(tree: SessionTree, account: Account) -> None:
    versions = versions_of(tree, account)
    num_others = sum(len(beside) - 1 for beside in versions.values())
    account.note("other versions of messages: left out", num_others)
