"""`main`: runs a command and turns every way it can end into an exit code and a sentence."""

import contextlib
import json
import sys

import typer

from duologue.cli import card, data, demo, doctor, evaluate, export, memory, new, plan, talk, train
from duologue.errors import DuologueError, InterruptedRun

app = typer.Typer(
    name="duologue",
    help="Fine-tune a chat model on your own conversations and talk to the character.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.command("new")(new.new)
app.command("doctor")(doctor.doctor)
app.command("plan")(plan.plan)
app.add_typer(data.app, name="data")
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("chat")(talk.chat)
app.command("serve")(talk.serve)
app.add_typer(memory.app, name="memory")
app.add_typer(card.app, name="card")
app.add_typer(export.app, name="export")


def main() -> None:
    """Run the command line and exit."""
    arguments = sys.argv[1:]
    is_json, is_debug = "--json" in arguments, "--debug" in arguments
    if is_debug:
        arguments.remove("--debug")
    try:
        sys.exit(app(args=arguments, standalone_mode=False) or 0)
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


def _end(document: dict[str, dict[str, object]], exit_code: int, *, is_json: bool) -> None:
    if is_json:
        with contextlib.suppress(BrokenPipeError):  # nobody reads; the exit code still says what happened
            print(json.dumps(document, ensure_ascii=False), flush=True)
    else:
        kind, message = document["error"]["kind"], document["error"]["message"]
        print(f"duologue: {kind}: {message}" if kind != "interrupted" else f"duologue: {message}", file=sys.stderr)
    sys.exit(exit_code)
