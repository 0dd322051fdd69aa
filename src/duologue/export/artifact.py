"""What an export made, and the label it carries so that a later export may replace it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from duologue.engine import Onto, Parity
from duologue.files import write_whole

LABEL = "duologue-export.json"
CARD = "README.md"
_WEIGHTS = (".safetensors", ".gguf")


@dataclass(frozen=True, slots=True)
class Artifact:
    """An export: a folder with its label, or one file.

    Attributes:
        path: The folder or file.
        sha256: Digest of every file in it by name, the label left out.
        parity: How near it is to the adapter on the base it was trained on; None where there is nothing to compare.
        onto: Which weights of the base the adapter was folded onto; None where it was not.
        more: What else there is to say of it, as JSON.
    """

    path: Path
    sha256: dict[str, str]
    parity: Parity | None = None
    onto: Onto | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the artifact as JSON."""
        return {"path": str(self.path), "sha256": self.sha256, **_said(self.parity, self.onto, self.more)}


def write_label(
    folder: Path,
    *,
    parity: Parity | None = None,
    onto: Onto | None = None,
    more: dict[str, Any] | None = None,
    known: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Write the label of a finished export beside its files and return their digests.

    Args:
        folder: The export.
        parity: How near it is to what was trained.
        onto: Which weights of the base the adapter was folded onto.
        more: What else there is to say of it.
        known: Digests of files that have not changed since they were read.
    """
    present = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    digests = {name: (known or {}).get(name) or sha256_of(path) for name, path in present.items() if path.name != LABEL}
    document = {"format": 1, "sha256": digests, **_said(parity, onto, more or {})}
    write_whole(folder / LABEL, json.dumps(document, indent=2) + "\n")
    return digests


def read_label(folder: Path) -> dict[str, Any] | None:
    """Return the label of an export, or None where there is none that can be read."""
    try:
        document = json.loads((folder / LABEL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict) or not isinstance(document.get("sha256"), dict):
        return None
    return document


def foreign_files(folder: Path) -> tuple[str, ...]:
    """Return the files in a folder that no export of ours put there, and those that a person has edited since.

    Weights are told by their name alone: reading tens of GiB to see that they are ours would take minutes.
    """
    label = read_label(folder)
    if label is None:
        return tuple(sorted(path.name for path in folder.iterdir()))
    digests: dict[str, str] = label["sha256"]
    present = sorted(path for path in folder.rglob("*") if not path.is_dir())
    names = [path.relative_to(folder).as_posix() for path in present]
    foreign = [name for name in names if name not in digests and name != LABEL]
    readable = [name for name in names if name in digests and not name.endswith(_WEIGHTS)]
    return (*foreign, *(name for name in readable if not _is_file_of(folder / name, digests[name])))


def _is_file_of(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_of(path) == digest


def sha256_of(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _said(parity: Parity | None, onto: Onto | None, more: dict[str, Any]) -> dict[str, Any]:
    folded = {"onto": onto} if onto else {}
    return {"parity": parity.as_json() if parity else None, **folded, **more}
