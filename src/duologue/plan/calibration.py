"""What earlier runs on this machine teach the next plan: measured over predicted, kept in one small file.

A ratio is always measured over the *law*, the prediction without any calibration, so that corrections do not pile up.
The factor of a kind of runs is the median of its last runs, drawn towards 1 while they are few.
"""

import json
import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from duologue.engine import Precision, Probe, Quantization
from duologue.files import write_whole
from duologue.store import written_alone

_VERSION = 1
_RUNS_USED = 9  # an odd number has a middle; older runs tell of older software
_RUNS_KEPT = 20  # of one kind
_ENTRIES_KEPT = 400
_SHORTEST_RUN_STEPS = 5  # a shorter run measures its warm-up
_WILDEST_RATIO = 20.0  # beyond it something else went wrong
_PRIOR_RUNS = 0.5  # the law weighs as much as half a run
_LEAST_SPREAD = math.log(1.05)  # two runs of the same job differ by some percent


@dataclass(frozen=True, slots=True)
class RunKind:
    """Runs that teach each other something.

    Attributes:
        host: Name of the computer, as several may share a home folder.
        device: Name of the GPU or CPU, as the plan shows it.
        profile: The training stack.
        quantization: Format of the frozen weights.
        compute_dtype: Type of the activations.
    """

    host: str
    device: str
    profile: str
    quantization: Quantization
    compute_dtype: Precision


@dataclass(frozen=True, slots=True)
class Learned:
    """How far a plan was moved away from the law by what was measured before.

    Attributes:
        speed: Planned tokens per second over the law's.
        memory: Planned peak over the law's.
        num_runs: Runs that this rests on; 0 for the law itself.
        is_probed: Whether a probe measured this very job.
    """

    speed: float = 1.0
    memory: float = 1.0
    num_runs: int = 0
    is_probed: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One finished run.

    Attributes:
        kind: What it can be compared with.
        date: ISO date.
        model: Base model.
        num_steps: Optimizer steps.
        speed_ratio: Measured tokens per second over the law's.
        memory_ratio: Measured peak over the law's.
    """

    kind: RunKind
    date: str
    model: str
    num_steps: int
    speed_ratio: float
    memory_ratio: float

    @property
    def is_usable(self) -> bool:
        """Whether it is long enough, and not so far off that it measured something else."""
        ratios = (self.speed_ratio, self.memory_ratio)
        within = all(math.isfinite(ratio) and 1 / _WILDEST_RATIO < ratio < _WILDEST_RATIO for ratio in ratios)
        return within and self.num_steps >= _SHORTEST_RUN_STEPS


@dataclass(frozen=True, slots=True)
class Factor:
    """A correction: the prediction is the law times `value`, its logarithm uncertain by `spread`."""

    value: float = 1.0
    spread: float = math.inf

    def interval(self, low: float, high: float) -> tuple[float, float]:
        """Return the law's relative interval around its value, narrowed by the runs; around 1.

        Args:
            low: Lower end of the law's interval over its value, at most 1.
            high: Upper end over its value, at least 1.
        """
        return max(low, math.exp(-self.spread)), min(high, math.exp(self.spread))


@dataclass(frozen=True, slots=True)
class Factors:
    """The corrections for one kind of runs."""

    speed: Factor = Factor()
    memory: Factor = Factor()
    num_runs: int = 0


@dataclass(frozen=True, slots=True)
class Calibration:
    """The runs of a calibration file, oldest first.

    Attributes:
        entries: Usable runs.
        note: What had to be said about the file; empty when all is well.
        is_ours: Whether the file may be written: it is not of another version, and not unreadable.
    """

    entries: tuple[Entry, ...] = ()
    note: str = ""
    is_ours: bool = True

    def factors(self, kind: RunKind) -> Factors:
        """Return the corrections that the last runs of a kind suggest."""
        runs = [entry for entry in self.entries if entry.kind == kind][-_RUNS_USED:]
        if not runs:
            return Factors()
        speed = _factor([run.speed_ratio for run in runs])
        memory = _factor([run.memory_ratio for run in runs])
        return Factors(speed, memory, len(runs))


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured on a machine before: goes into the plan beside the hardware.

    Attributes:
        host: Name of the computer.
        calibration: Earlier runs.
        probe: Steps of this very job; None without one.
    """

    host: str
    calibration: Calibration = Calibration()
    probe: Probe | None = None


