"""The reference: what the start adapter makes of every example, read once before the first step and kept in the run.

So a run needs no second adapter beside the one it trains, and a run that goes on compares with the same numbers.
"""

import hashlib
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from duologue.engine.hf.checkpoint import Identity
from duologue.engine.hf.passes import Passes
from duologue.engine.hf.preferences.objective import Preferring, Reference
from duologue.engine.job import Event, Example, OnEvent
from duologue.engine.preference_job import FeedbackExample
from duologue.errors import EngineError, InterruptedRun
from duologue.files import replacing

_FILE = "reference.safetensors"
_WHAT = "what the start adapter makes of the feedback"
# E examples


def read_reference(
    passes: Passes,
    objective: Preferring,
    examples: Sequence[FeedbackExample],
    *,
    identity: Identity,
    on_event: OnEvent,
    should_stop: threading.Event,
) -> None:
    """Fill `objective.references`, from the run's file when an earlier process has written it.

    Args:
        passes: The model with the start adapter on it.
        objective: What takes the numbers.
        examples: All of the run's.
        identity: What decides the weights: the file of another job is not used.
        on_event: Receives `preparing` events.
        should_stop: Ends it.

    Raises:
        InterruptedRun: `should_stop` was set.
        EngineError: Memory ran out, the disk is full, or a number is not one.
    """
    compared = [example for example in examples if not isinstance(example, Example)]
    if not compared:
        return
    path = passes.job.run_folder / _FILE
    digest = hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()
    found = _load(path, digest, num_examples=len(compared))
    if found is None:
        found = _compute(passes, objective, compared, on_event=on_event, should_stop=should_stop)
        _save(path, found, digest)
    objective.references.update(zip(compared, found, strict=True))


def _compute(
    passes: Passes,
    objective: Preferring,
    examples: Sequence[FeedbackExample],
    *,
    on_event: OnEvent,
    should_stop: threading.Event,
) -> list[Reference]:
    started = time.perf_counter()
    found: list[Reference] = []
    passes.model.eval()

    def of_some() -> list[Reference]:
        at = len(found)
        with passes.autocast():
            return objective.reference(passes.model.get_base_model(), examples[at : at + passes.job.micro_batch_size])

    while len(found) < len(examples):
        if should_stop.is_set():
            raise InterruptedRun(
                "training was stopped before its first step",
                where=str(passes.job.run_folder),
                action="Go on with: duologue train FOLDER --resume",
            )
        found += passes.with_room(of_some, step=1)
        seconds = time.perf_counter() - started
        values: dict[str, float | int | str] = {"what": _WHAT, "done": len(found), "total": len(examples)}
        on_event(Event("preparing", values={**values, "seconds": seconds}))
    passes.model.train()
    table_E2 = torch.tensor(found)
    if not bool(table_E2.isfinite().all()):
        place = int((~table_E2.isfinite()).any(dim=1).nonzero()[0])
        raise EngineError(
            "the start adapter gives a reply of the feedback a probability that is not a number",
            where=examples[place].source,
            action="Remove it with duologue feedback, or start from another run with --start.",
        )
    return [(float(own), float(other)) for own, other in table_E2.tolist()]


def _load(path: Path, digest: str, *, num_examples: int) -> list[Reference] | None:
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("digest") != digest:
                return None
            table_E2 = file.get_tensor("logps")
    except (OSError, SafetensorError):
        return None  # not there, or cut short when the process was killed
    return [(own, other) for own, other in table_E2.tolist()] if len(table_E2) == num_examples else None


def _save(path: Path, found: Sequence[Reference], digest: str) -> None:
    try:
        with replacing(path) as partial:
            save_file({"logps": torch.tensor(found)}, partial, metadata={"digest": digest})
    except (OSError, SafetensorError) as error:
        raise EngineError(
            f"the reference could not be written ({error})",
            where=str(path),
            action="Free some disk space, then go on with: duologue train FOLDER --resume",
        ) from error
