"""What a command prints: text for people, or one JSON document on stdout with everything else on stderr."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, everything else on stderr.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one value of duologue.toml.")
]


class Output:
    """Where text and results go."""

    def __init__(self, *, is_json: bool) -> None:
        """Open stdout for people, or stderr when stdout belongs to the JSON document."""
        self.is_json = is_json
        self.console = Console(stderr=is_json, highlight=False, soft_wrap=False)
        self.progress_console = Console(stderr=True, highlight=False)

    def say(self, text: RenderableType = "", *, style: str | None = None) -> None:
        """Print for people. Square brackets in a text stay as they are: file names and replies have them too.

        Where no terminal is, a line stays whole however long it is: a path that was cut in two is found by no program.
        """
        is_line = isinstance(text, str) and not self.console.is_terminal
        self.console.print(text, markup=False, style=style, soft_wrap=is_line)

    def say_to_paste(self, text: str, *, style: str | None = None) -> None:
        """Print a command for people to copy: one line, however long it is."""
        self.console.print(text, markup=False, style=style, soft_wrap=True)

    def title(self, text: str) -> None:
        """Print a heading."""
        self.say(f"\n{text}", style="bold")

    def result(self, document: dict[str, Any] | list[dict[str, Any]]) -> None:
        """Print the JSON document; does nothing without `--json`."""
        if self.is_json:
            sys.stdout.write(json.dumps(document, ensure_ascii=False, allow_nan=False, default=str) + "\n")
            sys.stdout.flush()
