"""What the page shows of a run: its steps as a curve, its replies, planned against measured, and the report."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from duologue.errors import DuologueError, GuardError
from duologue.serve.training import TrainingState
from duologue.train import History, Lineage, Run, StepRecord, list_runs, read_history, read_lineage

_MAX_POINTS = 400  # a curve has no more on a screen
_TAIL_BYTES = 20_000
_SHOWN_REPLIES = 12
_LAST_STEPS = 10


def find_run(folder: Path, name: str) -> Run:
    """Return a run by its name.

    Raises:
        GuardError: With reason `not_found`.
    """
    found = next((run for run in list_runs(folder) if run.name == name), None)
    if found is None:
        raise GuardError(f"there is no run '{name[:80]}'", reason="not_found", where="run")
    return found


def runs_json(folder: Path, now: TrainingState) -> list[dict[str, Any]]:
    """Return every run in a line, the newest first."""
    return [_line(run, now) for run in reversed(list_runs(folder))]


def run_json(run: Run, now: TrainingState) -> dict[str, Any]:
    """Return everything the page shows of a run."""
    history, lineage = read_history(run), _lineage(run)
    manifest, plan = _document(run, "manifest.json"), _document(run, "plan.json")
    return {
        **_line(run, now),
        **progress_json(run, history),
        "feedback": {**lineage.as_json(), **_rewards(history)} if lineage else None,
        "plan": plan or None,
        "plan_versus_actual": manifest.get("plan_versus_actual", {}),
        "minutes": manifest["seconds"] / 60 if manifest else None,
        "evaluation": _document(run, "evaluation.json") or None,
    }


def progress_json(run: Run, history: History | None = None) -> dict[str, Any]:
    """Return how far a run is, as its `events.jsonl` says."""
    history = history or read_history(run)
    last = history.steps[-1] if history.steps else None
    plan = _document(run, "plan.json")
    newest = _newest_step(run)
    return {
        "step": last.step if last else 0,
        "max_steps": newest.get("max_steps") or plan.get("settings", {}).get("max_steps", 0),
        "seconds_to_go": newest.get("seconds_to_go"),
        "loss": last.loss if last else None,
        "tokens_per_second": last.tokens_per_second if last else None,
        "memory_gib": last.memory_gib if last else None,
        "curve": _thinned([each for each in history.steps if not each.is_comparison]),
        "validation": [list(point) for point in history.validation],
        "replies": [
            {"step": each.step, "prompt": each.prompt, "text": each.text, "faults": each.faults}
            for each in history.replies[-_SHOWN_REPLIES:]
        ],
        "kept_step": history.kept_step,
    }


def _line(run: Run, now: TrainingState) -> dict[str, Any]:
    is_running = now.phase != "idle" and now.run == run.name
    manifest, evaluation = _document(run, "manifest.json"), _document(run, "evaluation.json")
    resolved, lineage = _document(run, "resolved.json"), _lineage(run)
    state = "finished" if run.is_finished else "interrupted"
    return {
        "name": run.name,
        "state": "running" if is_running else state,
        "base": manifest.get("base", {}).get("name") or resolved.get("model", {}).get("base", ""),
        "started_from": lineage.started_from if lineage else "",
        "num_steps": manifest.get("num_steps"),
        "final_loss": manifest.get("final_loss"),
        "base_perplexity": evaluation.get("base_perplexity"),
        "tuned_perplexity": evaluation.get("tuned_perplexity"),
        "has_report": (run.folder / "report.html").is_file(),
        "is_measured": bool(evaluation),
    }


def _lineage(run: Run) -> Lineage | None:
    try:
        return read_lineage(run)
    except DuologueError:
        return None  # damaged: the run is shown with what there is


def _rewards(history: History) -> dict[str, float | None]:
    """Return how surely the last steps that compared replies told the better one; None where none did."""
    last = [each for each in history.steps if each.is_comparison][-_LAST_STEPS:]
    shares = [each.reward_accuracy for each in last if each.reward_accuracy is not None]
    return {"reward_accuracy": sum(shares) / len(shares) if shares else None}


def _document(run: Run, name: str) -> dict[str, Any]:
    """Return one document of the ledger; an empty one while it is not there."""
    if not (run.folder / name).is_file():
        return {}
    try:
        return run.read(name)
    except DuologueError:
        return {}  # damaged: the run is shown with what there is


def _newest_step(run: Run) -> dict[str, Any]:
    """Return the last event of a step; its time to go counts measurements and checkpoints, too."""
    try:
        with (run.folder / "events.jsonl").open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _TAIL_BYTES))
            lines = stream.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except ValueError:
            continue  # cut at the beginning of the tail, or still being written
        if isinstance(event, dict) and event.get("name") == "step":
            return event
    return {}


def _thinned(steps: Sequence[StepRecord]) -> list[list[float]]:
    """Return `[step, loss]` for a screen: of a long run the mean loss of so many steps each."""
    size = max(1, -(-len(steps) // _MAX_POINTS))
    parts = [steps[at : at + size] for at in range(0, len(steps), size)]
    return [[part[-1].step, sum(each.loss for each in part) / len(part)] for part in parts]
