"""Imports go down, heavy libraries stay in their rooms, and the quick commands stay quick."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODEL_LIBRARIES = {"torch", "transformers", "peft", "bitsandbytes", "accelerate", "xllamacpp"}
HEAVY_LIBRARIES = MODEL_LIBRARIES | {"gradio", "fastapi", "uvicorn", "matplotlib", "httpx"}
LIGHT_ROOMS = ("chat", "memory", "plan", "data", "guard", "store", "engine", "config", "characters", "prompt")
OFFERING_PARTS = (
    *("chat.exchange", "chat.feedback", "data.formats", "engine.embed", "export.hub", "serve.door", "train.search"),
)


def lint_imports(folder: Path, source: Path) -> subprocess.CompletedProcess[str]:
    run = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", run, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )


def loaded_after(code: str) -> tuple[set[str], str]:
    """Run code in a fresh interpreter; return the top-level modules it loaded and what it printed."""
    report = f"{code}\nimport sys\nprint('\\nLOADED', *{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    printed, _, modules = done.stdout.rpartition("LOADED ")
    return set(modules.split()), printed


def command(*arguments: str) -> str:
    return (
        f"import sys\nsys.argv = ['duologue', *{arguments!r}]\nfrom duologue.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )


def test_the_import_contracts_hold(repository):
    done = lint_imports(repository, repository / "src")

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("errors.py", "def f() -> None:\n    from duologue.cli import main  # noqa\n", "Rooms import downwards only"),
        ("plan/__init__.py", "import duologue.memory\n", "Rooms import downwards only"),
        ("data/__init__.py", "import torch\n", "Model libraries only in engine.hf"),
        ("chat/__init__.py", "import gradio\n", "Web libraries only in serve"),
    ],
    ids=["upward in a function", "sideways", "torch outside its room", "gradio outside its room"],
)
def test_a_planted_import_breaks_its_contract(repository, tmp_path, module, line, broken):
    shutil.copytree(
        repository / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.json", "*.png", "*.egg-info")
    )
    shutil.copy(repository / "pyproject.toml", tmp_path)
    with (tmp_path / "src/duologue" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}")

    done = lint_imports(tmp_path, tmp_path / "src")

    assert done.returncode == 1
    assert f"{broken} BROKEN" in " ".join(done.stdout.split())


def test_nothing_is_imported_from_the_inside_of_another_room(repository):
    """A part of a room with an offer of its own counts as a room: what it names in `__all__` is for others."""
    source = repository / "src" / "duologue"
    rooms = {path.parent.name for path in source.glob("*/__init__.py")}
    inside = []
    for path in source.rglob("*.py"):
        own = path.relative_to(source).parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                parts = name.split(".")
                if ".".join(parts[1:]) in OFFERING_PARTS:
                    continue
                if parts[0] == "duologue" and len(parts) > 2 and parts[1] in rooms and parts[1] != own:
                    inside.append(f"{path.relative_to(source)} imports {name}")

    assert inside == []


@pytest.mark.parametrize("room", LIGHT_ROOMS)
def test_a_light_room_loads_no_heavy_library(room):
    loaded, _ = loaded_after(f"import duologue.{room}")

    assert loaded & HEAVY_LIBRARIES == set()


def test_help_loads_no_heavy_library():
    loaded, printed = loaded_after(command("--help"))

    assert "demo" in printed
    assert loaded & HEAVY_LIBRARIES == set()


def test_plan_loads_no_heavy_library():
    loaded, printed = loaded_after(command("plan", "--recipe", "quickstart", "--json"))

    assert json.loads(printed)["verdict"] in ("fits", "tight", "no")
    assert loaded & HEAVY_LIBRARIES == set()
