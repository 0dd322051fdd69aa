"""The notebook runs from top to bottom, and the file in the repository carries no outputs."""

import importlib.metadata
import importlib.util
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "duologue.ipynb"
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

QUICK = [
    *("training.max_steps=3", "data.max_length_tokens=192", "data.validation_fraction=0.02"),
    *('evaluation.prompts=["Hello."]', "evaluation.max_new_tokens=8", "training.num_sample_replies=0"),
]


def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_valid_and_carries_no_outputs() -> None:
    found = notebook()
    nbformat.validate(found)
    cells = [cell for cell in found.cells if cell.cell_type == "code"]
    assert not [cell.id for cell in cells if cell.outputs or cell.execution_count is not None]


def test_the_notebook_waits_for_nobody_and_uses_public_names_only() -> None:
    source = "\n".join(cell.source for cell in notebook().cells if cell.cell_type == "code")
    assert "input(" not in source
    lines = [line for line in source.splitlines() if line.startswith(("from duologue", "import duologue"))]
    assert lines
    assert all(line.split()[1].count(".") <= 1 for line in lines)


def _keep_in(commands: list[list[str]]) -> Callable[..., None]:
    def keep(command: list[str], *, check: bool) -> None:
        assert check
        commands.append(command)

    return keep


def test_the_notebook_installs_duologue_and_the_bundled_models_on_a_fresh_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: iter(()))
    monkeypatch.setattr(subprocess, "run", _keep_in(commands))
    cell = next(cell for cell in notebook().cells if cell.id == "install")
    exec(cell.source, {"SOURCE": "duologue.whl"})
    pinned = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["dependency-groups"]["bundled"]
    packages = [command[command.index("--quiet") + 1 :] for command in commands]
    assert packages[0] == ["duologue.whl"]
    assert packages[1][0] == "--no-deps"
    assert sorted(packages[1][1:]) == sorted(pinned)


def test_the_notebook_asks_pip_for_nothing_where_all_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", _keep_in(commands))
    cell = next(cell for cell in notebook().cells if cell.id == "install")
    exec(cell.source, {"SOURCE": ""})
    assert commands == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    found = notebook()
    settings = next(cell for cell in found.cells if cell.id == "settings")
    assert "SETTINGS = []" in settings.source
    settings.source = settings.source.replace("SETTINGS = []", f"SETTINGS = {QUICK}")
    client = NotebookClient(found, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    said = {
        cell.id: "".join(output.get("text", "") for output in cell.outputs)
        for cell in found.cells
        if cell.cell_type == "code"
    }
    assert "duologue is here" in said["install"]
    assert said["talk"].strip()
    watched = next(cell for cell in found.cells if cell.id == "watch")
    assert any("image/png" in output.get("data", {}) for output in watched.outputs)
    assert (tmp_path / "lila" / "exports" / "lila.charx").is_file()
