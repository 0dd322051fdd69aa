"""What is kept of every trial: `trials/0001.json`, with its settings, config, seed, curve and how it ended."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from duologue.errors import EngineError
from duologue.files import write_whole
from duologue.train.search.space import Settings

TrialState = Literal["finished", "ended early", "out of time", "failed", "interrupted"]
TRIALS = "trials"


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial.

    Attributes:
        number: From 1; 1 are the settings as they were.
        state: How it ended. `ended early` was worse than half of the others at the same point, `out of time` met the
            end of the budget, `failed` raised, `interrupted` was stopped or killed and is done again.
        settings: What was tried.
        loss: Held-out loss of its adapter in nats per trained token; None unless it finished.
        points: `(step, held-out loss)`.
        max_steps: Steps of a whole run with these settings.
        seconds: Wall time, loading included.
        planned_seconds: What the plan said.
        seed: Of initialisation and order; the same for all.
        note: Why it failed.
        config: Every value of its config.
    """

    number: int
    state: TrialState
    settings: Settings
    loss: float | None = None
    points: tuple[tuple[int, float], ...] = ()
    max_steps: int = 0
    seconds: float = 0.0
    planned_seconds: float = 0.0
    seed: int = 0
    note: str = ""
    config: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return asdict(self)


def best_of(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the finished trial with the lowest held-out loss; the earlier one of two equal ones."""
    finished = [record for record in records if record.loss is not None]
    return min(finished, key=lambda record: (record.loss or 0.0, record.number)) if finished else None


def start_of(records: Sequence[TrialRecord], start: Settings) -> TrialRecord | None:
    """Return the finished trial of the settings as they are: the first one, or the one that was done again for it."""
    return next((record for record in records if record.settings == start and record.loss is not None), None)


def read_records(folder: Path) -> tuple[TrialRecord, ...]:
    """Return the trials of a search, in order.

    Raises:
        EngineError: A record is damaged.
    """
    records = []
    for path in sorted((folder / TRIALS).glob("*.json")):
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            tree["points"] = tuple((int(step), float(loss)) for step, loss in tree["points"])
            records.append(TrialRecord(**tree))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise EngineError(f"the record of a trial cannot be read ({error})", where=str(path)) from error
    return tuple(records)


def write_record(folder: Path, record: TrialRecord) -> None:
    """Write a trial down, whole or not at all.

    Raises:
        EngineError: The disk is full or not writable.
    """
    write_json(folder / TRIALS / f"{record.number:04}.json", record.as_json())


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all.

    Raises:
        EngineError: The disk is full or not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise EngineError(f"the search cannot be written down ({error.strerror})", where=str(path)) from error
