"""A folder that appears whole under its name, or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from duologue.errors import ConfigError, EngineError
from duologue.export.artifact import foreign_files


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yield a fresh folder beside the target; it gets the target's name once the block has ended.

    On any error, an interruption too, it is removed, and what had the name before is still there.

    Args:
        folder: Target; missing, empty, or an earlier export.

    Raises:
        ConfigError: The target holds files that are not an earlier export of ours.
        EngineError: The folder cannot be written.
    """
    target = folder.resolve()
    check_target(target)
    staging = target.with_name(f".{target.name}.export")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        yield staging
        check_target(target)  # the work may have taken minutes
        swap_in(staging, target)
    except OSError as error:
        raise not_written(folder, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_target(folder: Path) -> None:
    """Refuse a target whose files would be lost.

    Raises:
        ConfigError: It is a file, or holds files that are not an earlier export of ours.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError("there is a file of this name", where=str(folder), needed="a folder, new or empty")
    foreign = foreign_files(folder)
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise ConfigError(
            f"the folder holds files that would be lost: {', '.join(foreign[:3])}{more}",
            where=str(folder),
            needed="a new folder, an empty one, or an unchanged earlier export",
            action="Choose another folder, or move these files away.",
        )


def check_disk(parent: Path, num_bytes: float, *, what: str) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        parent: A folder on the disk.
        num_bytes: What is still to be written.
        what: What that is: `the merged weights in bfloat16`.

    Raises:
        EngineError: Less than that is free.
    """
    free = shutil.disk_usage(parent).free
    if free < num_bytes:
        raise EngineError(
            f"the disk has {free / 2**30:.2f} GiB free",
            where=str(parent),
            needed=f"{num_bytes / 2**30:.2f} GiB for {what}",
            action="Free some disk space or choose a folder on another disk.",
        )


def swap_in(staging: Path, target: Path) -> None:
    """Give the finished folder its name; what had the name before goes away afterwards.

    Raises:
        OSError: The folder cannot be renamed; what had the name before has it again.
    """
    replaced = target.with_name(f".{target.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if target.exists():
        os.replace(target, replaced)
    try:
        os.replace(staging, target)
    except OSError:
        if replaced.exists():
            os.replace(replaced, target)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def not_written(folder: Path, error: OSError) -> EngineError:
    """Return the error of an export that the disk did not take."""
    return EngineError(
        f"the export cannot be written ({error.strerror or error})",
        where=str(folder),
        action="Free some disk space or choose another folder.",
    )
