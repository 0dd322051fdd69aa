"""Nothing turns the root tier off: no key of a configuration, no environment variable, no option, no fault of ours."""

import ast
import contextlib
import inspect
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest
import typer.main
from pydantic import BaseModel, ValidationError

from duologue.cli.app import make_app
from duologue.config import Config, Home
from duologue.errors import GuardError
from duologue.guard import RATINGS, ContentPolicy, policy, scene
from tests.guard.table import FROZEN, is_refused

SOURCE = Path(inspect.getfile(policy)).parents[1]
ONE_OF_EACH = [scenes[0] for scenes in FROZEN["caught"].values()]
EXTREMES: tuple[Any, ...] = (False, True, 0, 1, -1, 64, 2**31, 0.0, 0.5, 1e9, "", "text", "off", "none", (), ("text",))


def root_holds(rating: str) -> bool:
    return all(is_refused(case, rating) for case in ONE_OF_EACH)


@pytest.mark.parametrize("model", [Config, Home])
def test_no_value_of_any_key_changes_a_verdict(model: type[BaseModel]) -> None:
    seen: dict[str, set[str]] = {}
    num_configs = 0
    for key, config in every_config_with_one_changed_value(model):
        seen.setdefault(key, set()).add(config.guard.rating)
        num_configs += 1
    assert num_configs > (300 if model is Config else 60)
    assert len(seen) > (90 if model is Config else 20)  # nearly every key took at least one value
    ratings = set().union(*seen.values())
    assert ratings == set(RATINGS)  # all that a configuration can hand to the policy
    assert all(root_holds(rating) for rating in ratings)


def test_the_policy_takes_a_rating_and_nothing_else() -> None:
    assert list(inspect.signature(ContentPolicy).parameters) == ["rating"]
    assert list(inspect.signature(ContentPolicy.check).parameters) == ["self", "texts", "where"]


@pytest.mark.parametrize("rating", ["", "off", "ADULT", "root", "unrated", "adult ", "none"])
def test_a_rating_that_is_none_refuses_as_well(rating: Any) -> None:
    assert root_holds(rating)
    assert is_refused(["zqflag"], rating)  # what is not known is not the loosest


def test_no_environment_variable_that_is_read_changes_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    names = environment_names()
    assert len(names) >= 3
    names |= {f"DUOLOGUE_{word}" for word in ("UNSAFE", "RATING", "GUARD", "DEBUG", "NSFW", "ADULT")}
    for value in ("1", "off"):
        for name in names - {"PATH", "HOME", "TMPDIR"}:
            monkeypatch.setenv(name, value)
        scene.forget_kept()
        assert root_holds("adult"), value


def test_the_rules_read_no_file_no_setting_and_no_environment() -> None:
    """What decides is code: the modules of the rules name nothing that could let a setting in."""
    modules = (
        "policy",
        "scene",
        "signals",
        "ages",
        "written_ages",
        "numbers",
        "family",
        "weapons",
        "vocabulary",
        "fold",
    )
    for module in modules:
        tree = ast.parse((SOURCE / "guard" / f"{module}.py").read_text(encoding="utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        foreign = {name for name in imported if name.split(".")[0] not in HARMLESS_MODULES}
        assert foreign <= {"duologue.errors"} | {f"duologue.guard.{name}" for name in modules} | {"duologue.guard"}
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"open", "eval", "exec", "__import__", "globals"}


HARMLESS_MODULES = {"collections", "dataclasses", "functools", "itertools", "re", "typing", "unicodedata"}


def test_no_command_has_an_option_about_the_limits() -> None:
    words = ("unsafe", "nsfw", "adult", "policy", "guard", "filter", "rating", "safety", "moderation", "uncensored")
    found = [
        f"{name} {option}"
        for name, command in commands(typer.main.get_command(make_app()))
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts, parameter.envvar or "")
        if any(word in str(option).lower() for word in words)
    ]
    assert found == []


@pytest.mark.parametrize("fault", [RuntimeError("bug"), RecursionError(), MemoryError(), KeyError("x"), ValueError()])
def test_a_fault_of_ours_refuses(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    def fail(_: Any) -> None:
        raise fault

    monkeypatch.setattr(scene, "find_heat", fail)
    for rating in RATINGS:
        with pytest.raises(GuardError, match="could not be checked") as caught:
            ContentPolicy(rating).check(["zqhint"], where="message")
        assert caught.value.reason == "content_policy"


def test_a_scene_that_is_too_long_to_check_is_refused() -> None:
    long = ["a" * 400] * (policy.MAX_SCENE_CHARS // 400)
    ContentPolicy("adult").check(long, where="scene")
    with pytest.raises(GuardError, match="too many to check"):
        ContentPolicy("adult").check([*long, "one more"], where="scene")


# ------------------------------------------------------------------------------------------------------------- walking


def every_config_with_one_changed_value(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    plain: dict[str, Any] = {"model": {"base": "any"}, "data": {"train": ["any.json"]}} if model is Config else {}
    for section, section_field in model.model_fields.items():
        for key, field in section_field.annotation.model_fields.items():  # type: ignore[union-attr]
            for value in (*literals(field.annotation), *EXTREMES):
                tree = {**plain, section: {**plain.get(section, {}), key: value}}
                with contextlib.suppress(ValidationError):
                    yield f"{section}.{key}", model.model_validate(tree)


def literals(annotation: object) -> Iterator[object]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif get_origin(annotation) is Union or get_args(annotation):
        yield from itertools.chain.from_iterable(map(literals, get_args(annotation)))


def environment_names() -> set[str]:
    """Return every name that the source asks the environment for."""
    names: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv", "environ.get"):
                names |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("os.environ", "environ"):
                names |= {node.slice.value} if isinstance(node.slice, ast.Constant) else set()
            if isinstance(node, ast.Call):
                names |= {
                    str(keyword.value.value)
                    for keyword in node.keywords
                    if keyword.arg == "envvar" and isinstance(keyword.value, ast.Constant)
                }
    return {name for name in names if isinstance(name, str)}


def commands(command: Any, name: str = "duologue") -> Iterator[tuple[str, Any]]:
    yield name, command
    for child in getattr(command, "commands", {}).values():
        yield from commands(child, f"{name} {child.name}")
