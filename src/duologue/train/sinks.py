"""Where training events go: `events.jsonl` for machines, TensorBoard for people."""

import json
import time
from pathlib import Path
from types import TracebackType

from duologue.engine import Event, OnEvent

_TAGS = {
    "loss": "train/loss",
    "learning_rate": "train/learning_rate",
    "grad_norm": "train/grad_norm",
    "tokens_per_second": "speed/tokens_per_second",
    "memory_gib": "memory/peak_gib",
    "validation_loss": "validation/loss",
    "replies_passed": "validation/replies_passed",
    "reward_margin": "preference/reward_margin",
    "reward_accuracy": "preference/reward_accuracy",
}
_SPIKE_TAG = "train/spike"


class RunSinks:
    """Writes every event of a run to its folder and passes it on."""

    def __init__(self, folder: Path, *, pass_on: OnEvent) -> None:
        """Open the files; an earlier part of the same run is continued, not overwritten."""
        from duologue.train.board import Board  # half a second to import, which only a run should pay

        self._log = (folder / "events.jsonl").open("a", encoding="utf-8")
        self._board = Board(folder / "tensorboard")
        self._pass_on = pass_on

    def __enter__(self) -> "RunSinks":
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close both files."""
        self._board.close()
        self._log.close()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        now = time.time()
        line = {"time": round(now, 3), "name": event.name, "step": event.step, **event.values}
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()
        shown = {tag: float(event.values[name]) for name, tag in _TAGS.items() if name in event.values}
        if event.values.get("is_spike"):
            shown[_SPIKE_TAG] = float(event.values["loss"])
        if event.name == "best":
            shown = {}  # the values of an earlier step, which has its point
        if shown:
            self._board.add(shown, step=event.step, at=now)
        if event.name == "reply":
            self._board.add_text(f"replies/{_tag(event)}", _markdown(event), step=event.step, at=now)
        self._pass_on(event)


def _tag(event: Event) -> str:
    """A prompt as a name of a curve, which TensorBoard cuts at slashes."""
    return str(event.values["prompt"]).replace("/", " ")[:60]


def _markdown(event: Event) -> str:
    faults = event.values["faults"]
    quoted = "\n".join(f"> {line}" for line in str(event.values["text"]).splitlines())
    return f"**{event.values['prompt']}**\n\n{quoted}\n\n{f'*{faults}*' if faults else 'all checks pass'}"
