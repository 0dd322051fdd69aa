"""Writes what is made from the code: the reference pages, and the snapshots that hold what users may rely on.

Usage: python scripts/make_docs.py [--freeze | --check]

Without an option it writes docs/reference/. `--freeze` writes the snapshots in tests/house/ as well: do this when a
config key, a command or a public name is meant to change, and put the change into CHANGELOG.md. `--check` writes
nothing, names what is out of date and exits 1 if anything is.
"""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from duologue.cli import make_app
from duologue.config import json_schema, reference_markdown

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
SNAPSHOTS = ROOT / "tests" / "house"
SOURCE = ROOT / "src" / "duologue"
HELP_COLUMNS = 100
Command = Any  # typer keeps the classes of its commands and contexts to itself
Context = Any


def main() -> None:
    """Write or check."""
    options = set(sys.argv[1:])
    if options - {"--freeze", "--check"} or len(options) > 1:
        sys.exit(__doc__)
    files = pages() | (snapshots() if options else {})
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if options == {"--check"}:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date")
        sys.exit(1 if stale else 0)
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


def pages() -> dict[Path, str]:
    """Return the reference pages by path."""
    return {REFERENCE / "config.md": reference_markdown(), REFERENCE / "cli.md": cli_markdown()}


def snapshots() -> dict[Path, str]:
    """Return the frozen snapshots by path."""
    schema = json.dumps(json_schema(), indent=1, sort_keys=True) + "\n"
    names = json.dumps(public_names(), indent=1) + "\n"
    return {
        SNAPSHOTS / "config_schema.json": schema,
        SNAPSHOTS / "command_line.txt": command_line(),
        SNAPSHOTS / "public_names.json": names,
    }


def cli_markdown() -> str:
    """Return docs/reference/cli.md: the help text of every command."""
    lines = [
        "# The command line",
        "",
        "What `--help` says, for every command. This page is made from the code (`make docs`); do not edit it.",
        "Exit codes: 0 done, 2 usage or config, 3 data, 4 does not fit, 5 engine, 6 guard, "
        "7 interrupted, resumable, 8 a gate is closed.",
        "`--debug` shows the traceback of an error.",
    ]
    for name, _, context in commands():
        lines += ["", f"## {name}", "", "```text", context.get_help().rstrip(), "```"]
    return "\n".join(lines) + "\n"


def command_line() -> str:
    """Return every command with its arguments and options, without their descriptions."""
    lines = []
    for name, command, context in commands():
        lines.append(name)
        records = [param.get_help_record(context) for param in command.params]
        lines += [f"    {record[0]}" for record in records if record]
    return "\n".join(lines) + "\n"


def commands() -> Iterator[tuple[str, Command, Context]]:
    """Yield (full name, command, its context) of every command, depth first."""
    yield from _walk("duologue", get_command(make_app()), None)


def _walk(name: str, command: Command, parent: Context | None) -> Iterator[tuple[str, Command, Context]]:
    short = name if parent is None else name.rpartition(" ")[2]
    context = command.make_context(short, [], parent=parent, resilient_parsing=True, terminal_width=HELP_COLUMNS)
    yield name, command, context
    for child_name, child in getattr(command, "commands", {}).items():
        yield from _walk(f"{name} {child_name}", child, context)


def public_names() -> dict[str, list[str]]:
    """Return what every room offers, by room."""
    rooms = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))
    return {room: sorted(importlib.import_module(f"duologue.{room}").__all__) for room in rooms}


if __name__ == "__main__":
    main()
