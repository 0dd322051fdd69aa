"""What the exports that run elsewhere share: settings as TOML, and the files that settings name."""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from duologue.config import Config
from duologue.engine.embed import MODULE as EMBEDDER
from duologue.errors import ConfigError

_EMBEDDER_FILES = ("model.safetensors", "tokenizer.json", "README.md")  # the last one has its licence


def toml_lines(values: dict[str, Any]) -> Iterable[str]:
    """Yield the lines of a section."""
    for key, value in values.items():
        if isinstance(value, dict):
            inner = ", ".join(f"{_literal(k)} = {_literal(v)}" for k, v in value.items())
            yield f"{key} = {{{inner}}}"
        else:
            yield f"{key} = {_literal(value)}"


def changed(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a section that are not the defaults."""
    return {key: value for key, value in values.items() if value != defaults[key]}


def file_within(folder: Path, path: str) -> Path:
    """Return a file that the settings of a character name.

    Raises:
        ConfigError: It is missing, lies outside the folder, or is named by where it lies on this machine.
    """
    source = (folder / path).resolve()
    if not source.is_file():
        raise ConfigError("there is no such file", where=str(folder / path))
    if not source.is_relative_to(folder.resolve()):
        raise ConfigError(
            "the file lies outside the character's folder",
            where=path,
            action="Move it into the folder, and name it there in duologue.toml.",
        )
    return source


def embedder_files(config: Config) -> Iterator[tuple[str, Path]]:
    """Yield the files that memory compares meanings with, at the place where the program finds them."""
    spec = find_spec(EMBEDDER) if config.memory.enabled and config.memory.embedder != "none" else None
    for folder in (spec.submodule_search_locations if spec else None) or ():
        for name in _EMBEDDER_FILES:
            if (file := Path(folder) / "model" / name).is_file():
                yield f"{EMBEDDER}/model/{name}", file


def copy_issuers(issuers: Sequence[str], folder: Path, *, seen_at: str) -> list[str]:
    """Copy the certificates of those who prove ages; return their names where they arrive.

    Args:
        issuers: `age.trusted_issuers`.
        folder: What they are copied into, in a folder of their own.
        seen_at: What `folder` is called where the server is started.

    Raises:
        ConfigError: One is missing.
    """
    arrived = []
    for number, path in enumerate(issuers, start=1):
        source = Path(path)
        if not source.is_file():
            raise ConfigError("there is no such file", where=f"age.trusted_issuers: {path}")
        (folder / "issuers").mkdir(exist_ok=True)
        name = f"issuers/{number}-{source.name}"  # two authorities may both call theirs root.pem
        shutil.copyfile(source, folder / name)
        arrived.append(f"{seen_at}/{name}")
    return arrived


def check_judge(judge: str, *, needed: str) -> None:
    """Check that a judge model can be loaded elsewhere.

    Raises:
        ConfigError: It is a file or folder of this machine.
    """
    if judge and "://" not in judge and is_of_this_machine(judge):
        raise ConfigError(
            f"the judge '{judge}' is a file or folder of this machine", where="guard.judge", needed=needed
        )


def is_of_this_machine(name: str) -> bool:
    """Whether the name of a model is that of a file or folder."""
    return name.endswith(".gguf") or Path(name).is_absolute() or name.startswith((".", "~")) or Path(name).exists()


def _literal(value: object) -> str:
    """Return a JSON value as TOML: texts, numbers, truths and lists are written alike, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
