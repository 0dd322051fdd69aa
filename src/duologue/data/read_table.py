"""Rows of tables and of plain text: CSV and its relatives, Parquet, lines."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from duologue.data.file_bytes import Refusal
from duologue.data.found import Note, Row, RowFault
from duologue.data.read_json import encoding_fault, nul_fault
from duologue.data.strict_json import JsonFault, parse
from duologue.data.text_stream import MAX_ROW_CHARACTERS, TextStream

# Columns whose cells hold a list or an object as JSON text; any other column may hold text that looks like it.
_JSON_COLUMNS = frozenset({"messages", "conversations", "conversation", "chat", "history", "tools"})
_PARQUET_BATCH_ROWS = 64  # a batch is held as Python objects; conversations have some kilobytes each


def text_rows(stream: TextStream) -> Iterator[Row]:
    """Yield the lines of plain text, blank ones too."""
    for number, (index, line) in enumerate(stream.lines(), start=1):
        if line is None:
            fault: RowFault | None = RowFault("", f"a line longer than {MAX_ROW_CHARACTERS >> 20} Mi characters")
            yield Row(number, fault)
            continue
        fault = _text_fault(stream, index, line)
        yield Row(number, fault or line.removesuffix("\r"))


def table_rows(stream: TextStream, notes: list[Note], *, delimiter: str) -> Iterator[Row]:
    """Yield the records below the header, numbered from 1, as objects with the header's names as keys.

    Raises:
        Refusal: The header cannot be used.
    """
    records = _records(stream, delimiter)
    first = next(records, None)
    assert first, "a table was recognised by its header"
    header = _header(first[1], notes)
    for number, (line, record) in enumerate(records, start=1):
        if isinstance(record, RowFault):
            yield Row(number, record)
        elif len(record) != len(header):
            reason = "more cells" if len(record) > len(header) else "fewer cells"
            reason += f" than the header has: {len(record)} for {len(header)}, in the record of line {line:,}"
            yield Row(number, RowFault("", f"{reason}; quote cells that hold {delimiter!r} or line breaks"))
        else:
            yield Row(number, _object(dict(zip(header, record, strict=True))))


def parquet_rows(path: Path) -> Iterator[Row]:
    """Yield the records of a Parquet file, numbered from 1, a few at a time.

    Raises:
        Refusal: pyarrow is not installed, or the file is damaged.
    """
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError as error:
        raise Refusal("Parquet needs the package pyarrow; install it (pip install pyarrow) or save as JSON") from error
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            header = _header(list(file.schema_arrow.names), [])
            for batch in file.iter_batches(batch_size=_PARQUET_BATCH_ROWS):
                for record in batch.to_pylist():
                    number += 1
                    yield Row(number, _object({name: record[name] for name in header}))
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # ValueError: text that is not UTF-8
        reason = " ".join(str(error).split())[:200]
        raise Refusal(f"the Parquet file is damaged behind row {number:,} ({reason}); export it again") from error


def _object(cells: dict[str, object]) -> object:
    """Return a record with the cells parsed that hold JSON, or why one cannot be."""
    for name in _JSON_COLUMNS & cells.keys():
        cell = cells[name]
        if isinstance(cell, str) and cell.lstrip()[:1] in {"[", "{"}:
            try:
                cells[name] = parse(cell)
            except JsonFault as fault:
                path = f"{name}{'' if fault.path[:1] in {'', '['} else '.'}{fault.path}"
                return RowFault(path, f"the cell is not JSON: {fault.located(cell)}")
    return cells


def _header(names: Sequence[str] | RowFault, notes: list[Note]) -> list[str]:
    if isinstance(names, RowFault):
        raise Refusal(f"the header of the table cannot be read: {names.reason}")
    header = [name.strip() for name in names]
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise Refusal(f"the table has {header.count(twice)} columns with the name {twice[:60]!r}; give each its own")
    if "" in header:
        notes.append(Note(0, "", f"column {header.index('') + 1} of the table has no name", "kept under an empty name"))
    return header


def _records(stream: TextStream, delimiter: str) -> Iterator[tuple[int, list[str] | RowFault]]:
    """Yield each record of a table with the line it begins in: its cells, or why it cannot be used.

    Records are split here and not by `csv`, which has one limit on cells for the whole process, takes text behind a
    closing quote as part of the cell, and cannot tell which record a byte belongs to.
    """
    splitter = _Splitter(delimiter)
    begin = 1
    fault: RowFault | None = None
    for number, (index, line) in enumerate(stream.lines(), start=1):
        if splitter.is_between_records():
            if line is not None and not line.strip("\r"):
                continue
            begin, fault = number, None
        if line is None:
            limit = f"longer than {MAX_ROW_CHARACTERS >> 20} Mi characters"
            yield begin, RowFault("", f"a line {limit}: line {number:,}; export it in parts")
            raise Refusal(f"line {number:,} is {limit}, and behind it nothing tells where the next record begins")
        fault = fault or _text_fault(stream, index, line)
        splitter.add(line)
        if splitter.num_characters > MAX_ROW_CHARACTERS:
            limit = f"longer than {MAX_ROW_CHARACTERS >> 20} Mi characters"
            fault = RowFault("", f"a record {limit}: it begins in line {begin:,}, or a quote in it is not closed")
            splitter.forget()
        if splitter.is_between_records():
            yield begin, fault or splitter.cells(begin)
            splitter.forget()
    if not splitter.is_between_records():
        reason = f"a quote that is never closed: in the record of line {begin:,}; the file ends in its cell"
        yield begin, fault or RowFault("", reason)


class _Splitter:
    """Collects the lines of one record until its quotes are closed (RFC 4180)."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter
        sign = re.escape(delimiter)
        # A quoted cell, a cell that begins with a quote that is not closed, a plain cell; then what comes behind it.
        self._cell = re.compile(rf'(?:"([^"]*(?:""[^"]*)*)"|(")|([^{sign}"][^{sign}]*|))(?:({sign})|$|(.))', re.DOTALL)
        self._lines: list[str] = []
        self._is_open = False
        self.num_characters = 0

    def is_between_records(self) -> bool:
        return not self._is_open

    def forget(self) -> None:
        """Drop the lines, but not whether a quote is open."""
        self._lines = []
        self.num_characters = 0

    def add(self, line: str) -> None:
        """Take in a line and see whether the record goes on in the next."""
        self._lines.append(line)
        self.num_characters += len(line) + 1
        position = 0
        if self._is_open:
            position = _closing_quote(line, 0)
            if position < 0:
                return
        self._is_open = self._ends_open(line, position)

    def cells(self, begin: int) -> list[str] | RowFault:
        """Return the cells of the record."""
        text = "\n".join(self._lines).removesuffix("\r")
        if '"' not in text:
            return text.split(self._delimiter)
        cells: list[str] = []
        position = 0
        while match := self._cell.match(text, position):
            quoted, _, plain, follows, wrong = match.groups()
            if wrong:
                where = f"{wrong!a} in cell {len(cells) + 1} of the record in line {begin:,}"
                return RowFault("", f"text behind a closing quote: {where}; write quotes inside a cell twice")
            cells.append(plain if quoted is None else quoted.replace('""', '"'))
            position = match.end()
            if not follows:
                break
        return cells

    def _ends_open(self, line: str, position: int) -> bool:
        """Return whether a quoted cell is open at the end of a line that is read from a cell's end or beginning on."""
        if '"' not in line[position:]:
            return False
        is_cell_start = position == 0
        while True:
            if is_cell_start and line.startswith('"', position):
                position = _closing_quote(line, position + 1)
                if position < 0:
                    return True
            position = line.find(self._delimiter, position) + 1
            if not position:
                return False
            is_cell_start = True


def _closing_quote(line: str, position: int) -> int:
    """Return the index behind the quote that closes a cell, -1 when the line does not close it."""
    while (position := line.find('"', position)) >= 0:
        if not line.startswith('"', position + 1):
            return position + 1
        position += 2
    return -1


def _text_fault(stream: TextStream, index: int, line: str) -> RowFault | None:
    """Return what is wrong with a line of text: bytes that are no text, or that the file could not be read further."""
    if "\0" in line:
        return nul_fault(stream, index + line.index("\0"), line.count("\0"))
    if stream.refusal and index + len(line) == len(stream.text):
        return RowFault("", f"the line is cut off: {stream.refusal}")
    return encoding_fault(stream, index, line)
