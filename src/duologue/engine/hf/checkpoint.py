"""Checkpoints: everything a run needs to go on as if it had never stopped, written so that a half one is never used.

A checkpoint is a folder `checkpoints/step-00000123` with safetensors files and, written last, `manifest.json` with
step, job, progress and the sha256 of each file. It is written under a temporary name, flushed to disk and renamed; the
file system then holds the old state or the new one. What a crash leaves behind is removed when the run goes on.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from duologue.errors import EngineError
from duologue.files import sync

Tensors = dict[str, torch.Tensor]
Identity = Mapping[str, str]
_PARTS = ("adapter", "optimizer", "random", "best")
_MAY_BE_MISSING = "best"
_MANIFEST = "manifest.json"
_SPARE_BYTES = 2**20  # headers, manifest, the file system's own blocks
_GO_ON = "Free some disk space, then go on with: duologue train FOLDER --resume"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State after an optimizer step.

    Attributes:
        step: Steps done.
        job: What decides the weights, by name; a checkpoint of another job is never continued.
        adapter: Adapter tensors by name.
        optimizer: Tensors of the optimizer's state by name.
        random: States of the random generators.
        best: Adapter tensors of the best evaluation; empty when none are kept.
        progress: Everything else, as JSON.
    """

    step: int
    job: Identity
    adapter: Tensors
    optimizer: Tensors
    random: Tensors
    best: Tensors = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Its size on disk, a little more rather than less."""
        tensors = [tensor for part in _PARTS for tensor in getattr(self, part).values()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors) + _SPARE_BYTES


def save_checkpoint(checkpoint: Checkpoint, folder: Path, *, keep: int) -> Path:
    """Write a checkpoint, then delete all but the newest `keep`.

    One that lies there complete is left as it is: the state after a step is always the same.

    Raises:
        EngineError: The disk is full or not writable; the newest complete checkpoint is untouched.
    """
    final = folder / f"step-{checkpoint.step:08d}"
    if _is_complete(final, checkpoint.job):
        return final
    partial = folder / f".partial-{checkpoint.step}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        _make_room(folder, checkpoint)
        partial.mkdir()
        _write_parts(checkpoint, partial)
        shutil.rmtree(final, ignore_errors=True)  # a damaged one
        os.replace(partial, final)
        sync(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise _not_written(folder, checkpoint, error) from error
    others = [path for path in _newest_first(folder) if path != final]
    older = [path for path in others if path < final]
    for path in [*(path for path in others if path > final), *older[keep - 1 :]]:  # a newer one was found damaged
        shutil.rmtree(path, ignore_errors=True)
    return final


def load_newest(folder: Path, *, job: Identity, on_skip: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest complete checkpoint, or None when there is none; leftovers of a crash are removed.

    Args:
        folder: `checkpoints/` of the run.
        job: What the checkpoint must have been made with.
        on_skip: Called with a sentence for every checkpoint that is passed over.

    Raises:
        EngineError: The newest complete checkpoint belongs to another job.
    """
    for leftover in folder.glob(".partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for path in _newest_first(folder):
        try:
            manifest = _read_manifest(path)
            broken = list(_broken(path, manifest))
            step, made_with, progress = manifest["step"], manifest["job"], manifest["progress"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            on_skip(f"checkpoint {path.name} is incomplete ({type(error).__name__}) and is passed over")
            continue
        if broken:
            on_skip(f"checkpoint {path.name} is damaged ({', '.join(broken)}) and is passed over")
            continue
        _require_same(path, made_with, job)
        adapter, optimizer, generators, best = (_load(path / f"{part}.safetensors") for part in _PARTS)
        return Checkpoint(step, job, adapter, optimizer, generators, best=best, progress=progress)
    return None


def require_disk(folder: Path, *, checkpoint_bytes: int, adapter_bytes: int, keep: int) -> tuple[int, int]:
    """Return the bytes that a run's checkpoints will need on top of what lies there, and the free ones.

    Raises:
        EngineError: There is not even room for one checkpoint beside the last and for the adapter.
    """
    existing = list(_newest_first(folder))
    lying = sum(file.stat().st_size for path in existing for file in path.iterdir())
    free = _free_bytes(folder)
    needed = max(0, (keep + 1) * checkpoint_bytes + adapter_bytes - lying)  # the new one lies beside those kept
    least = (1 if existing else 2) * checkpoint_bytes + adapter_bytes
    if free < least:
        raise EngineError(
            f"{free / 2**30:.2f} GiB are free on the disk of the run, and a checkpoint takes "
            f"{checkpoint_bytes / 2**30:.2f} GiB",
            where=str(folder),
            needed=f"at least {least / 2**30:.2f} GiB, {needed / 2**30:.2f} GiB for all that the run keeps",
            action=_GO_ON,
        )
    return needed, free


def _write_parts(checkpoint: Checkpoint, folder: Path) -> None:
    """Write and flush the files, the manifest last."""
    digests = {}
    for part in _PARTS:
        tensors = getattr(checkpoint, part)
        if not tensors and part == _MAY_BE_MISSING:
            continue
        path = folder / f"{part}.safetensors"
        save_file(dict(_on_cpu(tensors)), path)
        sync(path)
        digests[path.name] = _sha256(path)
    manifest = {
        "step": checkpoint.step,
        "job": dict(checkpoint.job),
        "progress": checkpoint.progress,
        "sha256": digests,
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    sync(folder / _MANIFEST)
    sync(folder)


def _on_cpu(tensors: Tensors) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors as safetensors takes them: on the CPU, and none of them sharing its memory with another."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        yield name, plain.clone() if plain.data_ptr() in seen else plain
        seen.add(plain.data_ptr())


def _make_room(folder: Path, checkpoint: Checkpoint) -> None:
    """Check the disk before it is needed; older checkpoints than the newest complete one make room if they must.

    Raises:
        OSError: There is no room even so.
    """
    needed = checkpoint.num_bytes
    if _free_bytes(folder) >= needed:
        return
    newest = next((path for path in _newest_first(folder) if _is_complete(path, checkpoint.job)), None)
    for path in _newest_first(folder):
        if newest is not None and path < newest:
            shutil.rmtree(path, ignore_errors=True)
    if (free := _free_bytes(folder)) < needed:
        raise OSError(f"it takes {needed / 2**20:.1f} MiB and {free / 2**20:.1f} MiB are free")


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _is_complete(path: Path, job: Identity) -> bool:
    try:
        manifest = _read_manifest(path)
        return manifest["job"] == dict(job) and not any(_broken(path, manifest))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
    return manifest


def _broken(path: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    digests = manifest["sha256"]
    for part in _PARTS:
        name = f"{part}.safetensors"
        if name not in digests and part == _MAY_BE_MISSING:
            continue
        if _sha256(path / name) != digests[name]:
            yield name


def _require_same(path: Path, before: Mapping[str, str], now: Identity) -> None:
    changed = [
        f"{name}: {before.get(name, 'not there')} -> {now.get(name, 'not there')}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise EngineError(
            f"checkpoint {path.name} belongs to another configuration or other data ({'; '.join(changed)})",
            where=str(path.parent),
            action="Start a new run, or restore the configuration and the data it was made with.",
        )


def _load(path: Path) -> Tensors:
    return load_file(path) if path.exists() else {}


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _not_written(folder: Path, checkpoint: Checkpoint, error: Exception) -> EngineError:
    newest = next((path for path in _newest_first(folder) if _is_complete(path, checkpoint.job)), None)
    kept = f"the checkpoint of step {int(newest.name.removeprefix('step-'))} is whole" if newest else "no earlier one"
    return EngineError(
        f"the checkpoint of step {checkpoint.step} could not be written ({error}); {kept}",
        where=str(folder),
        action=_GO_ON,
    )
