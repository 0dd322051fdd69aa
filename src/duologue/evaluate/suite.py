"""`load_suite`: a TOML file that says what is looked at, with which seeds and by which evaluators."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from duologue.errors import ConfigError
from duologue.evaluate.evaluators import EVALUATORS

_MOST = 100_000
SUITES = ("quick", "standard", "thorough")
"""Suites that ship with duologue."""


@dataclass(frozen=True, slots=True)
class Suite:
    """What an evaluation looks at.

    Attributes:
        name: Of the suite.
        version: Raised whenever what it looks at changes.
        digest: SHA-256 of its file and of those it names: equal when the same is looked at.
        answers_prompts: The prompts of `[evaluation]` are answered with the most likely tokens.
        seeds: Each dialogue is had once with each of them.
        num_held_out_cases: Held-out conversations that are gone through.
        num_turns: Turns of each, at most.
        max_new_tokens: Longest reply; 0 is `generation.max_new_tokens`.
        num_train_samples: Trained examples that are scored.
        scores_general: Running text is scored that has nothing to do with the character.
        num_prefix_cases: Beginnings of trained replies that a model is let go on with.
        has_safety_cases: The guard's frozen table is put to the models.
        speed_lengths: Lengths of context, in tokens, at which speed is measured.
        case_texts: Text of the files with written cases, by name.
        evaluators: Version that the suite was written for, by name.
    """

    name: str
    version: int
    digest: str
    answers_prompts: bool = False
    seeds: tuple[int, ...] = ()
    num_held_out_cases: int = 0
    num_turns: int = 3
    max_new_tokens: int = 0
    num_train_samples: int = 0
    scores_general: bool = False
    num_prefix_cases: int = 0
    has_safety_cases: bool = False
    speed_lengths: tuple[int, ...] = ()
    case_texts: Mapping[str, str] = field(default_factory=dict)
    evaluators: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_dialogues(self) -> bool:
        """Whether the models talk, so that the conversations of the data are needed."""
        return bool(self.seeds)

    def as_json(self) -> dict[str, Any]:
        """Return what names the suite in a result."""
        return {"name": self.name, "version": self.version, "digest": self.digest}


def load_suite(wanted: str) -> Suite:
    """Return a suite.

    Args:
        wanted: The name of one that ships with duologue, or a file.

    Raises:
        ConfigError: There is none, or it has faults; all are told together.
    """
    root: Any = resources.files("duologue.evaluate.suites")
    is_shipped = wanted in SUITES
    path: Any = root / f"{wanted}.toml" if is_shipped else Path(wanted)
    if not path.is_file():
        raise ConfigError(
            f"there is no suite '{wanted}'", where="--suite", needed=f"{', '.join(SUITES)} or a file (.toml)"
        )
    where = path.name if is_shipped else str(path)
    text = _read(path, where)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"this is no TOML ({error})", where=where) from error
    faults: list[str] = []
    values = _values(document, faults)
    texts: dict[str, str] = {}
    for name in values.pop("cases", ()):
        near = root / name if is_shipped else Path(wanted).parent / name
        if near.is_file():
            texts[name] = _read(near, str(near))
        else:
            faults.append(f"cases: there is no file '{name}' beside it")
    if faults:
        raise ConfigError(f"{len(faults)} fault{'s' * (len(faults) > 1)}: {'; '.join(faults)}", where=where)
    digest = hashlib.sha256("\0".join([text, *texts.values()]).encode()).hexdigest()
    return Suite(digest=digest, case_texts=texts, **values)


def _read(path: Any, where: str) -> str:  # noqa: ANN401  a file on the disk or in the package
    try:
        text: str = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the file cannot be read ({error})", where=where) from error
    return text


def _values(document: Mapping[str, Any], faults: list[str]) -> dict[str, Any]:
    """Return the values of a suite's file; what is wrong with them is put into `faults`."""
    checks: dict[str, Any] = {
        "name": ("a text", lambda value: isinstance(value, str) and value.strip() != ""),
        "version": ("a whole number from 1", lambda value: _is_count(value) and value >= 1),
        "seeds": ("a list of whole numbers from 0", _are_counts),
        "speed_lengths": ("a list of whole numbers from 1", lambda value: _are_counts(value) and 0 not in value),
        "cases": (
            "a list of file names",
            lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
        ),
        "evaluators": ("a table of names and versions", lambda value: isinstance(value, dict)),
    }
    checks |= dict.fromkeys(
        ("num_held_out_cases", "num_turns", "max_new_tokens", "num_train_samples", "num_prefix_cases"),
        ("a whole number from 0", _is_count),
    )
    checks |= dict.fromkeys(
        ("answers_prompts", "scores_general", "has_safety_cases"),
        ("true or false", lambda value: isinstance(value, bool)),
    )
    values: dict[str, Any] = {}
    for name, value in document.items():
        if name not in checks:
            faults.append(f"{name}: there is no such field; known are {', '.join(sorted(checks))}")
        elif not checks[name][1](value):
            faults.append(f"{name}: found {value!r}, needed {checks[name][0]}")
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    faults.extend(f"{name}: is missing" for name in ("name", "version") if name not in document)
    for name, version in values.get("evaluators", {}).items():
        if name not in EVALUATORS:
            faults.append(f"evaluators.{name}: there is no such evaluator; known are {', '.join(EVALUATORS)}")
        elif not _is_count(version):
            faults.append(f"evaluators.{name}: found {version!r}, needed a version, such as 1")
    cases = ("num_held_out_cases", "cases", "num_prefix_cases", "has_safety_cases")
    needs_seeds = any(values.get(name) for name in cases)
    if needs_seeds and not values.get("seeds"):
        faults.append("seeds: is missing; dialogues are had once with each seed")
    return values


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


def _are_counts(value: object) -> bool:
    return isinstance(value, list) and all(_is_count(item) for item in value)
