"""Runs `duologue` in this process, or as a child where signals matter."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from duologue.cli import main

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """`duologue` with captured output."""

    monkeypatch: pytest.MonkeyPatch
    capfd: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object) -> Ended:
        """Run one command in this process."""
        self.monkeypatch.setattr(sys, "argv", ["duologue", *map(str, arguments)])
        self.capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self.capfd.readouterr()
        return Ended(int(ended.value.code or 0), out, err)


def start(*arguments: object, cwd: Path, terminal: int | None = None) -> subprocess.Popen[str]:
    """Start a command as a child process, at a terminal when one is given."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "duologue", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        text=True,
        stdin=subprocess.PIPE if terminal is None else terminal,
        stdout=subprocess.PIPE if terminal is None else terminal,
        stderr=subprocess.PIPE if terminal is None else subprocess.DEVNULL,
    )
