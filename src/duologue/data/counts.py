"""Token counts of a folder's data, kept beside its prepared data: the next plan need not read the data again."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from duologue.characters import Character
from duologue.config import Config
from duologue.data.account import DataStats
from duologue.data.cache import CACHE_FOLDER, cache_key, file_sha256
from duologue.data.files import resolve_files
from duologue.files import write_whole

_FILE = "counts.json"


def counted_stats(config: Config, folder: Path, character: Character) -> tuple[DataStats, bool]:
    """Return the token counts of a character's folder and whether a tokenizer counted them.

    Exact ones are known once the data was prepared (by `train` or `plan --probe`) and has not changed since; else they
    are estimated from the text lengths, once.

    Raises:
        DataError: As `load_splits`.
    """
    paths = resolve_files(config.data.train, folder)
    parts = deciding_parts({str(path): file_sha256(path) for path in paths}, config, character)
    known = _read(folder / CACHE_FOLDER / _FILE, key=cache_key(parts))
    if known is not None:
        return known
    from duologue.data.estimate import estimate_stats  # these bring all the steps of reading
    from duologue.data.load import load_splits

    stats = estimate_stats(load_splits(config, folder), config, character)
    keep_counts(stats, folder, parts, is_exact=False)
    return stats, False


def keep_counts(stats: DataStats, folder: Path, parts: Mapping[str, Any], *, is_exact: bool) -> None:
    """Write the counts; a folder that cannot be written costs the next plan a second, nothing else.

    Args:
        stats: The counts.
        folder: The character's folder.
        parts: As `deciding_parts` returns them.
        is_exact: Whether a tokenizer counted.
    """
    document = {"key": cache_key(parts), "is_exact": is_exact, "stats": asdict(stats)}
    path = folder / CACHE_FOLDER / _FILE
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(document))


def deciding_parts(hashes: Mapping[str, str], config: Config, character: Character) -> dict[str, Any]:
    """Return what decides the prepared data besides the code and the tokenizer, as JSON values.

    Args:
        hashes: SHA-256 of each file, in the order they are read.
        config: The folder's.
        character: Whose card is in front of every conversation.
    """
    return {
        "files": list(hashes.items()),
        "data": config.data.model_dump(mode="json"),
        "seed": config.run.seed,
        "rating": config.guard.rating,
        "base": config.model.base,
        "user_name": config.character.user_name,
        "card": config.character.card,
        "character": repr(character),
    }


def _read(path: Path, *, key: str) -> tuple[DataStats, bool] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["key"] != key:
            return None
        found = document["stats"]
        return DataStats(**{**found, "lengths": tuple(found["lengths"])}), bool(document["is_exact"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
