"""What the tests of reading share: a file written and read in one go."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from duologue.data.found import FILE_REFUSED, Note, Row, RowFault
from duologue.data.read import OpenedFile, open_rows


@dataclass(frozen=True)
class WasRead:
    """A file after the pass."""

    file: OpenedFile
    rows: list[Row]

    @property
    def values(self) -> dict[int, object]:
        """The rows that could be parsed, by number."""
        return {row.number: row.value for row in self.rows if not isinstance(row.value, RowFault)}

    @property
    def faults(self) -> dict[int, RowFault]:
        """The rows that could not, by number."""
        return {row.number: row.value for row in self.rows if isinstance(row.value, RowFault)}

    @property
    def notes(self) -> list[Note]:
        """What was noticed without refusing the file."""
        return [note for note in self.file.notes if note.action != FILE_REFUSED]

    @property
    def refusal(self) -> str:
        """Why the file, or the rest of it, was refused."""
        return "; ".join(note.reason for note in self.file.notes if note.action == FILE_REFUSED)


def read(path: Path) -> WasRead:
    """Read all rows of a file."""
    file = open_rows(path)
    return WasRead(file, list(file.rows()))


def read_content(folder: Path, content: str | bytes, name: str = "x.json") -> WasRead:
    """Write a file and read it."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(path)


def written_and_read(content: bytes) -> dict[int, object]:
    """Write bytes to a file, check that reading finds no fault in it, and return the rows' values by number."""
    with TemporaryDirectory() as folder:
        found = read_content(Path(folder), content)
    assert not found.faults and not found.refusal
    return found.values
