"""The account of the data: what was found in each file, what happened to each row, how many tokens train."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, overload

from duologue.data.found import DUPLICATE_DROPPED, FILE_REFUSED, ROW_DROPPED, Note
from duologue.data.store import lengths_of, num_trained_tokens_of
from duologue.engine import Example


@dataclass(frozen=True, slots=True)
class Fault:
    """Something noticed in one row and what was done about it.

    Attributes:
        path: The file.
        row: Counted from 1: a line of a JSONL file, an element of an array; 0 for the file as a whole.
        field: Path inside the row, such as `messages[2].content`.
        reason: What was found.
        action: What was done: `row dropped`, `merged`, `left out`, ...
    """

    path: str
    row: int
    field: str
    reason: str
    action: str

    @property
    def is_refused(self) -> bool:
        """Whether the row or the whole file could not be used: this is a fault of the file."""
        return self.action in (FILE_REFUSED, ROW_DROPPED)

    @property
    def is_dropped(self) -> bool:
        """Whether the row is not used, for a fault or because it is a duplicate."""
        return self.is_refused or self.action == DUPLICATE_DROPPED

    def __str__(self) -> str:
        """Return `file:row: field: reason (action)`."""
        place = f"{self.path}:{self.row}" if self.row else self.path
        return f"{place}: {self.field + ': ' if self.field else ''}{self.reason} ({self.action})"


class FaultList(Sequence[Fault]):
    """The faults of one file in 20 bytes each: a large file can have one in every row."""

    def __init__(self, path: str, notes: Iterable[Note] = ()) -> None:
        """Begin with the notes given."""
        self._path = path
        self._texts: list[str] = []
        self._places: dict[str, int] = {}
        self._rows = array("Q")
        self._words = array("I")  # three per fault: field, reason, action, as places in _texts
        for note in notes:
            self.append(note)

    def append(self, note: Note) -> None:
        """Add what was noticed."""
        self._rows.append(note.row)
        self._words.extend((self._place(note.field), self._place(note.reason), self._place(note.action)))

    def sort(self) -> None:
        """Bring the faults into the order of the rows; those of the whole file come first."""
        order = sorted(range(len(self._rows)), key=self._rows.__getitem__)
        words = self._words
        self._rows = array("Q", (self._rows[at] for at in order))
        self._words = array("I", (word for at in order for word in words[3 * at : 3 * at + 3]))

    def reasons(self) -> Counter[tuple[str, str]]:
        """Return how often each (reason, action) occurs."""
        counts = Counter(zip(self._words[1::3], self._words[2::3], strict=True))
        return Counter({(self._texts[why], self._texts[what]): count for (why, what), count in counts.items()})

    @overload
    def __getitem__(self, at: int) -> Fault: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Fault]: ...
    def __getitem__(self, at: int | slice) -> Fault | Sequence[Fault]:
        if isinstance(at, slice):
            return tuple(self[place] for place in range(*at.indices(len(self))))
        row = self._rows[at]
        at %= len(self._rows)
        where, why, what = (self._texts[word] for word in self._words[3 * at : 3 * at + 3])
        return Fault(self._path, row, where, why, what)

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(Fault.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def _place(self, text: str) -> int:
        place = self._places.setdefault(text, len(self._texts))
        if place == len(self._texts):
            self._texts.append(text)
        return place


@dataclass(frozen=True, slots=True)
class FileAccount:
    """One file: its format, its rows, and the faults in it.

    Attributes:
        path: The file.
        format: The formats its rows have, joined by ` + `; `unknown` when no row could be read.
        sha256: Digest of its bytes.
        num_rows: Rows found in it.
        num_loaded: Rows that are part of a conversation that is used.
        num_dropped: All other rows.
        faults: What was noticed, in the order of the rows.
        dropped: Rows that are not used, by reason; adds up to `num_dropped`.
        weight: How often its conversations are seen per epoch.
    """

    path: str
    format: str
    sha256: str
    num_rows: int
    num_loaded: int
    num_dropped: int
    faults: Sequence[Fault]
    dropped: Mapping[str, int] = field(default_factory=dict)
    weight: float = 1.0

    def as_json(self) -> dict[str, Any]:
        """Return the file's part of the account."""
        return {
            "path": self.path,
            "format": self.format,
            "sha256": self.sha256,
            "num_rows": self.num_rows,
            "num_loaded": self.num_loaded,
            "num_dropped": self.num_dropped,
            "dropped": dict(self.dropped),
            "weight": self.weight,
            "faults": [_fault_json(fault) for fault in self.faults],
        }


