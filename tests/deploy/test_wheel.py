"""The wheel of the running duologue, opened by pip."""

import base64
import hashlib
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import duologue
from duologue.errors import ConfigError
from duologue.export import wheel as wheels
from duologue.export.wheel import image_files, write_wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip makes of the wheel, without what it depends on."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True)
    return target


def python(code: str, *, cwd: Path, installed: Path) -> str:
    """Run code with the installed package in front of every other."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, check=True, capture_output=True, text=True
    ).stdout


def test_pip_installs_it_and_the_program_runs_from_there(installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "duologue", "--version"]
    told = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    where = python("import duologue; print(duologue.__file__)", cwd=tmp_path, installed=installed)

    assert (told.returncode, told.stdout.strip()) == (0, f"duologue {duologue.__version__}")
    assert Path(where.strip()).is_relative_to(installed)
    assert (
        "duologue.cli:main" in (installed / f"duologue-{duologue.__version__}.dist-info/entry_points.txt").read_text()
    )
    assert (installed / "bin" / "duologue").is_file()


def test_the_same_program_gives_the_same_bytes(wheel, tmp_path):
    assert write_wheel(tmp_path).read_bytes() == wheel.read_bytes()


def test_an_installation_of_it_writes_the_same_wheel_again(wheel, installed, tmp_path):
    write = "from pathlib import Path; from duologue.export.wheel import write_wheel; print(write_wheel(Path('again')))"
    again = tmp_path / python(write, cwd=tmp_path, installed=installed).strip()

    assert again.read_bytes() == wheel.read_bytes()


def test_the_record_names_every_file_with_its_true_digest(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        record = f"duologue-{duologue.__version__}.dist-info/RECORD"
        rows = dict(line.split(",", 1) for line in archive.read(record).decode().splitlines())
        assert archive.testzip() is None
        assert sorted(rows) == sorted(names)
        for name in names:
            content = archive.read(name)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert rows[name] == ("," if name == record else f"sha256={digest},{len(content)}")


def test_it_asks_for_every_dependency_at_the_version_of_pyproject(wheel, repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with zipfile.ZipFile(wheel) as archive:
        head = archive.read(f"duologue-{duologue.__version__}.dist-info/METADATA").decode()

    asked = [line.removeprefix("Requires-Dist: ") for line in head.splitlines() if line.startswith("Requires-Dist")]
    assert asked == sorted(project["dependencies"])
    assert "Requires-Python: <3.14,>=3.11" in head


def test_it_holds_the_whole_package_and_what_an_image_is_built_with_and_nothing_else(wheel, repository):
    package = repository / "src" / "duologue"
    wanted = {
        f"duologue/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith((".partial", "~"))
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith("duologue-")}

    image = {name for name in names if name.startswith("duologue/export/image/")}
    assert names - image == wanted
    assert image == {f"duologue/export/image/{name}" for name in image_files()}
    assert {"requirements/lock.txt", "deploy/Dockerfile", "deploy/install.sh"} <= set(image_files())


def test_a_copy_that_is_neither_a_source_tree_nor_installed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "_PACKAGE", tmp_path / "src" / "duologue")
    monkeypatch.setattr(wheels.metadata, "distribution", missing)

    with pytest.raises(ConfigError, match="neither from its source tree nor from an installation"):
        write_wheel(tmp_path / "out")


def missing(name: str) -> None:
    raise wheels.metadata.PackageNotFoundError(name)
