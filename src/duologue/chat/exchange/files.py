"""A file to chats and chats to a file: its format, strict JSON, the content limits, an account of what was left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from duologue.chat.exchange import lists, open_webui, plain_text, sillytavern, text_generation_webui
from duologue.chat.exchange.found import Account, ImportedChat, Names
from duologue.chat.tree import SessionTree
from duologue.data.formats import JsonFault, Row, RowFault, detect_format, object_of, parse_json
from duologue.errors import DataError, GuardError
from duologue.guard import ContentPolicy

ChatFormat = Literal["sillytavern", "open-webui", "text-generation-webui", "risuai", "agnai", "messages", "text"]
FORMATS: tuple[ChatFormat, ...] = get_args(ChatFormat)
MAX_FILE_BYTES = 256 << 20
MAX_MESSAGE_CHARS = 1_000_000
_SCENE = 20  # messages that are looked at together; half of them again with the next ones


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file held.

    Attributes:
        chats: In the order of the file.
        format: Which program wrote it.
        notes: What was noticed and what was done about it, counted, as sentences for people.
    """

    chats: tuple[ImportedChat, ...]
    format: ChatFormat
    notes: tuple[str, ...]


def read_chats(path: Path, names: Names) -> Imported:
    """Return the chats of a file; its format is found by its content.

    Args:
        path: A chat file of SillyTavern, Open WebUI, text-generation-webui, RisuAI or Agnai, rows of training data, or
            a log of lines `Name: text`.
        names: Who is who in a log.

    Raises:
        DataError: The file cannot be read, or has faults; all of them are named, and nothing is returned.
    """
    account = Account(path.name)
    text = _read_text(path)
    head = text.lstrip()[:1]
    if head not in ("{", "["):
        found: ChatFormat = "text"
        chats = _one(lambda: plain_text.read(text, names, account), account, row=1)
    else:
        rows = _rows(text)
        found = _detect(rows, account)
        account.raise_faults()
        chats = _read_rows(rows, found, account)
    account.raise_faults()
    for chat in chats:
        _check(chat.tree, account)
    account.raise_faults()
    if not chats:
        raise DataError("the file holds no chat", where=str(path))
    return Imported(tuple(chats), found, account.sentences())


def write_chats(trees: Sequence[SessionTree], chat_format: ChatFormat, names: Names) -> tuple[str, tuple[str, ...]]:
    """Return chats as the text of a file, and what had to be left out, counted.

    Args:
        trees: Training data take any number of chats, one row each; the other formats hold one.
        chat_format: Which program is to read it.
        names: Who speaks where a message does not name its speaker.
    """
    account = Account("")
    if chat_format == "messages":
        rows = [lists.write_training_row(tree, account) for tree in trees]
        return "".join(f"{row}\n" for row in rows if row), account.sentences()
    [tree] = trees
    writers: dict[ChatFormat, Callable[[], str]] = {
        "sillytavern": lambda: sillytavern.write(tree, names, account),
        "open-webui": lambda: open_webui.write(tree, names),
        "text-generation-webui": lambda: text_generation_webui.write(tree, names, account),
        "risuai": lambda: lists.write_risuai(tree, account),
        "agnai": lambda: lists.write_agnai(tree, names, account),
        "text": lambda: plain_text.write(tree, names, account),
    }
    return writers[chat_format](), account.sentences()


def _read_text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DataError(
                f"the file has {size:,} bytes",
                where=str(path),
                needed=f"at most {MAX_FILE_BYTES:,}",
                action="Export the chat in parts.",
            )
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror})", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte {error.start + 1:,} is not UTF-8", where=str(path), action="Save the file as UTF-8."
        ) from error


def _rows(text: str) -> list[Row]:
    """Return one JSON document as a row, a list of chats as its elements, or JSON lines."""
    try:
        document = parse_json(text)
    except JsonFault as whole:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        rows = [Row(number, _parsed(line)) for number, line in lines]
        if len(rows) == 1 or isinstance(rows[0].value, RowFault):  # no JSON lines: the fault of the whole is the better
            return [Row(1, RowFault("", whole.located(text)))]
        return rows
    if isinstance(document, list):
        return [Row(number, item) for number, item in enumerate(document, start=1)]
    return [Row(1, document)]


def _parsed(line: str) -> object:
    try:
        return parse_json(line)
    except JsonFault as fault:
        return RowFault("", fault.located(line))


def _detect(rows: Sequence[Row], account: Account) -> ChatFormat:
    """Return the format of the first row that can be read; a fault when it is none that holds sessions."""
    for row in rows:
        try:
            if isinstance(row.value, RowFault):
                raise row.value
            found = detect_format(row.value)
        except RowFault as fault:
            account.fault(row.number, fault)
            continue
        if found not in FORMATS:
            account.fault(
                row.number, RowFault("", f"the format {found} can be trained on but not be gone on with here")
            )
            break
        account.faults.clear()  # they are found again with the other rows
        return found
    return "messages"


def _read_rows(rows: Sequence[Row], found: ChatFormat, account: Account) -> list[ImportedChat]:
    if found == "sillytavern":
        return sillytavern.read(rows, account)
    readers = {
        "open-webui": lambda document: [open_webui.read(document, account)],
        "text-generation-webui": lambda document: [text_generation_webui.read(document, account)],
        "risuai": lambda document: lists.read_risuai(document, account),
        "agnai": lambda document: [lists.read_agnai(document, account)],
        "messages": lambda document: [lists.read_training_row(document, account)],
    }
    chats: list[ImportedChat] = []
    for row in rows:
        try:
            if isinstance(row.value, RowFault):
                raise row.value
            chats += readers[found](object_of(row.value, ""))
        except RowFault as fault:
            account.fault(row.number, fault)
    return chats


def _one(read: Callable[[], ImportedChat], account: Account, *, row: int) -> list[ImportedChat]:
    try:
        return [read()]
    except RowFault as fault:
        account.fault(row, fault)
        return []


def _check(tree: SessionTree, account: Account) -> None:
    """Refuse what no setting allows: the hard limits, in scenes of messages that stand together."""
    texts = [entry.message.content for entry in tree.messages]
    for number, text in enumerate(texts, start=1):
        if len(text) > MAX_MESSAGE_CHARS:
            account.fault(number, RowFault("", f"a message of {len(text):,} characters; at most {MAX_MESSAGE_CHARS:,}"))
        if "\0" in text:
            account.fault(number, RowFault("", "contains a NUL character"))
    for start in range(0, len(texts), _SCENE // 2):
        try:
            ContentPolicy("adult").check(texts[start : start + _SCENE], where=account.where)
        except GuardError:
            last = min(start + _SCENE, len(texts))
            reason = f"messages {start + 1} to {last} are refused by the content policy: a limit at every rating"
            account.fault(start + 1, RowFault("", reason))
            return