@dataclass(frozen=True, slots=True)
class DuplicateCounts:
    """Conversations that occur more than once.

    Attributes:
        exact: Conversations dropped because an equal one came before.
        near: Conversations that are almost another one; dropped or kept as `data.near_duplicates` says.
        groups: Groups of conversations that are almost equal; a group is never in two splits.
    """

    exact: int = 0
    near: int = 0
    groups: int = 0


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """How many conversations each split has.

    Attributes:
        train: Conversations to learn from.
        validation: Conversations held out.
        train_per_epoch: Conversations seen in one epoch, after the weights of the files.
    """

    train: int = 0
    validation: int = 0
    train_per_epoch: int = 0


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of both splits together; every token is trained, context or padding.

    Attributes:
        trained: Targets.
        context: Tokens that are read but are no target.
        padding: Tokens that only fill up.
        are_estimated: Counted from text lengths, because the tokenizer could not be opened.
        tokenizer: Whose tokens; the name of the base model.
    """

    trained: int = 0
    context: int = 0
    padding: int = 0
    are_estimated: bool = False
    tokenizer: str = ""

    @property
    def total(self) -> int:
        """All tokens."""
        return self.trained + self.context + self.padding


@dataclass(frozen=True, slots=True)
class Account:
    """All files together.

    Attributes:
        files: One entry per file, in the order they were read.
        num_conversations: Conversations kept.
        num_turns: Assistant messages in them.
        num_duplicates: Conversations dropped as duplicates; their rows are also counted as dropped.
        duplicates: Exact and near duplicates.
        personal_data: How many of each kind were found, such as `email`.
        splits: Sizes of the splits.
        tokens: Token counts; None until the data is tokenized.
    """

    files: tuple[FileAccount, ...]
    num_conversations: int
    num_turns: int
    num_duplicates: int
    duplicates: DuplicateCounts = DuplicateCounts()
    personal_data: Mapping[str, int] = field(default_factory=dict)
    splits: SplitCounts = SplitCounts()
    tokens: TokenCounts | None = None

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults of all files, all in memory; `iter_faults` gives one after the other."""
        return tuple(self.iter_faults())

    def iter_faults(self) -> Iterator[Fault]:
        """Yield the faults of all files."""
        return (fault for file in self.files for fault in file.faults)

    @property
    def num_faults(self) -> int:
        """How many faults there are."""
        return sum(len(file.faults) for file in self.files)

    @property
    def num_dropped(self) -> int:
        """Rows that are not used."""
        return sum(file.num_dropped for file in self.files)

    @property
    def num_refused(self) -> int:
        """Faults for which a row or a file was refused; duplicates are none."""
        return sum(
            count
            for file in self.files
            for (_, action), count in reasons_of(file.faults).items()
            if action in (FILE_REFUSED, ROW_DROPPED)
        )

    def reasons(self) -> dict[str, int]:
        """Return how often each kind of reason with its action occurred, most frequent first."""
        counts: Counter[str] = Counter()
        for file in self.files:
            for (reason, action), count in reasons_of(file.faults).items():
                counts[f"{kind_of(reason)} ({action})"] += count
        return dict(counts.most_common())

    def as_json(self) -> dict[str, Any]:
        """Return the account as the JSON that `duologue data check --json` prints."""
        tokens = self.tokens or TokenCounts()
        return {
            "files": [file.as_json() for file in self.files],
            "num_conversations": self.num_conversations,
            "num_turns": self.num_turns,
            "num_tokens": tokens.total,
            "num_trained_tokens": tokens.trained,
            "num_context_tokens": tokens.context,
            "num_padding_tokens": tokens.padding,
            "tokens_are_estimated": tokens.are_estimated,
            "tokenizer": tokens.tokenizer,
            "duplicates": asdict(self.duplicates),
            "splits": asdict(self.splits),
            "personal_data": dict(self.personal_data),
            "num_duplicates": self.num_duplicates,
            "num_dropped": self.num_dropped,
            "num_refused": self.num_refused,
            "reasons": self.reasons(),
        }


def account_from_json(document: Mapping[str, Any]) -> Account:
    """Return the account that `as_json` wrote.

    Raises:
        KeyError: A part is missing.
        TypeError: A part has the wrong type.
    """
    has_tokens = bool(document["tokenizer"])
    return Account(
        files=tuple(_file_from_json(file) for file in document["files"]),
        num_conversations=document["num_conversations"],
        num_turns=document["num_turns"],
        num_duplicates=document["num_duplicates"],
        duplicates=DuplicateCounts(**document["duplicates"]),
        personal_data=document["personal_data"],
        splits=SplitCounts(**document["splits"]),
        tokens=TokenCounts(
            trained=document["num_trained_tokens"],
            context=document["num_context_tokens"],
            padding=document["num_padding_tokens"],
            are_estimated=document["tokens_are_estimated"],
            tokenizer=document["tokenizer"],
        )
        if has_tokens
        else None,
    )


def kind_of(reason: str) -> str:
    """Return what many faults have in common: a reason without the details behind a colon or semicolon."""
    return reason.partition(": ")[0].partition("; ")[0]


def reasons_of(faults: Sequence[Fault]) -> Counter[tuple[str, str]]:
    """Return how often each (reason, action) occurs."""
    if isinstance(faults, FaultList):
        return faults.reasons()
    return Counter((fault.reason, fault.action) for fault in faults)


@dataclass(frozen=True, slots=True)
class DataStats:
    """Token counts that a plan needs.

    Attributes:
        num_train_examples: Examples in the training split.
        num_validation_examples: Examples in the validation split.
        num_tokens: Tokens of the training split, padding left out.
        num_trained_tokens: Those of them that are targets.
        num_validation_tokens: Tokens of the validation split.
        max_tokens: Longest training example.
        lengths: Lengths of the training examples in tokens, ascending.
    """

    num_train_examples: int
    num_validation_examples: int
    num_tokens: int
    num_trained_tokens: int
    num_validation_tokens: int
    max_tokens: int
    lengths: tuple[int, ...]


def measure(train: Sequence[Example], validation: Sequence[Example]) -> DataStats:
    """Return the token counts of tokenized splits."""
    lengths = sorted(lengths_of(train))
    return DataStats(
        num_train_examples=len(train),
        num_validation_examples=len(validation),
        num_tokens=sum(lengths),
        num_trained_tokens=num_trained_tokens_of(train),
        num_validation_tokens=sum(lengths_of(validation)),
        max_tokens=lengths[-1] if lengths else 0,
        lengths=tuple(lengths),
    )


def _fault_json(fault: Fault) -> dict[str, Any]:
    return {"row": fault.row, "field": fault.field, "reason": fault.reason, "action": fault.action}


def _file_from_json(file: Mapping[str, Any]) -> FileAccount:
    faults = FaultList(file["path"], (Note(**fault) for fault in file["faults"]))
    return FileAccount(**{**file, "faults": faults})
