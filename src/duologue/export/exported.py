"""Finding an earlier export of an adapter again, by its label."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duologue.engine import Adapter, BaseModel, Onto, Precision
from duologue.export.artifact import read_label, sha256_of

GGUF_FOLDER = Path("exports", "gguf")  # in a character's folder
MERGED_FOLDER = Path("exports", "merged")
LORA_FOLDER = "lora"
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True)
class ExportedGguf:
    """A GGUF export of one adapter.

    Attributes:
        folder: Where it is.
        file: The `.gguf` file that is opened; the first that was asked for when it was made.
        form: How it holds the weights.
        lora: The adapter as a `.gguf` file, where it is not folded in.
        run: Name of the run the adapter is from.
        fault: Why it is not the adapter that was asked for; empty when it is.
    """

    folder: Path
    file: Path
    form: str
    lora: Path | None
    run: str
    fault: str

    def model(self) -> tuple[BaseModel, Adapter | None]:
        """Return what the engine `gguf` opens: the file, and the adapter where it is not folded in."""
        base = BaseModel(str(self.file))
        return base, Adapter(self.lora.parent, base) if self.lora else None


def origin(adapter: Adapter) -> dict[str, Any]:
    """Return what a label says of the adapter: its run, its files' digests, and its base.

    Labels leave the machine with the export, so a base that lies on it is called by its own name alone.
    """
    place = Path(adapter.base.name)
    is_local = place.exists() or place.is_absolute()
    return {
        "run": adapter.folder.parent.name,
        "base": place.name if is_local else adapter.base.name,
        "base_state": _state(place) if is_local else "",
        "adapter_sha256": _digests(adapter),
    }


def _digests(adapter: Adapter) -> dict[str, str]:
    files = [adapter.folder / name for name in _ADAPTER_FILES]
    return {path.name: sha256_of(path) for path in files if path.is_file()}


def _state(place: Path) -> str:
    """Return what changes when a base on this disk is edited: a digest of names, sizes and times of its files."""
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    found = [(path.name, status.st_size, status.st_mtime_ns) for path in files if (status := _status(path))]
    return hashlib.sha256(repr(found).encode()).hexdigest()[:16]


def _status(path: Path) -> os.stat_result | None:
    return path.stat() if path.is_file() else None


def find_gguf(folder: Path, adapter: Adapter) -> ExportedGguf | None:
    """Return the GGUF export in a character's folder, of this adapter or of another; None when there is none.

    Args:
        folder: The character's folder.
        adapter: The adapter one wants to talk to.
    """
    place = folder / GGUF_FOLDER
    label = read_label(place)
    if label is None or label.get("kind") != "gguf":
        return None
    rows = [row for row in label.get("files", ()) if (place / row["file"]).resolve().is_relative_to(place.resolve())]
    models = [row for row in rows if row["form"] != LORA_FOLDER]
    loras = [row for row in rows if row["form"] == LORA_FOLDER]
    if not models:
        return None
    opened = [models[0], *loras[:1]]
    run, fault = str(label.get("run", "")), ""
    if label.get("adapter_sha256") != _digests(adapter):
        fault = f"it is of run {run}, and another adapter than that of run {adapter.folder.parent.name}"
    elif changed := [row["file"] for row in opened if not _has_size(place / row["file"], row["bytes"])]:
        fault = f"{changed[0]} is missing or was changed"
    return ExportedGguf(
        folder=place,
        file=place / models[0]["file"],
        form=models[0]["form"],
        lora=place / loras[0]["file"] if loras else None,
        run=run,
        fault=fault,
    )


def _has_size(file: Path, num_bytes: int) -> bool:
    return file.is_file() and file.stat().st_size == num_bytes


def is_merged_of(folder: Path, adapter: Adapter, *, dtype: Precision, onto: Onto | str) -> bool:
    """Tell whether a folder holds this adapter folded into its base, whole and unchanged. Reads every file.

    Args:
        folder: An export of a merged model, or anything else.
        adapter: What must have been folded in.
        dtype: Type its weights must have.
        onto: What it must have been folded onto; `closer` takes either.
    """
    label = read_label(folder)
    if label is None or label.get("dtype") != dtype or onto not in ("closer", label.get("onto")):
        return False
    if any(label.get(key) != value for key, value in origin(adapter).items() if key != "run"):
        return False
    return all(
        (folder / name).is_file() and sha256_of(folder / name) == digest for name, digest in label["sha256"].items()
    )
