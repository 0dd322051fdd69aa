"""The lines of one scope in RAM, laid out for scoring: postings of stems, neighbours, speakers, times, vectors."""

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from duologue.memory.times import day_number, tells_time
from duologue.memory.words import STEMS, STOPWORDS, plain_words

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
_Number = TypeVar("_Number", np.int64, np.float32, np.float64)


@dataclass(frozen=True, slots=True)
class Line:
    """What scoring needs of a memory.

    Attributes:
        memory_id: Its number.
        session_id: Lines of one session are neighbours.
        position: Order within the session: place of the message, passage.
        speaker: `user` or `assistant`.
        name: The speaker's name; may be empty.
        said_at: ISO-8601 time, or anything else when the time is not known.
        text: Its words.
        is_fact: Facts have no neighbours.
    """

    memory_id: int
    session_id: str
    position: tuple[int, int]
    speaker: str
    name: str
    said_at: str
    text: str
    is_fact: bool = False


class Corpus:
    """The lines of a scope; rows are numbers that count up, a removed line keeps its row until `compact`."""

    def __init__(self, dim: int = 0) -> None:
        """Start empty; `dim` is the length of the vectors, 0 for none."""
        self.dim = dim
        self.row_of: dict[int, int] = {}
        self._lines: list[Line | None] = []
        self._ids = array("q")
        self._lengths = array("f")
        self._previous = array("q")
        self._next = array("q")
        self._speakers = array("q")
        self._days = array("d")
        self._flags = array("q")
        self._sessions = array("q")
        self._session_numbers: dict[str, int] = {}
        self._session_rows: dict[str, list[int]] = {}
        self.names: dict[str, int] = {"": 0}
        self._postings: dict[str, tuple[array[int], array[float]]] = {}
        self._vectors: Floats = np.zeros((0, dim), np.float32)
        self.num_vectors = 0
        self._columns: Columns | None = None
        self._num_lines = 0
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.row_of)

    @property
    def num_rows(self) -> int:
        """Rows in use, those of removed lines included."""
        return len(self._ids)

    def line(self, row: int) -> Line:
        """Return the line of a live row."""
        line = self._lines[row]
        assert line is not None
        return line

    def update(self, lines: Iterable[Line], *, removed: Collection[int] = ()) -> None:
        """Take lines out, then put lines in; a line that is here already takes its new form."""
        touched: set[str] = set()
        for memory_id in removed:
            self._remove(memory_id, touched)
        for line in lines:
            row = self.row_of.get(line.memory_id)
            if row is not None and self._lines[row] == line:  # only its vector, or what does not score, has changed
                continue
            self._remove(line.memory_id, touched)
            self._add(line, touched)
        for session_id in touched:
            self._link(session_id)
        self._columns = None

    def set_vectors(self, ids: Sequence[int], vectors: Floats) -> None:
        """Give lines their vectors, shape (len(ids), dim); ids that are not here are passed over."""
        known = [(self.row_of[memory_id], at) for at, memory_id in enumerate(ids) if memory_id in self.row_of]
        if not known:
            return
        if len(self._vectors) < self.num_rows:
            grown = np.zeros((int(self.num_rows * 1.3) + 64, self.dim), np.float32)
            grown[: len(self._vectors)] = self._vectors
            self._vectors = grown
        rows, places = zip(*known, strict=True)
        self._vectors[list(rows)] = vectors[list(places)]
        self.num_vectors += len(known)
        self._columns = None

    def columns(self) -> "Columns":
        """Return the arrays that scoring reads; made once after a change."""
        if self._columns is None:
            num_rows = self.num_rows
            vectors = None
            if self.dim and self.num_vectors:
                vectors = self._vectors[:num_rows]
                if len(vectors) < num_rows:
                    vectors = np.concatenate([vectors, np.zeros((num_rows - len(vectors), self.dim), np.float32)])
            flags, days = _copy(self._flags, np.int64), _copy(self._days, np.float64)
            self._columns = Columns(
                ids=_copy(self._ids, np.int64),
                is_live=flags >= 0,
                is_fact=(flags & _FACT) > 0,
                is_question=(flags & _QUESTION) > 0,
                has_time=(flags & _TIME) > 0,
                lengths=_copy(self._lengths, np.float32),
                previous=_copy(self._previous, np.int64),
                next=_copy(self._next, np.int64),
                speakers=_copy(self._speakers, np.int64),
                sessions=_copy(self._sessions, np.int64),
                num_sessions=len(self._session_numbers),
                days=days,
                recency=_recency(days, flags >= 0),
                years=_years(days[flags >= 0]),
                vectors=vectors,
            )
        return self._columns

    def posting(self, stem: str) -> tuple[Rows, Floats]:
        """Return the rows in which a stem stands, removed ones included, and how often."""
        found = self._postings.get(stem)
        if found is None:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        return _copy(found[0], np.int64), _copy(found[1], np.float32)

    def set_rarity(self, num_lines: int, counts: Mapping[str, int]) -> None:
        """Say in how many of how many lines stems stand, for a corpus that holds only a part of a scope."""
        self._num_lines, self._counts = num_lines, dict(counts)

    def num_with(self, stem: str, num_here: int, num_lines_here: int) -> tuple[int, int]:
        """Return in how many lines of the scope a stem stands, and how many there are, from the numbers here."""
        if not self._num_lines:
            return num_here, num_lines_here
        return max(num_here, self._counts.get(stem, 0)), max(num_lines_here, self._num_lines)

    def session_number(self, session_id: str) -> int:
        """Return the number of a session in `Columns.sessions`, -1 for one without lines."""
        return self._session_numbers.get(session_id, -1)

    def is_wasteful(self) -> bool:
        """Return whether so many rows belong to removed lines that a new corpus should be made."""
        return self.num_rows > 1000 and len(self) * 4 < self.num_rows * 3

    def _add(self, line: Line, touched: set[str]) -> None:
        row = self.num_rows
        self.row_of[line.memory_id] = row
        self._lines.append(line)
        words = plain_words(line.text)
        telling = [STEMS[word] for word in words if word not in STOPWORDS]
        self._ids.append(line.memory_id)
        self._lengths.append(len(telling))
        self._previous.append(-1)
        self._next.append(-1)
        # who said it: twice the number of the name, plus one for the user's side
        number = self.names.setdefault(line.name.casefold(), len(self.names))
        self._speakers.append(2 * number + (line.speaker == "user"))
        self._sessions.append(self._session_numbers.setdefault(line.session_id, len(self._session_numbers)))
        self._days.append(day_number(line.said_at))
        is_question = line.text.rstrip(" \n\t\"'*)").endswith(("?", "\uff1f"))
        self._flags.append(_FACT * line.is_fact + _QUESTION * is_question + _TIME * tells_time(line.text, words))
        for stem, count in Counter(telling).items():
            posting = self._postings.get(stem)
            if posting is None:
                posting = self._postings[stem] = (array("q"), array("f"))
            posting[0].append(row)
            posting[1].append(count)
        if not line.is_fact:
            self._session_rows.setdefault(line.session_id, []).append(row)
            touched.add(line.session_id)

    def _remove(self, memory_id: int, touched: set[str]) -> None:
        row = self.row_of.pop(memory_id, None)
        if row is None:
            return
        line = self.line(row)
        self._lines[row] = None
        self._flags[row] = -1
        if not line.is_fact:
            self._session_rows[line.session_id].remove(row)
            touched.add(line.session_id)

    def _link(self, session_id: str) -> None:
        rows = self._session_rows[session_id]
        rows.sort(key=lambda row: (self.line(row).position, self._ids[row]))
        for at, row in enumerate(rows):
            self._previous[row] = rows[at - 1] if at else -1
            self._next[row] = rows[at + 1] if at + 1 < len(rows) else -1


