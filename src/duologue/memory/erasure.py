"""Forgetting for good: rows, index, vectors and log are erased, then the files are read for what is left."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from duologue.memory.learning import put_mark
from duologue.memory.postgres_index import index_of
from duologue.memory.records import Receipt, StoredLine
from duologue.memory.rows import delete_lines, stored_line
from duologue.memory.words import plain_words
from duologue.store import Database, kept_elsewhere

_MIN_TELLING_LETTERS = 6  # a shorter run of letters stands in compressed or binary data by chance
_MIN_COPIED_CHARS = 16  # a text as short as "yes, please" said twice is not a copy
_MAX_SEARCHED_LINES = 50
_BLOCK_BYTES = 1 << 24
_LONG_WORD = re.compile(rf"[^\W\d_]{{{_MIN_TELLING_LETTERS},}}")
_LONG_RUN = re.compile(rb"[A-Za-z\x80-\xff]{%d,}" % _MIN_TELLING_LETTERS)


def with_kin(database: Database, lines: Sequence[StoredLine]) -> tuple[StoredLine, ...]:
    """Return lines with what says the same: facts of a turn, the passages of a fact, copies in other branches."""
    kin: dict[int, StoredLine] = {line.memory_id: line for line in lines}
    for line in lines:
        rows = database.read(
            """
            SELECT * FROM memories WHERE user = ? AND character = ? AND (
                (session_id = ? AND message_id = ? AND revision = ? AND kind <> ?) OR original = ? OR text = ?)
            """,
            (
                line.scope.user,
                line.scope.character,
                line.session_id,
                line.message_id,
                line.revision,
                line.kind,
                line.original,
                line.text,
            ),
        )
        for row in rows:
            other = stored_line(row)
            if _says_the_same(line, other):
                kin[other.memory_id] = other
    if len(kin) > len(lines):  # a copy has facts and passages of its own
        return with_kin(database, tuple(kin.values()))
    return tuple(kin.values())


def erase(database: Database, lines: Sequence[StoredLine], *, is_remembered_as_forgotten: bool) -> None:
    """Delete lines, what the person wrote about them, and every byte of both.

    Args:
        database: Where they are.
        lines: What goes.
        is_remembered_as_forgotten: Keep, without any content, that these parts of their messages are not to be learned.
    """
    with database.write() as cursor:
        delete_lines(cursor, lines)
        for line in lines:
            if is_remembered_as_forgotten:
                put_mark(cursor, line, is_forgotten=1, is_pinned=0, is_private=0, text=None)
        if database.dialect == "sqlite":
            # Until it is optimized, the index keeps deleted words. FTS5's own 'secure-delete' (SQLite 3.42) would make
            # a file that older versions cannot open.
            cursor.execute("INSERT INTO memory_words (memory_words) VALUES ('optimize')")
    database.purge()  # also when nothing was deleted now: an earlier purge may have failed


def prove(database: Database, lines: Sequence[StoredLine], *, hosted: str) -> Receipt:
    """Look for what was erased, in the files and by search, and store the receipt."""
    receipt = Receipt(
        receipt_id=0,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        num_lines=sum(line.kind == "turn" for line in lines),
        num_facts=sum(line.kind == "fact" for line in lines),
        hosted=hosted,
        ids=tuple(sorted(line.memory_id for line in lines)),
        notes=tuple(note for note in (kept_elsewhere(database.dialect),) if note),
    )
    if database.dialect == "sqlite":
        receipt = _with_scan(receipt, database, lines)
    else:  # its files are the server's; the search is the proof
        receipt = replace(receipt, num_found=_num_found(database, lines))
    content = json.dumps({key: value for key, value in asdict(receipt).items() if key not in ("receipt_id", "at")})
    with database.write() as cursor:
        row = cursor.execute(
            "INSERT INTO receipts (at, content) VALUES (?, ?) RETURNING id", (receipt.at, content)
        ).fetchone()
    return replace(receipt, receipt_id=int(row["id"]))


def receipts(database: Database) -> tuple[Receipt, ...]:
    """Return the stored receipts, newest first."""
    known = {field.name for field in fields(Receipt)}
    found = []
    for row in database.read("SELECT * FROM receipts ORDER BY id DESC"):
        content = {key: value for key, value in json.loads(row["content"]).items() if key in known}
        for key in ("notes", "ids"):
            content[key] = tuple(content.get(key, ()))
        found.append(Receipt(receipt_id=row["id"], at=row["at"], **content))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Scan:
    """What reading files byte by byte has found.

    Attributes:
        num_files: Files that were read.
        num_bytes: Their size together.
        found: What was looked for and is there, in lower case.
    """

    num_files: int
    num_bytes: int
    found: frozenset[str]


def scan_files(files: Iterable[Path], probes: Iterable[str]) -> Scan:
    """Read files for words, in any case, as UTF-8.

    Args:
        files: What to read; those that vanish meanwhile are passed over.
        probes: Words of at least six letters.
    """
    wanted = {probe.lower() for probe in probes}
    found: set[str] = set()
    num_files = num_bytes = 0
    for file in files:
        try:
            with file.open("rb") as stream:
                num_files += 1
                for block in _blocks(stream.read):
                    num_bytes += len(block)
                    found |= _words_in(block, wanted - found)
        except FileNotFoundError:
            continue
    return Scan(num_files, num_bytes, frozenset(found))


def telling_words(texts: Iterable[str]) -> set[str]:
    """Return the words of at least six letters in texts, in lower case."""
    return {word.lower() for text in texts for word in _LONG_WORD.findall(text)}


def files_of(path: Path) -> tuple[Path, ...]:
    """Return a database file and all that was made of it: logs, journals, backups, damaged files put aside."""
    folders = (path.parent, path.parent / "backups")
    return tuple(sorted(file for folder in folders for file in folder.glob(f"{path.stem}*") if file.is_file()))


def _with_scan(receipt: Receipt, database: Database, lines: Sequence[StoredLine]) -> Receipt:
    gone = [text for line in lines for text in (line.text, line.original, line.value)]
    scan = scan_files(files_of(Path(database.name)), telling_words(gone))
    traces = set(scan.found)
    if traces:  # a word that other lines say as well is no trace of these
        living = {word.casefold() for word in telling_words(_living_texts(database))}
        traces = {word for word in traces if word.casefold() not in living}
    notes = receipt.notes
    if not telling_words(gone) and gone:
        notes = (*notes, "No word of it is long enough to be told from other bytes; the search is the proof.")
    return replace(
        receipt,
        num_files=scan.num_files,
        num_bytes=scan.num_bytes,
        num_traces=len(traces),
        num_found=_num_found(database, lines),
        notes=notes,
    )


def _num_found(database: Database, lines: Sequence[StoredLine]) -> int:
    """Return how many of the forgotten lines a search still finds; of many lines, the longest are tried."""
    index = index_of(database)
    longest = sorted(lines, key=lambda line: -len(line.text))[:_MAX_SEARCHED_LINES]
    num_found = 0
    for line in longest:
        hits = index.words(plain_words(line.text), scope=line.scope, limit=100)
        num_found += sum(memory_id == line.memory_id for memory_id, _ in hits)
    return num_found


def _living_texts(database: Database) -> Iterator[str]:
    for table, columns in (
        ("memories", "text, original, value, name, slot, user, character, session_id"),
        ("marks", "text, user, character, session_id"),
        ("embedders", "name"),
        ("sqlite_master", "name, sql"),
    ):
        for row in database.read(f"SELECT {columns} FROM {table}"):  # noqa: S608  (fixed texts)
            yield from (row[column] for column in columns.split(", ") if row[column])
    yield from (row["content"] for row in database.read("SELECT content FROM receipts"))


def _says_the_same(line: StoredLine, other: StoredLine) -> bool:
    if other.session_id == line.session_id and other.message_id == line.message_id and other.kind != line.kind:
        turn, fact = (line, other) if line.kind == "turn" else (other, line)
        return _plain(fact.original) in _plain(turn.original)
    return len(line.original) >= _MIN_COPIED_CHARS and line.original == other.original


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".!")


def _blocks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield a file in blocks that overlap, so that no word is cut in all of them."""
    tail = b""
    while block := read(_BLOCK_BYTES):
        yield tail + block
        tail = block[-256:]


def _words_in(block: bytes, wanted: set[str]) -> set[str]:
    if not wanted:
        return set()
    if len(wanted) > 24:
        runs = {run.decode("utf-8", errors="ignore").casefold() for run in _LONG_RUN.findall(block)}
        return {word for word in wanted if word.casefold() in runs}
    # The usual: one line. Bytes have a lower case for ASCII alone, and that is ten times as quick.
    if all(word.isascii() for word in wanted):
        lowered = block.lower()
        return {word for word in wanted if word.encode() in lowered}
    text = block.decode("utf-8", errors="ignore").casefold()
    return {word for word in wanted if word.casefold() in text}
