"""Checkpoints: everything a run needs to go on as if it had never stopped, written so that a half one is never used.

A checkpoint is a folder `checkpoints/step-00000123` with `adapter.safetensors`, `optimizer.safetensors`,
`random.safetensors` and, written last, `manifest.json` with step, job and the sha256 of each file. It is written under
a temporary name, flushed to disk and renamed.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from duologue.errors import EngineError

_FILES = ("adapter.safetensors", "optimizer.safetensors", "random.safetensors")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State after an optimizer step.

    Attributes:
        step: Steps done.
        job: Fingerprint of job and data; a checkpoint of another job is never continued.
        adapter: Adapter tensors by name.
        optimizer: `{parameter index}.{state name}` to tensor.
        random: States of the random generators.
    """

    step: int
    job: str
    adapter: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    random: dict[str, torch.Tensor]


def save_checkpoint(checkpoint: Checkpoint, folder: Path, *, keep: int) -> Path:
    """Write a checkpoint, then delete all but the newest `keep`.

    Raises:
        EngineError: The disk is full or not writable; earlier checkpoints are untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".partial-{checkpoint.step}"
    final = folder / f"step-{checkpoint.step:08d}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        for name, tensors in zip(_FILES, (checkpoint.adapter, checkpoint.optimizer, checkpoint.random), strict=True):
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, partial / name)
            _flush(partial / name)
        manifest = {
            "step": checkpoint.step,
            "job": checkpoint.job,
            "sha256": {name: _sha256(partial / name) for name in _FILES},
        }
        (partial / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        _flush(partial / "manifest.json")
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        _flush(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise _not_written(folder, checkpoint.step, error) from error
    for old in _newest_first(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_newest(folder: Path, *, job: str, on_skip: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest complete checkpoint, or None when there is none; leftovers of a crash are removed.

    Args:
        folder: `checkpoints/` of the run.
        job: Fingerprint the checkpoint must have.
        on_skip: Called with a sentence for every checkpoint that is passed over.

    Raises:
        EngineError: The newest complete checkpoint belongs to another job.
    """
    for leftover in folder.glob(".partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for path in _newest_first(folder):
        try:
            manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
            broken = [name for name in _FILES if _sha256(path / name) != manifest["sha256"][name]]
        except (OSError, ValueError, KeyError) as error:
            on_skip(f"checkpoint {path.name} is incomplete ({type(error).__name__}) and is passed over")
            continue
        if broken:
            on_skip(f"checkpoint {path.name} is damaged ({', '.join(broken)}) and is passed over")
            continue
        if manifest["job"] != job:
            raise EngineError(
                f"checkpoint {path.name} belongs to another configuration or other data",
                where=str(folder),
                action="Start a new run, or restore the configuration and the data it was made with.",
            )
        tensors = [load_file(path / name) for name in _FILES]
        return Checkpoint(manifest["step"], job, *tensors)
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _not_written(folder: Path, step: int, error: Exception) -> EngineError:
    newest = _newest_first(folder)
    kept = (
        f"the checkpoint of step {int(newest[0].name.removeprefix('step-'))} is whole" if newest else "no earlier one"
    )
    return EngineError(
        f"the checkpoint of step {step} could not be written ({error}); {kept}",
        where=str(folder),
        action="Free some disk space, then go on with: duologue train FOLDER --resume",
    )
