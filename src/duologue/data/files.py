"""Which files a folder's configuration names."""

from collections.abc import Iterable
from pathlib import Path

from duologue.errors import DataError


def resolve_files(patterns: Iterable[str], folder: Path) -> tuple[Path, ...]:
    """Return the files that `data.train` names, glob patterns expanded, sorted within a pattern.

    Raises:
        DataError: A pattern matches nothing.
    """
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern)
        base, relative = (Path(path.anchor), str(path.relative_to(path.anchor))) if path.anchor else (folder, pattern)
        is_glob = any(sign in pattern for sign in "*?[")
        matches = sorted(base.glob(relative)) if is_glob else [base / relative]
        matches = [match for match in matches if match.is_file()] if is_glob else matches
        if not matches:
            raise DataError(
                f"no file matches '{pattern}'", where=str(folder), action="Put your conversations there or name them."
            )
        found += [match for match in matches if match not in found]
    return tuple(found)