@dataclass(frozen=True, slots=True)
class CalibrationTarget:
    """Where a finished run is kept.

    Attributes:
        path: The calibration file.
        host: Name of this computer.
        date: ISO date of the run.
    """

    path: Path
    host: str
    date: str


def load(path: Path) -> Calibration:
    """Return the runs that a calibration file holds.

    A missing file holds none. A damaged one is put aside under another name, which `note` says. A file of a newer
    version is left alone.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Calibration()
    except OSError as error:
        note = f"{path}: the calibration file cannot be read ({error.strerror}); nothing was learned."
        return Calibration(note=note, is_ours=False)
    try:
        tree = json.loads(raw)
        version = tree["version"]
        rows = tree["entries"] if version == _VERSION else []
        if not isinstance(version, int) or not isinstance(rows, list):
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        return _put_aside(path)
    if version != _VERSION:
        note = f"{path}: written by another version of duologue (format {version}); nothing was learned."
        return Calibration(note=note, is_ours=False)
    found = [entry for row in rows if (entry := _entry(row)) is not None]
    lost = len(rows) - len(found)
    return Calibration(tuple(found), f"{path}: {lost} of {len(rows)} runs were not readable." if lost else "")


def record(path: Path, entry: Entry) -> Calibration:
    """Add a run to a calibration file and return what the file then holds.

    The file is written whole or not at all, bounded, and by one process at a time. What goes wrong is in `note`: a
    finished run must not fail because of it. A run that is too short or absurdly far from its plan is not added.
    """
    if not entry.is_usable:
        kept = load(path)
        reason = f"fewer than {_SHORTEST_RUN_STEPS} steps" if entry.num_steps < _SHORTEST_RUN_STEPS else "absurd values"
        return replace(kept, note=f"{kept.note} The run was not kept for the next plan: {reason}.".strip())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_alone(path):
            before = load(path)
            if not before.is_ours:
                return before
            after = _bounded((*before.entries, entry))
            _write(path, after)
    except OSError as error:
        return Calibration(note=f"{path}: the calibration file cannot be written ({error.strerror}).")
    return Calibration(after, before.note)


def _factor(ratios: Sequence[float]) -> Factor:
    """Median of the logarithms, drawn towards the law; the spread shrinks with runs and grows with their discord."""
    logs = [math.log(ratio) for ratio in ratios]
    middle = statistics.median(logs)
    weight = len(logs) / (len(logs) + _PRIOR_RUNS)
    discord = 1.4826 * statistics.median(abs(value - middle) for value in logs)  # as a standard deviation
    doubt = (1 - weight) * max(abs(middle), math.log(1.5))
    return Factor(math.exp(weight * middle), math.hypot(_LEAST_SPREAD, 2 * discord, doubt))


def _entry(row: Any) -> Entry | None:  # noqa: ANN401 (JSON can be anything)
    """Return a row of the file as an entry, or None when it is none."""
    try:
        kind = RunKind(**{name: _text(row["kind"][name]) for name in (field.name for field in fields(RunKind))})
        entry = Entry(
            kind=kind,
            date=_text(row["date"]),
            model=_text(row["model"]),
            num_steps=int(row["num_steps"]),
            speed_ratio=float(row["speed_ratio"]),
            memory_ratio=float(row["memory_ratio"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return entry if entry.is_usable else None


def _text(value: Any) -> Any:  # noqa: ANN401 (checked here; the caller's types are literals)
    if not isinstance(value, str):
        raise TypeError
    return value


def _bounded(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Keep the newest runs of each kind, and the newest of all."""
    kept: list[Entry] = []
    counts: dict[RunKind, int] = {}
    for entry in reversed(entries):
        counts[entry.kind] = counts.get(entry.kind, 0) + 1
        if counts[entry.kind] <= _RUNS_KEPT and len(kept) < _ENTRIES_KEPT:
            kept.append(entry)
    return tuple(reversed(kept))


def _write(path: Path, entries: Sequence[Entry]) -> None:
    document = {"version": _VERSION, "entries": [asdict(entry) for entry in entries]}
    write_whole(path, json.dumps(document, indent=1) + "\n")


def _put_aside(path: Path) -> Calibration:
    aside = path.with_name(f"{path.name}.damaged")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{number}")
    try:
        os.replace(path, aside)
    except OSError as error:
        note = f"{path}: the calibration file is damaged and cannot be put aside ({error.strerror})."
        return Calibration(note=note, is_ours=False)
    return Calibration(
        note=f"{path}: the calibration file was damaged; it is kept as {aside.name}, and learning starts anew."
    )
