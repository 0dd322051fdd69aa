"""What a reader counts while it goes through a file, and the notes about the file that come of it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from duologue.data.found import ROW_DROPPED, DataFormat, Note, RowFault

ROW_LEFT_OUT = "row left out"
"""Action of a row that is no fault of the file and no part of a conversation, such as a sticker in a chat log."""
LEFT_OUT = "left out"
"""Action of a part of a row."""
NOT_USED = "not used"
"""Action of what stands beside the conversation, such as the other versions of a reply."""


@dataclass(slots=True)
class Tally:
    """Counts of one pass over one file.

    Attributes:
        num_rows: Rows so far: used, refused and left out.
        formats: How many of them have each format.
        counts: How often something was noticed that is said once per file, by field, reason and action.
    """

    num_rows: int = 0
    formats: Counter[DataFormat] = field(default_factory=Counter)
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add_rows(self, data_format: DataFormat, num_rows: int = 1) -> None:
        """Count rows of a format."""
        self.num_rows += num_rows
        self.formats[data_format] += num_rows

    def count(self, at: str, reason: str, action: str, times: int = 1) -> None:
        """Count something that is said once per file; the reason must hold nothing of one row."""
        if times:
            self.counts[at, reason, action] += times

    def notes(self) -> Iterator[Note]:
        """Yield what was counted, as notes about the file as a whole."""
        for (at, reason, action), times in self.counts.items():
            yield Note(0, at, f"{reason}: {times}", action)


def refused(row: int, fault: RowFault) -> Note:
    """Return the note of a row that cannot be used."""
    return Note(row, fault.field, fault.reason, ROW_DROPPED)
