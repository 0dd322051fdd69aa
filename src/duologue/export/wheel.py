"""`write_wheel`: the running duologue as one installable file, so that an image or a Space gets exactly this version.

The format is PEP 427. The same program gives the same bytes, from its source tree and from an installation.
"""

import base64
import hashlib
import re
import stat
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import duologue
from duologue.errors import ConfigError, EngineError
from duologue.files import replacing

_NAME = "duologue"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip file can say
# What a source tree holds beside the package and an image is built with; in a wheel it lies in the package.
_OUTSIDE = ("deploy", "requirements")
_INSIDE = "export/image"
_PACKAGE = Path(duologue.__file__).parent


def write_wheel(folder: Path) -> Path:
    """Write a wheel of the running duologue into `folder` and return its path.

    It holds the package, its metadata with every dependency at its version, and the files an image is built with
    (`deploy/` and the locked `requirements/`), so that an installation of it can make the same exports.

    Args:
        folder: Where it goes; made if missing. A wheel of the same name is replaced.

    Raises:
        ConfigError: duologue runs neither from its source tree nor from an installation.
        EngineError: The wheel cannot be written.
    """
    about = f"{_NAME}-{duologue.__version__}.dist-info"
    files = {f"{_NAME}/{name}": path.read_bytes() for name, path in _package_files().items()}
    files |= {f"{_NAME}/{_INSIDE}/{name}": path.read_bytes() for name, path in image_files().items()}
    files = dict(sorted(files.items()))
    files |= {f"{about}/{name}": content for name, content in _metadata_files().items()}
    files[f"{about}/RECORD"] = _record(files, own_name=f"{about}/RECORD")
    wheel = folder / f"{_NAME}-{duologue.__version__}-py3-none-any.whl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Stored, not deflated: two builds of zlib need not give the same bytes.
        with replacing(wheel) as partial, zipfile.ZipFile(partial, "w", compression=zipfile.ZIP_STORED) as archive:
            for name, content in files.items():
                entry = zipfile.ZipInfo(name, date_time=_EPOCH)
                entry.create_system = 3  # Unix, on every system
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                archive.writestr(entry, content)
    except OSError as error:
        raise EngineError(
            f"the wheel of duologue cannot be written ({error.strerror})",
            where=str(folder),
            action="Free some disk space or choose another folder.",
        ) from error
    return wheel


def image_files() -> dict[str, Path]:
    """Return the files an image is built with by name: `deploy/…` and `requirements/…`; none if they are not here."""
    tree = _source_tree()
    root = tree or _PACKAGE / _INSIDE
    return {f"{part}/{name}": path for part in _OUTSIDE for name, path in _files(root / part)}


def _package_files() -> dict[str, Path]:
    return {name: path for name, path in _files(_PACKAGE) if not name.startswith(f"{_INSIDE}/")}


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every file that belongs to the program, without what Python or an editor leaves beside it."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        is_left_over = path.suffix in {".pyc", ".pyo"} or path.name.endswith(("~", ".partial"))
        if path.is_file() and not is_left_over and not any(_is_cache(part) for part in parts):
            yield "/".join(parts), path


def _is_cache(name: str) -> bool:
    return name == "__pycache__" or name.startswith(".")


def _source_tree() -> Path | None:
    """Return the root of the source tree this program runs from, or None for an installed one."""
    root = _PACKAGE.parents[1]
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return None
    return root if project.get("name") == _NAME and root / "src" / _NAME == _PACKAGE else None


def _metadata_files() -> dict[str, bytes]:
    root = _source_tree()
    about, scripts, licence = _metadata_of_tree(root) if root else _metadata_of_installation()
    lines = ["Metadata-Version: 2.4", f"Name: {_NAME}", f"Version: {duologue.__version__}"]
    lines += [f"{key}: {value}" for key, value in about]
    points = ["[console_scripts]", *(f"{name} = {target}" for name, target in sorted(scripts.items()))]
    wheel = ["Wheel-Version: 1.0", f"Generator: {_NAME} {duologue.__version__}", "Root-Is-Purelib: true"]
    return {
        "METADATA": _text(lines),
        "WHEEL": _text([*wheel, "Tag: py3-none-any"]),
        "entry_points.txt": _text(points),
        "licenses/LICENSE": licence,
    }


def _metadata_of_tree(root: Path) -> tuple[list[tuple[str, str]], dict[str, str], bytes]:
    project: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = _about(
        summary=project["description"],
        licence=project["license"],
        python=project["requires-python"],
        requirements=project["dependencies"],
    )
    return about, project["scripts"], (root / "LICENSE").read_bytes()


def _metadata_of_installation() -> tuple[list[tuple[str, str]], dict[str, str], bytes]:
    try:
        installed = metadata.distribution(_NAME)
        if installed.version != duologue.__version__:
            raise metadata.PackageNotFoundError(_NAME)
        licence = next(path for path in installed.files or () if path.name == "LICENSE")
    except (metadata.PackageNotFoundError, StopIteration) as error:
        raise ConfigError(
            "duologue runs neither from its source tree nor from an installation of this version",
            where=str(_PACKAGE),
            action="Install it (make install in the source tree), and run that duologue.",
        ) from error
    head = installed.metadata
    about = _about(
        summary=head["Summary"],
        licence=head["License-Expression"],
        python=head["Requires-Python"],
        requirements=head.get_all("Requires-Dist") or [],
    )
    scripts = {point.name: point.value for point in installed.entry_points if point.group == "console_scripts"}
    return about, scripts, Path(str(licence.locate())).read_bytes()


def _about(*, summary: str, licence: str, python: str, requirements: list[str]) -> list[tuple[str, str]]:
    """Return the fields in one order and spelling, wherever they were read."""
    bounds = sorted(re.sub(r"\s+", "", bound) for bound in python.split(","))
    return [
        ("Summary", summary),
        ("License-Expression", licence),
        ("License-File", "LICENSE"),
        ("Requires-Python", ",".join(bounds)),
        *(("Requires-Dist", requirement) for requirement in sorted(requirements)),
    ]


def _record(files: dict[str, bytes], *, own_name: str) -> bytes:
    lines = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    return _text([*lines, f"{own_name},,"])


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode("ascii")


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
