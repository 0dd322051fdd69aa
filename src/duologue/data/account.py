"""The account of the data: what was found in each file, what happened to each row, how many tokens train."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from duologue.engine import Example


@dataclass(frozen=True, slots=True)
class Fault:
    """Something noticed in one row and what was done about it.

    Attributes:
        path: The file.
        row: Counted from 1: a line of a JSONL file, an element of an array; 0 for the file as a whole.
        field: Path inside the row, such as `messages[2].content`.
        reason: What was found.
        action: What was done: `row dropped`, `messages merged`, `message left out`, ...
    """

    path: str
    row: int
    field: str
    reason: str
    action: str

    @property
    def is_dropped(self) -> bool:
        """Whether the row was refused."""
        return self.action == ROW_DROPPED

    def __str__(self) -> str:
        """Return `file:row: field: reason (action)`."""
        place = f"{self.path}:{self.row}" if self.row else self.path
        return f"{place}: {self.field + ': ' if self.field else ''}{self.reason} ({self.action})"


ROW_DROPPED = "row dropped"


@dataclass(frozen=True, slots=True)
class FileAccount:
    """One file: its format, its rows, and the faults in it."""

    path: str
    format: str
    sha256: str
    num_rows: int
    num_loaded: int
    num_dropped: int
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """All files together.

    Attributes:
        files: One entry per file, in the order they were read.
        num_conversations: Conversations kept.
        num_turns: Assistant messages in them.
        num_duplicates: Rows dropped because an equal conversation came before; also counted as dropped.
    """

    files: tuple[FileAccount, ...]
    num_conversations: int
    num_turns: int
    num_duplicates: int

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults of all files."""
        return tuple(fault for file in self.files for fault in file.faults)

    @property
    def num_dropped(self) -> int:
        """Rows that were refused."""
        return sum(file.num_dropped for file in self.files)

    def reasons(self) -> dict[str, int]:
        """Return how often each reason with its action occurred, most frequent first."""
        return dict(Counter(f"{fault.reason} ({fault.action})" for fault in self.faults).most_common())

    def as_json(self) -> dict[str, Any]:
        """Return the account as the JSON that `duologue data check --json` prints."""
        return {
            "files": [{**asdict(file), "faults": [_fault_json(fault) for fault in file.faults]} for file in self.files],
            "num_conversations": self.num_conversations,
            "num_turns": self.num_turns,
            "num_duplicates": self.num_duplicates,
            "num_dropped": self.num_dropped,
            "reasons": self.reasons(),
        }


def _fault_json(fault: Fault) -> dict[str, Any]:
    return {"row": fault.row, "field": fault.field, "reason": fault.reason, "action": fault.action}


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
    lengths = tuple(sorted(example.num_tokens for example in train))
    return DataStats(
        num_train_examples=len(train),
        num_validation_examples=len(validation),
        num_tokens=sum(lengths),
        num_trained_tokens=sum(example.num_trained_tokens for example in train),
        num_validation_tokens=sum(example.num_tokens for example in validation),
        max_tokens=lengths[-1] if lengths else 0,
        lengths=lengths,
    )
