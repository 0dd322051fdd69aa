"""Chats of text-generation-webui: pairs of texts under `internal`, as HTML under `visible`, and versions of them."""

import html
import json
from typing import Any

from duologue.chat.exchange.found import (
    NO_MESSAGE,
    Account,
    GrowingTree,
    ImportedChat,
    Names,
    as_line,
    versions_of,
    without,
)
from duologue.chat.tree import SessionTree, TreeMessage
from duologue.data.formats import JsonObject, RowFault, json_type, object_of, required_list, text_of
from duologue.messages import Role

KEY = "text-generation-webui"
BEGIN = "<|BEGIN-VISIBLE-CHAT|>"  # stands where the user's message would be when the character speaks first
_SIDES: tuple[tuple[int, Role], ...] = ((0, "user"), (1, "assistant"))


def read(document: JsonObject, account: Account) -> ImportedChat:
    """Return the chat of a file.

    Raises:
        RowFault: The pairs are missing, or one is no pair of texts.
    """
    is_old = "data" in document and "internal" not in document
    key, visible_key = ("data", "data_visible") if is_old else ("internal", "visible")
    pairs = required_list(document, key, of="pairs of texts")
    visible = document.get(visible_key)
    metadata = document.get("metadata")
    details = metadata if isinstance(metadata, dict) else {}
    tree, parent_id = GrowingTree(), NO_MESSAGE
    for index, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2:
            found = f"{len(pair)} items" if isinstance(pair, list) else f"a JSON {json_type(pair)}"
            raise RowFault(f"{key}[{index}]", f"found {found}; expected a pair of texts")
        for side, role in _SIDES:
            at = f"{key}[{index}][{side}]"
            text = "" if pair[side] is None else text_of(pair[side], at)
            if not text or (side == 0 and text == BEGIN):
                continue
            detail = details.get(f"{role}_{index}")
            extra: dict[str, Any] = {"metadata": detail} if isinstance(detail, dict) else {}
            shown = _visible(visible, index, side)
            if shown is not None and shown != html.escape(text):
                extra |= {"text": text, "visible": shown}
            parent_id = _add(tree, parent_id, (role, text), extra, at=f"metadata.{role}_{index}")
    rest = without(document, key, visible_key, "metadata")
    account.note("fields beside the messages: kept for an export, not shown", len(rest))
    return ImportedChat(tree.finished(extra={KEY: {"rest": rest}}))


def write(tree: SessionTree, _: Names, account: Account) -> str:
    """Return a chat as text-generation-webui saves it."""
    versions = versions_of(tree, account)
    pairs: list[list[str]] = []
    visible: list[list[str]] = []
    details: dict[str, Any] = {}
    speakers = {entry.speaker for entry in tree.messages} - {""}
    account.note("names of speakers: left out", len(speakers) if len(speakers) > 1 else 0)
    for entry in as_line(tree, account):
        side = 0 if entry.message.role == "user" else 1
        if side == 0 or not pairs or pairs[-1][1]:
            pairs.append(["" if pairs or side == 0 else BEGIN, ""])
            visible.append(["", ""])
        pairs[-1][side] = entry.message.content
        visible[-1][side] = _as_visible(entry)
        detail = _detail(entry, versions[entry.id])
        if detail:
            details[f"{entry.message.role}_{len(pairs) - 1}"] = detail
    rest = tree.extra.get(KEY, {}).get("rest", {})
    document = {**rest, "internal": pairs, "visible": visible, "metadata": details}
    return json.dumps(document, ensure_ascii=False, indent=4)


def _add(tree: GrowingTree, parent_id: int, said: tuple[Role, str], extra: dict[str, Any], *, at: str) -> int:
    """Add a message with the other versions that its details hold; return the one that is shown."""
    role, text = said
    detail = extra.get("metadata", {})
    versions = detail.get("versions")
    values: dict[str, Any] = {"finish_reason": "stop" if role == "assistant" else ""}
    if not isinstance(versions, list) or not versions:
        return tree.add(parent_id, role, text, extra={KEY: extra}, **values)
    place = detail.get("current_version_index", len(versions) - 1)
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(versions):
        raise RowFault(f"{at}.current_version_index", f"found {place!r}; expected the place of a version")
    shown_id = NO_MESSAGE
    for index, version in enumerate(versions):
        where = f"{at}.versions[{index}]"
        content = version if isinstance(version, str) else object_of(version, where).get("content", "")
        other = text if index == place else text_of(content, f"{where}.content")
        kept: dict[str, Any] = {**extra, "metadata": without(detail, "versions")} if index == place else {}
        kept["version"] = without(version, "content") if isinstance(version, dict) else None
        version_id = tree.add(parent_id, role, other, extra={KEY: kept}, **values)
        if index == place:
            shown_id = version_id
    tree.show(parent_id, shown_id)
    return shown_id


def _visible(visible: object, index: int, side: int) -> str | None:
    if not isinstance(visible, list) or index >= len(visible):
        return None
    pair = visible[index]
    is_text = isinstance(pair, list) and len(pair) == 2 and isinstance(pair[side], str)
    return pair[side] if is_text else None


def _as_visible(entry: TreeMessage) -> str:
    kept = entry.extra.get(KEY, {})
    return kept["visible"] if kept.get("text") == entry.message.content else html.escape(entry.message.content)


def _detail(entry: TreeMessage, versions: list[TreeMessage]) -> dict[str, Any]:
    detail: dict[str, Any] = next(
        (v.extra[KEY]["metadata"] for v in versions if "metadata" in v.extra.get(KEY, {})), {}
    )
    detail = without(detail, "versions", "current_version_index")
    if len(versions) > 1 or "version" in entry.extra.get(KEY, {}):
        detail["versions"] = [_version(version) for version in versions]
        detail["current_version_index"] = versions.index(entry)
    return detail


def _version(version: TreeMessage) -> dict[str, Any]:
    kept = version.extra.get(KEY, {}).get("version")
    text = version.message.content
    return {"visible_content": html.escape(text), **(kept or {}), "content": text}
