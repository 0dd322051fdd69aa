"""What users rely on changes only on purpose: config keys, the command line, the public names of every room.

When a change is meant: `python scripts/make_docs.py --freeze`, and a line in CHANGELOG.md.
"""

import importlib
import importlib.util
import inspect
import json
from types import ModuleType

import pytest

ROOMS = (
    "characters",
    "chat",
    "cli",
    "config",
    "data",
    "engine",
    "evaluate",
    "export",
    "guard",
    "memory",
    "plan",
    "prompt",
    "serve",
    "store",
    "train",
)


@pytest.fixture(scope="module")
def make_docs(request: pytest.FixtureRequest) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_docs", request.config.rootpath / "scripts" / "make_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["config.md", "cli.md"])
def test_a_reference_page_says_what_the_code_says(make_docs, name):
    path = make_docs.REFERENCE / name

    assert path.read_text(encoding="utf-8") == make_docs.pages()[path], "run: make docs"


def test_the_config_schema_is_the_frozen_one(make_docs, repository):
    frozen = json.loads((repository / "tests/house/config_schema.json").read_text(encoding="utf-8"))

    assert make_docs.json_schema() == frozen


def test_the_command_line_is_the_frozen_one(make_docs, repository):
    frozen = (repository / "tests/house/command_line.txt").read_text(encoding="utf-8")

    assert make_docs.command_line().splitlines() == frozen.splitlines()


def test_every_command_takes_json(make_docs):
    without = [
        name
        for name, command, _ in make_docs.commands()
        if not hasattr(command, "commands") and not any("--json" in param.opts for param in command.params)
    ]

    assert without == []


def test_every_command_and_option_is_explained(make_docs):
    for name, command, _ in make_docs.commands():
        assert command.help, name
        for param in command.params:
            assert param.help, f"{name} {param.name}"


def test_the_rooms_offer_exactly_the_frozen_names(make_docs, repository):
    frozen = json.loads((repository / "tests/house/public_names.json").read_text(encoding="utf-8"))

    assert tuple(frozen) == ROOMS
    assert make_docs.public_names() == frozen


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_exists_and_is_documented(room):
    module = importlib.import_module(f"duologue.{room}")

    assert module.__doc__
    for name in module.__all__:
        offered = getattr(module, name)
        is_ours = getattr(offered, "__module__", "").startswith("duologue")
        if is_ours and (inspect.isclass(offered) or inspect.isfunction(offered)):
            assert offered.__doc__, f"{room}.{name}"
