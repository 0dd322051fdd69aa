"""Where a run on feedback comes from and what it learned, as its ledger says."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duologue.errors import EngineError
from duologue.train.folder import Run


@dataclass(frozen=True, slots=True)
class Lineage:
    """A run on feedback.

    Attributes:
        started_from: The run whose adapter it went on from.
        ancestors: That run, the one that went on from, and so on, as far as their folders are there.
        method: How pairs or single replies were learned: `sft` (not at all), `dpo` or `kto`.
        beta: How firmly it was held to the start.
        num_sft_steps: Steps on corrected replies, which came first.
        num_corrected_replies: Replies as a person rewrote them.
        num_pairs: Pairs of a better and a worse reply.
        num_liked: Single replies that were liked.
        num_disliked: Single replies that were not.
        num_contradictions: Pairs that contradict each other.
        num_cut: Examples whose beginning was cut off to fit.
        kept_share: How much of what was learned was kept, as a share; the rest cost too much on held-out
            conversations. 1 before the run has ended.
        unused: What the method had no use for, in words.
        collected: Number of pieces by kind, as people made them; empty when that was not kept.
        dropped: Number of pieces that were not taken, by reason.
    """

    started_from: str
    ancestors: tuple[str, ...]
    method: str
    beta: float
    num_sft_steps: int
    num_corrected_replies: int
    num_pairs: int
    num_liked: int
    num_disliked: int
    num_contradictions: int
    num_cut: int
    kept_share: float
    unused: tuple[str, ...]
    collected: Mapping[str, int]
    dropped: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}


def read_lineage(run: Run) -> Lineage | None:
    """Return where a run, finished or not, comes from; None when it began at its base model.

    Raises:
        EngineError: The ledger is damaged.
    """
    told = _feedback(run)
    if told is None:
        return None
    try:
        account = told.get("collected", {})
        return Lineage(
            started_from=told["started_from"],
            ancestors=_ancestors(run.folder.parent, told["started_from"]),
            method=told["method"],
            beta=run.read("resolved.json")["feedback"]["beta"],
            **{name: told[name] for name in Lineage.__slots__ if name.startswith("num_")},
            kept_share=run.read("manifest.json").get("feedback", {}).get("kept_share", 1.0) if run.is_finished else 1.0,
            unused=tuple(told["unused"]),
            collected=account.get("used", {}),
            dropped=account.get("dropped", {}),
        )
    except KeyError as error:
        raise EngineError(f"the ledger of the run does not tell {error}", where=str(run.folder)) from error


def _feedback(run: Run) -> dict[str, Any] | None:
    if not (run.folder / "data.json").is_file():
        return None
    told: dict[str, Any] | None = run.read("data.json").get("feedback")
    return told


def _ancestors(runs: Path, name: str) -> tuple[str, ...]:
    found: list[str] = []
    while name and name not in found:
        found.append(name)
        told = _feedback(Run(runs / name))
        name = told["started_from"] if told else ""
    return tuple(found)


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
