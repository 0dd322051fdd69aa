"""The documents of a run that an export quotes."""

import json
from pathlib import Path
from typing import Any

from duologue.errors import EngineError


def read_document(path: Path) -> dict[str, Any]:
    """Return a document of the run's ledger, or nothing when the run does not have it.

    Raises:
        EngineError: It is damaged.
    """
    if not path.is_file():
        return {}
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"the ledger of the run cannot be read ({error})", where=str(path)) from error
    return document
