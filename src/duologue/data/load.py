"""Files to splits: read, normalise, screen, drop duplicates, split by conversation."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from duologue.config import Config
from duologue.data.account import ROW_DROPPED, Account, Fault, FileAccount
from duologue.data.rows import DataFormat, RowFault, parse_row, strict_json
from duologue.errors import DataError, GuardError
from duologue.guard import ContentPolicy
from duologue.messages import Conversation, Message


@dataclass(frozen=True, slots=True)
class Splits:
    """Conversations for training and for measuring. No conversation is in both."""

    train: tuple[Conversation, ...]
    validation: tuple[Conversation, ...]
    account: Account


def load_splits(config: Config, folder: Path) -> Splits:
    """Return the splits of a character's folder.

    The split depends on the seed and on each conversation's own text, so adding rows moves no other row.

    Raises:
        DataError: A file is missing or unreadable, a row has a fault while `data.skip_faulty_rows` is false, or no
            conversation is left.
    """
    paths = resolve_files(config.data.train, folder)
    wanted = None if config.data.format == "auto" else config.data.format
    conversations, account = load_files(paths, row_format=wanted, policy=ContentPolicy(config.guard.rating))
    if account.num_dropped and not config.data.skip_faulty_rows:
        listed = "\n".join(f"  {fault}" for fault in account.faults if fault.is_dropped)
        raise DataError(
            f"{account.num_dropped} rows have faults:\n{listed}",
            action="Mend them, or set data.skip_faulty_rows=true to drop and count them.",
        )
    if not conversations:
        raise DataError(
            f"no usable conversation in {len(paths)} files",
            where=", ".join(map(str, paths)),
            needed="at least one conversation with a user message and a reply",
            action="Run: duologue data check FILE",
        )
    ranked = sorted(conversations, key=lambda c: _digest(c, seed=config.run.seed))
    share = config.data.validation_fraction
    limit = int(share * 2**64)
    held_out = {c.source for c in ranked if int(_digest(c, seed=config.run.seed)[:16], 16) < limit}
    if share > 0 and not held_out and len(ranked) > 1:
        held_out = {ranked[0].source}
    if len(held_out) == len(ranked):
        held_out.discard(ranked[-1].source)
    return Splits(
        train=tuple(c for c in conversations if c.source not in held_out),
        validation=tuple(c for c in conversations if c.source in held_out),
        account=account,
    )


def resolve_files(patterns: Iterable[str], folder: Path) -> tuple[Path, ...]:
    """Return the files that `data.train` names, glob patterns expanded, sorted within a pattern.

    Raises:
        DataError: A pattern matches nothing.
    """
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern)
        base, relative = (Path(path.anchor), str(path.relative_to(path.anchor))) if path.anchor else (folder, pattern)
        is_glob = any(sign in pattern for sign in "*?[")
        matches = sorted(base.glob(relative)) if is_glob else [base / relative]
        matches = [match for match in matches if match.is_file()] if is_glob else matches
        if not matches:
            raise DataError(
                f"no file matches '{pattern}'", where=str(folder), action="Put your conversations there or name them."
            )
        found += [match for match in matches if match not in found]
    return tuple(found)


def load_files(
    paths: Sequence[Path], *, row_format: DataFormat | None = None, policy: ContentPolicy
) -> tuple[tuple[Conversation, ...], Account]:
    """Return the usable conversations of several files and the account of every row.

    Raises:
        DataError: A file is missing, unreadable or not JSON at all.
    """
    seen: set[str] = set()
    conversations: list[Conversation] = []
    files: list[FileAccount] = []
    num_duplicates = 0
    for path in paths:
        raw = _read(path)
        faults: list[Fault] = []
        formats: set[str] = set()
        num_rows = num_loaded = 0
        for row_number, row in _rows(raw, path):
            num_rows += 1
            try:
                found_format, messages = _usable(row, row_format)
                formats.add(found_format)
                conversation, notes = _normalise(messages, source=f"{path}:{row_number}")
                digest = _digest(conversation, seed=0)
                if digest in seen:
                    num_duplicates += 1
                    raise RowFault("", "an equal conversation came before")
                _screen(conversation, policy)
            except RowFault as fault:
                faults.append(Fault(str(path), row_number, fault.field, fault.reason, ROW_DROPPED))
                continue
            seen.add(digest)
            num_loaded += 1
            conversations.append(conversation)
            faults += [Fault(str(path), row_number, "", reason, action) for reason, action in notes]
        if not num_rows:
            raise DataError("the file has no rows", where=str(path), needed="a JSON list or JSON lines")
        sha256 = hashlib.sha256(raw).hexdigest()
        named = " + ".join(sorted(formats)) or "unknown"
        files.append(FileAccount(str(path), named, sha256, num_rows, num_loaded, num_rows - num_loaded, tuple(faults)))
    num_turns = sum(c.num_turns for c in conversations)
    return tuple(conversations), Account(tuple(files), len(conversations), num_turns, num_duplicates)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror})", where=str(path)) from error


def _rows(raw: bytes, path: Path) -> Iterator[tuple[int, object]]:
    """Yield rows with their numbers; a line that is not JSON is yielded as its fault."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line_number = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"line {line_number} is not UTF-8 (byte {error.start})", where=str(path), action="Save the file as UTF-8."
        ) from error
    is_array = text.lstrip()[:1] == "["
    if is_array:
        try:
            document = strict_json(text)
        except ValueError as error:
            raise DataError(f"this is not JSON: {error}", where=str(path)) from error
        yield from enumerate(document, start=1)
        return
    if _is_one_object(text):
        yield 1, strict_json(text)
        return
    for row_number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield row_number, strict_json(line)
            except ValueError as error:
                yield row_number, RowFault("", f"this line is not JSON: {error}")


