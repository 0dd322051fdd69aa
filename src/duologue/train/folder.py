"""The run folder: `runs/2026-11-22-1/`, the ledger of one run.

It is finished when `manifest.json` is there, which is written last and names the adapter's sha256.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from duologue.engine import Adapter, BaseModel
from duologue.errors import EngineError
from duologue.files import write_whole


@dataclass(frozen=True, slots=True)
class Run:
    """One run folder."""

    folder: Path

    @property
    def name(self) -> str:
        """The date and number."""
        return self.folder.name

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.folder / "manifest.json").is_file()

    def read(self, name: str) -> dict[str, Any]:
        """Return one JSON document of the ledger.

        Raises:
            EngineError: It is missing or damaged.
        """
        path = self.folder / name
        try:
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise EngineError(f"the ledger of the run cannot be read ({error})", where=str(path)) from error
        return document

    def write(self, name: str, document: Mapping[str, Any]) -> None:
        """Write one JSON document of the ledger, whole or not at all.

        Raises:
            EngineError: The disk is full or not writable.
        """
        path = self.folder / name
        try:
            write_whole(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        except OSError as error:
            raise EngineError(f"the ledger of the run cannot be written ({error.strerror})", where=str(path)) from error

    def adapter(self) -> Adapter:
        """Return the run's adapter, checked against the manifest.

        Raises:
            EngineError: The adapter's file is missing or was changed.
        """
        manifest = self.read("manifest.json")
        folder = self.folder / "adapter"
        for name, sha256 in manifest["adapter_sha256"].items():
            file = folder / name
            if not file.is_file() or file_sha256(file) != sha256:
                raise EngineError(
                    "the adapter's file is missing or was changed since the run ended",
                    where=str(file),
                    action="Restore it from a backup, or train again.",
                )
        return Adapter(folder, BaseModel(**{**manifest["base"], "trusted_code": ""}))  # only a person grants trust


def new_run(folder: Path, *, today: date) -> Run:
    """Make the next run folder of a character.

    Raises:
        EngineError: It cannot be made.
    """
    runs = folder / "runs"
    number = 1 + max(
        (int(run.name.rsplit("-", 1)[1]) for run in list_runs(folder) if str(today) in run.name), default=0
    )
    path = runs / f"{today}-{number}"
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise EngineError(f"the run folder cannot be made ({error.strerror})", where=str(path)) from error
    return Run(path)


def list_runs(folder: Path) -> tuple[Run, ...]:
    """Return a character's runs, oldest first."""
    found = [Run(path) for path in (folder / "runs").glob("????-??-??-*") if path.is_dir() and _is_numbered(path)]
    return tuple(sorted(found, key=lambda run: (run.name[:10], int(run.name.rsplit("-", 1)[1]))))


def _is_numbered(path: Path) -> bool:
    """Tell a run from a folder that a person put beside it, such as a copy of one."""
    return path.name[len("2026-11-22-") :].isdecimal()


def newest_unfinished(folder: Path) -> Run | None:
    """Return the newest run when it was interrupted after its plan was written, else None."""
    runs = list_runs(folder)
    if runs and not runs[-1].is_finished and (runs[-1].folder / "plan.json").is_file():
        return runs[-1]
    return None


def find_adapter(folder: Path) -> tuple[Run, Adapter] | None:
    """Return the newest finished run and its adapter, or None when nothing was trained yet."""
    finished = [run for run in list_runs(folder) if run.is_finished]
    return (finished[-1], finished[-1].adapter()) if finished else None


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
