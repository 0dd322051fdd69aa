"""What an export made, and the label it carries so that a later export may replace it."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duologue.engine import Onto, Parity

LABEL = "duologue-export.json"
CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Artifact:
    """An exported folder.

    Attributes:
        path: The folder.
        sha256: Digest of every file in it by name, the label left out.
        parity: How near it is to the adapter on the base it was trained on.
        onto: Which weights of the base the adapter was folded onto.
    """

    path: Path
    sha256: dict[str, str]
    parity: Parity
    onto: Onto

    def as_json(self) -> dict[str, Any]:
        """Return the artifact as JSON."""
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "parity": self.parity.as_json(),
            "onto": self.onto,
        }


def write_label(folder: Path, *, parity: Parity, onto: Onto) -> dict[str, str]:
    """Write the label of a finished export beside its files and return their digests."""
    digests = {
        path.relative_to(folder).as_posix(): _sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != LABEL
    }
    document = {"format": 1, "sha256": digests, "parity": parity.as_json(), "onto": onto}
    (folder / LABEL).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return digests


def foreign_files(folder: Path) -> tuple[str, ...]:
    """Return the files in a folder that no export of ours put there, and a model card a person has edited.

    Weights are told by their name alone: reading tens of GiB to see that they are ours would take minutes.
    """
    digests = _labelled(folder)
    if digests is None:
        return tuple(sorted(path.name for path in folder.iterdir()))
    present = sorted(path for path in folder.rglob("*") if not path.is_dir())
    names = [path.relative_to(folder).as_posix() for path in present]
    foreign = [name for name in names if name not in digests and name != LABEL]
    if CARD in names and CARD not in foreign and _sha256(folder / CARD) != digests[CARD]:
        foreign.append(CARD)
    return tuple(foreign)


def _labelled(folder: Path) -> dict[str, str] | None:
    try:
        document = json.loads((folder / LABEL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    digests = document.get("sha256") if isinstance(document, dict) else None
    return digests if isinstance(digests, dict) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