def _is_one_object(text: str) -> bool:
    try:
        return isinstance(strict_json(text), dict)
    except ValueError:
        return False


def _usable(row: object, row_format: DataFormat | None) -> tuple[DataFormat, list[Message]]:
    if isinstance(row, RowFault):
        raise row
    return parse_row(row, row_format)


def _normalise(messages: list[Message], *, source: str) -> tuple[Conversation, list[tuple[str, str]]]:
    """Return a conversation whose roles alternate after an optional system message, and what was changed."""
    for index, message in enumerate(messages):
        if not message.content.strip():
            raise RowFault(f"messages[{index}].content", f"the {message.role} message is empty")
    notes: list[tuple[str, str]] = []
    system = [m.content.strip() for m in messages if m.role == "system"]
    first_spoken = next((i for i, m in enumerate(messages) if m.role != "system"), len(messages))
    if any(m.role == "system" for m in messages[first_spoken:]):
        notes.append(("a system message in the middle", "moved to the front"))
    spoken: list[Message] = []
    for message in (Message(m.role, m.content.strip()) for m in messages if m.role != "system"):
        if spoken and spoken[-1].role == message.role:
            spoken[-1] = Message(message.role, f"{spoken[-1].content}\n{message.content}")
            notes.append((f"two {message.role} messages in a row", "merged"))
        else:
            spoken.append(message)
    if not any(m.role == "assistant" for m in spoken):
        raise RowFault("", "there is no assistant message to learn from")
    if spoken[-1].role == "user":
        notes.append(("the last user message has no reply", "left out"))
        spoken.pop()
    head = [Message("system", "\n".join(system))] if system else []
    return Conversation((*head, *spoken), source), notes


def _screen(conversation: Conversation, policy: ContentPolicy) -> None:
    try:
        policy.check([m.content for m in conversation.messages], where=conversation.source)
    except GuardError as error:
        raise RowFault("", f"refused by the content policy ({error.reason})") from error


def _digest(conversation: Conversation, *, seed: int) -> str:
    text = "\x1e".join(f"{m.role}\x1f{m.content}" for m in conversation.messages)
    return hashlib.sha256(f"{seed}\x1e{text}".encode()).hexdigest()
