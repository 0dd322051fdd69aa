"""`/memory` and its kin: see, search, explain, pin, hide and forget what is remembered, while talking."""

from typing import TYPE_CHECKING

from duologue.errors import ConfigError
from duologue.memory import MemoryStore, Receipt, Scope, StoredLine

if TYPE_CHECKING:
    from duologue.cli.terminal import TerminalChat

_NUM_SHOWN = 20


def show_recalled(chat: "TerminalChat", _: str) -> None:
    """Show what was put into the last prompt of what is remembered."""
    path = chat.path()
    lines = path[-1].recalled if path else ()
    for line in lines:
        chat.out.say(f"{line.memory_id:>6}  {line.said_at[:16]}  {line.speaker}: {line.text}")
    if not lines:
        chat.out.say("nothing was recalled")


def remind(chat: "TerminalChat", argument: str) -> None:
    """Recall for the next reply what bears on these words as well."""
    if not argument:
        raise ConfigError("there are no words to remember by", needed="/recall WORDS")
    chat.bot.remind(chat.session_id, argument)
    chat.out.say("(the next reply will have it)", style="dim")


def run(chat: "TerminalChat", argument: str) -> None:
    """List, search, explain, pin, hide or forget memories."""
    memory = chat.bot.memory
    if memory is None:
        chat.out.say("memory is turned off (memory.enabled)")
        return
    chat.bot.settle()
    scope = Scope("local", chat.bot.model_id)
    verb, _, rest = argument.partition(" ")
    if verb in ("", "search"):
        found = (
            memory.search(rest, scope=scope, limit=_NUM_SHOWN)
            if verb
            else memory.list_lines(scope=scope, limit=_NUM_SHOWN)
        )
        for line in found:
            chat.out.say(_row(line))
        if not found:
            chat.out.say("nothing is remembered" if not verb else "nothing was found")
        return
    ids = _ids(rest)
    if verb == "forget":
        _say_receipt(chat, chat.bot.forget(ids))
        return
    for memory_id in ids:
        _one(chat, memory, verb, memory_id, scope)


def _one(chat: "TerminalChat", memory: MemoryStore, verb: str, memory_id: int, scope: Scope) -> None:
    if verb == "why":
        why = memory.why(memory_id, scope=scope)
        chat.out.say(f"because of message {why.line.message_id} of session {why.line.session_id}:")
        for line in why.around:
            mark = ">" if line.message_id == why.line.message_id else " "
            chat.out.say(f" {mark} {line.said_at[:16]}  {line.speaker}: {line.original}")
    elif verb in ("pin", "unpin"):
        chat.out.say(_row(memory.pin(memory_id, verb == "pin", scope=scope)))
    elif verb in ("private", "public"):
        chat.out.say(_row(memory.set_private(memory_id, verb == "private", scope=scope)))
    else:
        raise ConfigError(
            f"/memory does not know '{verb}'", needed="search, why, pin, unpin, private, public or forget"
        )


def _row(line: StoredLine) -> str:
    marks = [
        mark
        for mark, holds in (("pinned", line.is_pinned), ("private", line.is_private), (line.kind, line.kind == "fact"))
        if holds
    ]
    shown = f" ({', '.join(marks)})" if marks else ""
    return f"{line.memory_id:>6}  {line.said_at[:16]}  {line.speaker}: {line.text}{shown}"


def _ids(text: str) -> list[int]:
    words = text.replace(",", " ").split()
    if not words or not all(word.isdecimal() for word in words):
        raise ConfigError(f"'{text}' names no memory", needed="numbers as /memory shows them")
    return [int(word) for word in words]


def _say_receipt(chat: "TerminalChat", receipt: Receipt) -> None:
    num = receipt.num_lines + receipt.num_facts
    proof = f"{receipt.num_traces} traces in {receipt.num_files} files, {receipt.num_found} found by a search"
    chat.out.say(f"forgot {num} memories; {proof}; copy elsewhere: {receipt.hosted}")
    for note in receipt.notes:
        chat.out.say(f"({note})", style="yellow")
