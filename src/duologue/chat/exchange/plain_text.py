"""Chats as plain text: `Name: text`, an empty line between messages, further lines of a message set in by 4 spaces."""

import re
from collections import Counter

from duologue.chat.exchange.found import (
    NO_MESSAGE,
    Account,
    GrowingTree,
    ImportedChat,
    Names,
    versions_of,
)
from duologue.chat.tree import SessionTree
from duologue.data.formats import RowFault

_NAMED = re.compile(r"([^\s:][^:\n]{0,39}):(?: (.*)|)")
_INDENT = "    "


def read(text: str, names: Names, account: Account) -> ImportedChat:
    """Return the chat of a log.

    A line begins a message when a name that speaks more than once, or is one of `names`, stands before its colon;
    any other line goes on with the message before it.

    Args:
        text: The log.
        names: The user's name tells whose messages are the user's.
        account: Counts lines that belong to no message.

    Raises:
        RowFault: No line begins with a name and a colon.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    begins = [None if line.startswith(_INDENT) else _NAMED.fullmatch(line) for line in lines]
    times = Counter(match[1] for match in begins if match)
    known = {name for name, num in times.items() if num > 1} | {names.user, names.character}
    said: list[tuple[str, list[str]]] = []
    for line, match in zip(lines, begins, strict=True):
        if match and (match[1] in known or not said):
            said.append((match[1], [match[2] or ""]))
        elif said:
            said[-1][1].append(line)
        elif line.strip():
            account.note("lines before the first name: left out")
    if not said:
        raise RowFault("", "no line begins with a name and a colon, as in 'Ana: Hello'")
    voices = {name for name, _ in said} - {names.user}
    if len(voices) == len({name for name, _ in said}) and len(voices) > 1:
        listed = ", ".join(sorted(voices)[:8])
        raise RowFault("", f"nobody is called {names.user!r}; found {listed}; say which of them is the user")
    tree, parent_id = GrowingTree(), NO_MESSAGE
    for name, parts in said:
        is_user = name == names.user
        parent_id = tree.add(
            parent_id,
            "user" if is_user else "assistant",
            _joined(parts),
            speaker="" if is_user or len(voices) == 1 else name,
            finish_reason="" if is_user else "stop",
        )
    return ImportedChat(tree.finished(), character=voices.pop() if len(voices) == 1 else "", user=names.user)


def write(tree: SessionTree, names: Names, account: Account) -> str:
    """Return the path of a chat as text."""
    versions = versions_of(tree, account)
    account.note("other versions of messages: left out", sum(len(beside) - 1 for beside in versions.values()))
    blocks = []
    for entry in tree.path():
        first, *rest = entry.message.content.split("\n")
        name = re.sub(r"[:\n]", " ", names.of(entry)).strip()[:40] or "?"
        blocks.append("\n".join([f"{name}: {first}", *(_INDENT + line for line in rest)]))
    return "\n\n".join(blocks) + "\n"


def _joined(parts: list[str]) -> str:
    """Return the lines of a message as its text: without the indent, and without the empty line that ends it."""
    while len(parts) > 1 and not parts[-1]:
        parts = parts[:-1]
    return "\n".join(part.removeprefix(_INDENT) for part in parts)