@dataclass(frozen=True, slots=True)
class Columns:
    """A corpus as arrays, one number per row; `previous` and `next` are rows, or -1."""

    ids: Rows
    is_live: NDArray[np.bool_]
    is_fact: NDArray[np.bool_]
    is_question: NDArray[np.bool_]
    has_time: NDArray[np.bool_]
    lengths: Floats
    previous: Rows
    next: Rows
    speakers: Rows
    sessions: Rows
    num_sessions: int
    days: NDArray[np.float64]
    recency: Floats
    years: tuple[int, ...]
    vectors: Floats | None


_FACT = 1
_QUESTION = 2
_TIME = 4


def _recency(days: NDArray[np.float64], is_live: NDArray[np.bool_]) -> Floats:
    """Return 1 for the newest line and 0 for the oldest, and 0 where the time is not known."""
    known = days[is_live & ~np.isnan(days)]
    if not len(known) or known.max() == known.min():
        return np.zeros(len(days), np.float32)
    recency: Floats = np.nan_to_num((days - known.min()) / (known.max() - known.min())).clip(0, 1).astype(np.float32)
    return recency


def _years(days: NDArray[np.float64]) -> tuple[int, ...]:
    known = days[~np.isnan(days)]
    if not len(known):
        return ()
    return tuple(range(date.fromordinal(int(known.min())).year, date.fromordinal(int(known.max())).year + 1))


def _copy(values: "array[Any]", kind: type[_Number]) -> NDArray[_Number]:
    return np.frombuffer(values, kind).copy() if len(values) else np.zeros(0, kind)
