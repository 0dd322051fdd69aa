"""Channels of Discord as DiscordChatExporter writes them to JSON."""

from collections.abc import Iterator
from typing import Any

from duologue.data.formats.chat_log import Message, cut_at_pauses, read_messages, seconds_of
from duologue.data.formats.tally import ROW_LEFT_OUT, Tally
from duologue.data.formats.values import (
    JsonObject,
    flag_of,
    object_of,
    optional_text,
    required,
    required_list,
    required_text,
    shown,
)
from duologue.data.found import Dialogue, Note, RowFault, Turn

_SPOKEN_TYPES = frozenset({"Default", "Reply", "ChatInputCommand", "ContextMenuCommand", "0", "19", "20", "23"})


def read_discord(document: JsonObject, _: int, tally: Tally, *, pause_hours: float) -> Iterator[Dialogue | Note]:
    """Yield the conversations of a channel; each message is a row.

    The speaker is the nickname, or the account's name where two accounts share a nickname. Messages of bots are left
    out where people talk to each other; where one person talks to a bot, the bot is the other side and stays.

    Raises:
        RowFault: The document has no list of messages.
    """
    messages = required_list(document, "messages")
    is_newest_first = _is_newest_first(messages)
    if is_newest_first:
        tally.count("messages", "messages, newest first", "read in order of time", len(messages))
    names, num_people = _names(messages)

    def read_one(raw: object, where: str, row: int) -> Message:
        return _read_message(raw, where, row, names=names, keeps_bots=num_people < 2, tally=tally)

    found = read_messages(
        messages,
        read_one,
        data_format="discord",
        at="messages",
        tally=tally,
        is_newest_first=is_newest_first,
    )
    yield from cut_at_pauses(found, pause_hours=pause_hours, tally=tally)


def _read_message(raw: object, at: str, row: int, *, names: dict[str, str], keeps_bots: bool, tally: Tally) -> Message:
    message = object_of(raw, at)
    kind = message.get("type", "Default")
    if not isinstance(kind, str | int):
        raise RowFault(f"{at}.type", f"found {shown(kind)}; expected a string")
    seconds = seconds_of(message.get("timestamp"))
    if str(kind) not in _SPOKEN_TYPES:
        return Message(seconds, Note(row, f"{at}.type", "a notice of Discord", ROW_LEFT_OUT))
    author = object_of(required(message, "author", f"{at}."), f"{at}.author")
    speaker = _speaker(author, f"{at}.author.", names)
    if flag_of(author, "isBot", f"{at}.author.") and not keeps_bots:
        return Message(seconds, Note(row, f"{at}.author", "a message of a bot", ROW_LEFT_OUT))
    field = f"{at}.content"
    text = required_text(message, "content", f"{at}.")
    has_files = any(message.get(key) for key in ("attachments", "stickers", "embeds"))
    if not text.strip():
        what = "a message with files only" if has_files else "an empty message"
        return Message(seconds, Note(row, field, what, ROW_LEFT_OUT))
    if message.get("attachments"):
        tally.count("attachments", "messages with files attached", "only their text is used")
    return Message(seconds, Turn(None, speaker, text, row, field))


def _speaker(author: JsonObject, at: str, names: dict[str, str]) -> str:
    name = optional_text(author, "name", at)
    nickname = optional_text(author, "nickname", at)
    account = author.get("id")
    speaker = names.get(account, nickname or name) if isinstance(account, str) else nickname or name
    if not speaker.strip():
        raise RowFault(f"{at}name", "is empty; expected the name of the author")
    return speaker


def _names(messages: list[Any]) -> tuple[dict[str, str], int]:
    """Return the speaker of each account whose nickname another account has too, and the number of people."""
    accounts: dict[str, JsonObject] = {}
    for message in messages:
        author = message.get("author") if isinstance(message, dict) else None
        if isinstance(author, dict) and isinstance(author.get("id"), str):
            accounts[author["id"]] = author
    by_nickname: dict[str, list[str]] = {}
    for account, author in accounts.items():
        nickname = author.get("nickname")
        if isinstance(nickname, str) and nickname:
            by_nickname.setdefault(nickname, []).append(account)
    shared = [account for same in by_nickname.values() if len(same) > 1 for account in same]
    names = {account: accounts[account].get("name") for account in shared}
    num_people = sum(author.get("isBot") is not True for author in accounts.values())
    return {account: name for account, name in names.items() if isinstance(name, str) and name}, num_people


def _is_newest_first(messages: list[Any]) -> bool:
    times = [seconds_of(message.get("timestamp")) for message in messages if isinstance(message, dict)]
    known = [time for time in times if time is not None]
    return len(known) > 1 and known[0] > known[-1]
