"""What decides the weights of a run, by name: a checkpoint made with anything else is not continued."""

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from duologue.engine.hf.load import HfModel
from duologue.engine.job import Example, TrainingJob

_FREE = ("run_folder", "save_every_steps", "num_checkpoints", "samples", "eval_every_steps")
_NUMBERS_OF_A_WEIGHT = 64
_DIGEST_CHARS = 16


def identify(
    job: TrainingJob, train: Sequence[Example], *, base_weights: str, num_processes: int
) -> tuple[dict[str, str], Sequence[int]]:
    """Return everything that decides the weights, by name, and the lengths of the examples, in one pass.

    Evaluations and sampled replies decide something only when they may end the run.

    Args:
        job: The job; its folder decides nothing.
        train: The examples, which may lie on disk.
        base_weights: As `digest_of_weights` returns it.
        num_processes: How many train together.
    """
    settings = asdict(replace(job, run_folder=Path()))
    free = _FREE if not job.early_stopping_patience else _FREE[:3]
    identity = {name: repr(value) for name, value in sorted(settings.items()) if name not in free}
    if "samples" in identity:
        identity["samples"] = _digest(identity["samples"].encode())
    digest = hashlib.sha256()
    lengths = array("Q")
    for example in train:
        digest.update(array("q", example.input_ids).tobytes() + array("q", example.labels).tobytes())
        lengths.append(example.num_tokens)
    identity["examples"] = f"{len(lengths)}, {digest.hexdigest()[:_DIGEST_CHARS]}"
    identity["base weights"] = base_weights
    identity["processes"] = str(num_processes)
    return identity, lengths


@torch.no_grad()
def digest_of_weights(model: HfModel) -> str:
    """Return a digest of the first numbers of each unquantised weight: it tells another base of that shape."""
    parts = [
        parameter.flatten()[:_NUMBERS_OF_A_WEIGHT].float().cpu()
        for parameter in model.parameters()
        if parameter.is_floating_point()
    ]
    return _digest(b"".join(part.numpy().tobytes() for part in parts))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGEST_CHARS]
