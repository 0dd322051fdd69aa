"""What holds the rows of a file: told by its content, never by its name."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from duologue.data.file_bytes import Refusal
from duologue.data.strict_json import JsonFault, parse, parse_at, skip_space

Container = Literal["json", "json-lines", "csv", "parquet", "text"]
Layout = Literal["array", "values", "lines", "table", "parquet", "text"]


@dataclass(frozen=True, slots=True)
class Contents:
    """How rows are laid out in a file.

    Attributes:
        layout: The reader to use: the elements of an array, JSON values one after another, lines, a table.
        title: The name for people.
        delimiter: Between the columns of a table.
    """

    layout: Layout
    title: str
    delimiter: str = ""

    @property
    def container(self) -> Container:
        """The container as the formats know it."""
        names: dict[Layout, Container] = {"array": "json", "values": "json", "lines": "json-lines", "table": "csv"}
        return names.get(self.layout) or ("parquet" if self.layout == "parquet" else "text")


PARQUET = Contents("parquet", "Parquet")
_ARRAY = Contents("array", "a JSON array")
_VALUES = Contents("values", "JSON")
_LINES = Contents("lines", "JSON lines")
_TEXT = Contents("text", "plain text")


def refuse_known_binary(head: bytes) -> None:
    """Refuse a file that is recognised as something that holds no conversations as it is.

    Raises:
        Refusal: With its name and what to do.
    """
    for magic, offset, name, action in _MAGICS:
        if head.startswith(magic, offset):
            inside = [f"{what}; {do}" for sign, what, do in _ZIPPED if magic == _ZIP and sign in head[:4096]]
            raise Refusal(f"this is {inside[0] if inside else f'{name}; {action}'}")
    if head and not head.strip(b"\0"):
        raise Refusal("the file begins with zero bytes only, as after a crash or a full disk; copy or export it again")


def detect_contents(head: str, *, is_whole: bool, name: PurePath) -> Contents:
    """Return how the rows are laid out.

    Args:
        head: The beginning of the text, without a byte order mark.
        is_whole: Whether `head` is the whole text.
        name: The file's name; its ending decides only between a table, text and broken JSON.

    Raises:
        Refusal: There is nothing in it, or nothing that can be rows.
    """
    start = skip_space(head, 0)
    if not head[start:].strip():
        raise Refusal("the file holds white space only; put conversations into it" if head else _EMPTY)
    lines = [line.rstrip() for line in head.split("\n", 201)[: None if is_whole else -1]]
    lines = [line for line in lines if line][:200] or [head]
    if _CHAT_LINE.match(head, start):
        return _TEXT
    if head[start] == "[":
        return _LINES if _are_arrays(lines[:2]) else _ARRAY
    if head[start] == "{":
        return _objects(head, lines, is_whole=is_whole, suffix=suffix_of(name))
    if sum(map(_is_row_like, lines)) * 2 >= len(lines):
        return _LINES  # the first line is broken
    _refuse_scalar(head, is_whole=is_whole)
    return _table_or_text(head, lines, suffix_of(name))


def suffix_of(name: PurePath) -> str:
    """Return the ending of a name in small letters, `.gz` taken away."""
    return PurePath(name.name.lower().removesuffix(".gz")).suffix


def wrong_ending(contents: Contents, name: PurePath) -> str:
    """Return which other content the ending of a name promises; nothing when it promises this or none."""
    suffix = suffix_of(name)
    promised: dict[str, tuple[str, ...]] = {
        ".json": ("array", "values"),
        ".jsonl": ("lines",),
        ".ndjson": ("lines",),
        ".csv": ("table",),
        ".tsv": ("table",),
        ".parquet": ("parquet",),
        ".txt": ("text",),
    }
    return suffix if contents.layout not in promised.get(suffix, (contents.layout,)) else ""


_EMPTY = "the file is empty; put conversations into it"
_ZIP = b"PK\x03\x04"
_CONVERT = "export the conversations as JSON, JSON lines or text"
_UNPACK = "unpack it and name the files inside"
_MAGICS = (
    (_ZIP, 0, "a zip archive", _UNPACK),
    (b"PK\x05\x06", 0, "an empty zip archive", _UNPACK),
    (b"\x1f\x8b", 0, "a gzip inside a gzip", _UNPACK),
    (b"\x28\xb5\x2f\xfd", 0, "a zstd archive", "unpack it (zstd -d) and name the result"),
    (b"\xfd7zXZ\x00", 0, "an xz archive", "unpack it (unxz) and name the result"),
    (b"BZh", 0, "a bzip2 archive", "unpack it (bunzip2) and name the result"),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7-Zip archive", _UNPACK),
    (b"Rar!\x1a\x07", 0, "a RAR archive", _UNPACK),
    (b"\x04\x22\x4d\x18", 0, "an LZ4 archive", "unpack it (lz4 -d) and name the result"),
    (b"ustar", 257, "a tar archive", _UNPACK),
    (b"%PDF-", 0, "a PDF", _CONVERT),
    (b"{\\rtf", 0, "an RTF document", _CONVERT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0, "an old Office document", _CONVERT),
    (b"\x89PNG\r\n\x1a\n", 0, "a PNG picture", "a character card belongs into the character's folder, not into data"),
    (b"\xff\xd8\xff", 0, "a JPEG picture", _CONVERT),
    (b"GIF8", 0, "a GIF picture", _CONVERT),
    (b"RIFF", 0, "a picture or sound (RIFF)", _CONVERT),
    (b"ID3", 0, "an MP3 sound", _CONVERT),
    (b"OggS", 0, "an Ogg sound", _CONVERT),
    (b"ftyp", 4, "a video", _CONVERT),
    (b"SQLite format 3\x00", 0, "an SQLite database", "export its conversations as JSON or JSON lines"),
    (b"ARROW1", 0, "an Arrow file", "save the table as Parquet"),
    (b"Obj\x01", 0, "an Avro file", "save the table as Parquet"),
    (b"\x93NUMPY", 0, "a NumPy array", _CONVERT),
    (b"GGUF", 0, "a model in GGUF", "name it as model.base, not as data"),
    (b"\x7fELF", 0, "a program", _CONVERT),
    (b"\x80\x04\x95", 0, "a Python pickle, which could run code when it is opened", _CONVERT),
    (b"\x80\x05\x95", 0, "a Python pickle, which could run code when it is opened", _CONVERT),
)
_ZIPPED = (
    (b"word/", "a Word document", _CONVERT),
    (b"xl/", "an Excel sheet", "save it as CSV"),
    (b"card.json", "a CharX character card", "a character card belongs into the character's folder, not into data"),
)
# The column names of the formats: what a table without the ending .csv is known by.
_COLUMNS = frozenset(
    {"messages", "conversations", "conversation", "instruction", "input", "output", "response", "prompt", "completion"}
    | {"system", "role", "content", "from", "value", "text", "user", "assistant", "human", "question", "answer"}
)
_LINE_SUFFIXES = frozenset({".jsonl", ".ndjson"})
_DELIMITERS = (",", "\t", ";")
# "31/12/2025, 22:15 - ", "[31.12.25, 22:15:01] ", with the invisible mark that phones put before it
_CHAT_LINE = re.compile("[\u200e\u200f\u202a]*\\[?\\d{1,4}[./-]\\d{1,2}[./-]\\d{1,4},?[ \u00a0\u202f]")
_MARKUP = re.compile(r"<(?:!doctype|html|\?xml|head|body)\b", re.IGNORECASE)


def _objects(head: str, lines: list[str], *, is_whole: bool, suffix: str) -> Contents:
    """Tell JSON lines from objects that stand one after another over several lines."""
    start = skip_space(head, 0)
    try:
        _, end = parse_at(head, start)
    except JsonFault as fault:
        if len(lines) == 1 and is_whole and suffix in _LINE_SUFFIXES:
            return _LINES
        # Larger than the head, or broken: the first line if the others look like rows, else the only object there is.
        is_large = fault.is_cut and not is_whole
        num_row_like = sum(map(_is_row_like, lines))
        return _LINES if len(lines) > 1 and num_row_like * 2 >= len(lines) and not is_large else _VALUES
    if "\n" in head[start:end]:
        return _VALUES
    follows = skip_space(head, end)
    if follows == len(head) and is_whole:
        return _LINES if suffix in _LINE_SUFFIXES else _VALUES
    is_same_line = "\n" not in head[end:follows]
    return _VALUES if is_same_line and head[follows : follows + 1] == "{" else _LINES


def _is_row_like(line: str) -> bool:
    return line.startswith("{") and line.endswith(("}", "},"))


def _are_arrays(lines: Iterable[str]) -> bool:
    """Return whether there are two lines and each is a JSON array of its own."""
    num_arrays = 0
    for line in lines:
        try:
            num_arrays += isinstance(parse(line), list)
        except JsonFault:
            return False
    return num_arrays > 1


def _refuse_scalar(head: str, *, is_whole: bool) -> None:
    if not is_whole:
        return
    try:
        value = parse(head)
    except JsonFault:
        return
    kind = "null" if value is None else "a boolean" if isinstance(value, bool) else "a number"
    kind = "a string" if isinstance(value, str) else kind
    raise Refusal(f"the file is one JSON value, {kind}; expected a list of conversations, or one object")


def _table_or_text(head: str, lines: list[str], suffix: str) -> Contents:
    if _MARKUP.match(head.lstrip()):
        raise Refusal("this is a web page or XML; export the conversations as JSON, JSON lines or text")
    delimiter = max(_DELIMITERS, key=lambda sign: (len(_cells(lines[0], sign)), -_DELIMITERS.index(sign)))
    names = {cell.lower() for cell in _cells(lines[0], delimiter)}
    if suffix in {".csv", ".tsv"} or (names & _COLUMNS and len(names) > 1):
        title = {",": "CSV", "\t": "TSV"}.get(delimiter, "CSV with semicolons")
        return Contents("table", title, delimiter)
    if suffix in {".json", ".jsonl", ".ndjson"}:
        start = skip_space(head, 0)
        raise Refusal(
            f"this is not JSON: it begins with {head[start : start + 12]!a}, expected '[' or '{{'; "
            "export the conversations again, or give the file the ending of what it is"
        )
    if sum(not (sign.isprintable() or sign.isspace()) for sign in head[:4096]) * 10 > min(len(head), 4096):
        raise Refusal("this is binary data, or text that is not UTF-8; export the conversations as JSON in UTF-8")
    return _TEXT


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in re.sub(r'"[^"]*"', _no_delimiters, line).split(delimiter)]


def _no_delimiters(match: re.Match[str]) -> str:
    return re.sub(r"[,;\t]", " ", match[0])
