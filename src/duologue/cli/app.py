"""`main`: runs a command and turns every way it can end into an exit code and a sentence."""

import contextlib
import gc
import json
import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from duologue import __version__
from duologue.errors import DuologueError, InterruptedRun

# Where each command is. Only the one that was asked for is imported: `duologue plan` is there before a model library
# could even be found on the disk. A name without a function is a group of commands, its module's `app`.
_COMMANDS = {
    "demo": ("demo", "demo"),
    "new": ("new", "new"),
    "doctor": ("doctor", "doctor"),
    "plan": ("plan", "plan"),
    "data": ("data_look", ""),
    "train": ("train", "train"),
    "tune": ("tune", "tune"),
    "eval": ("evaluate", "evaluate"),
    "chat": ("talk", "chat"),
    "duel": ("duel", "duel"),
    "serve": ("serve", "serve"),
    "account": ("account", ""),
    "chats": ("chats", ""),
    "feedback": ("feedback", ""),
    "memory": ("memory", ""),
    "card": ("card", ""),
    "export": ("export", ""),
    "push": ("push", "push"),
}


def make_app(command: str = "") -> typer.Typer:
    """Return the command line: with all commands, or quicker with the only one that is needed.

    Args:
        command: Name of the one command to import; all of them when it is empty or not a command's name.
    """
    app = typer.Typer(
        name="duologue",
        help="Fine-tune a chat model on your own conversations and talk to the character.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback(help=app.info.help)(_nothing)  # keeps a single command a command with a name
    for name in (command,) if command in _COMMANDS else _COMMANDS:
        module_name, function = _COMMANDS[name]
        module = import_module(f"duologue.cli.{module_name}")
        if function:
            app.command(name)(getattr(module, function))
        else:
            app.add_typer(module.app, name=name)
    return app


_TYPERS_INTERRUPT = 130  # what typer returns in place of a KeyboardInterrupt; no command of ours ends with it


def main() -> None:
    """Run the command line and exit."""
    arguments = sys.argv[1:]
    is_json, is_debug = "--json" in arguments, "--debug" in arguments
    if is_debug:
        arguments.remove("--debug")
    try:
        sys.exit(_run(arguments))
    except typer.exceptions.TyperException as error:
        if error.format_message().startswith("Usage:"):  # a group without its command: the list is the answer
            print(error.format_message(), file=sys.stderr)
            sys.exit(2)
        _end({"error": {"kind": "usage", "message": error.format_message(), "exit_code": 2}}, 2, is_json=is_json)
    except DuologueError as error:
        if is_debug:
            raise
        _end(error.as_json(), error.exit_code, is_json=is_json)
    except (KeyboardInterrupt, typer.Abort):
        stopped = InterruptedRun(
            "stopped", action="Nothing that was saved is lost; the same command goes on from there."
        )
        _end(stopped.as_json(), stopped.exit_code, is_json=is_json)
    except BrokenPipeError:
        sys.exit(0)  # the reader, such as `head`, has seen enough
    except Exception as error:
        if is_debug:
            raise
        text = f"unexpected {type(error).__name__}: {error}. Run again with --debug to see where, and please report it."
        _end({"error": {"kind": "bug", "message": text, "exit_code": 1}}, 1, is_json=is_json)


def _run(arguments: list[str]) -> int:
    # To look for plugins pydantic reads a file of every installed package, 0.05 s; nothing here is one.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    gc.disable()  # looking for garbage while modules load finds none and takes a tenth of the start
    app = make_app(arguments[0] if arguments else "")
    gc.enable()
    exit_code: int = app(args=arguments, standalone_mode=False) or 0
    if exit_code == _TYPERS_INTERRUPT:
        raise KeyboardInterrupt
    return exit_code


def _say_version(is_asked: bool) -> None:
    if is_asked:
        print(f"duologue {__version__}")
        raise typer.Exit


def _nothing(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """The whole program takes no other option of its own."""


def _end(document: dict[str, dict[str, object]], exit_code: int, *, is_json: bool) -> None:
    if is_json:
        with contextlib.suppress(BrokenPipeError):  # nobody reads; the exit code still says what happened
            print(json.dumps(document, ensure_ascii=False), flush=True)
    else:
        kind, message = document["error"]["kind"], document["error"]["message"]
        print(f"duologue: {kind}: {message}" if kind != "interrupted" else f"duologue: {message}", file=sys.stderr)
    sys.exit(exit_code)
