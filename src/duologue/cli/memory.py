"""`duologue memory`: what a character remembers about its user."""

from pathlib import Path
from typing import Annotated

import typer

from duologue.chat import Sessions, memory_scope
from duologue.cli.output import JsonFlag, Output
from duologue.cli.workflow import open_folder
from duologue.memory import MemoryStore, Scope
from duologue.messages import RecalledLine

app = typer.Typer(help="See, search and forget what a character remembers.", no_args_is_help=True)
Folder = Annotated[Path, typer.Argument(help="A character's folder.")]


@app.command("list")
def list_command(
    folder: Folder,
    limit: Annotated[int, typer.Option(help="Newest lines shown.")] = 50,
    is_json: JsonFlag = False,
) -> None:
    """List remembered lines, newest first."""
    store, scope = _open(folder)
    _show(Output(is_json=is_json), store.list_lines(scope=scope, limit=limit))
    store.close()


@app.command()
def search(
    folder: Folder,
    question: Annotated[str, typer.Argument(help="What to look for.")],
    limit: Annotated[int, typer.Option(help="Lines shown.")] = 10,
    is_json: JsonFlag = False,
) -> None:
    """Search remembered lines."""
    store, scope = _open(folder)
    _show(Output(is_json=is_json), store.search(question, scope=scope, limit=limit))
    store.close()


@app.command()
def forget(
    folder: Folder,
    ids: Annotated[list[int], typer.Argument(help="Numbers as `memory list` shows them.")],
    is_json: JsonFlag = False,
) -> None:
    """Forget lines: text and index are wiped from the file."""
    out = Output(is_json=is_json)
    store, _ = _open(folder)
    num_forgotten = store.forget(ids)
    store.close()
    sessions = Sessions.open(folder / "chats.sqlite")
    sessions.forget_recalled(ids)  # earlier replies quote what was recalled for them
    sessions.close()
    out.say(f"forgot {num_forgotten} of {len(ids)} lines")
    out.result({"num_forgotten": num_forgotten})


@app.command()
def export(
    folder: Folder, file: Annotated[Path, typer.Argument(help="JSON lines to write.")], is_json: JsonFlag = False
) -> None:
    """Write all remembered lines as JSON lines."""
    out = Output(is_json=is_json)
    store, scope = _open(folder)
    lines = list(store.export_lines(scope=scope))
    store.close()
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    out.say(f"wrote {len(lines)} lines to {file}")
    out.result({"path": str(file), "num_lines": len(lines)})


@app.command("import")
def import_command(
    folder: Folder, file: Annotated[Path, typer.Argument(help="JSON lines to read.")], is_json: JsonFlag = False
) -> None:
    """Read remembered lines from JSON lines."""
    out = Output(is_json=is_json)
    store, scope = _open(folder)
    num_lines = store.import_lines(file.read_text(encoding="utf-8").splitlines(), scope=scope, where=str(file))
    store.close()
    out.say(f"read {num_lines} lines from {file}")
    out.result({"num_lines": num_lines})


def _open(folder: Path) -> tuple[MemoryStore, Scope]:
    return MemoryStore.open(folder / "memory.sqlite"), memory_scope(folder, open_folder(folder))


def _show(out: Output, lines: tuple[RecalledLine, ...]) -> None:
    for line in lines:
        out.say(f"{line.memory_id:>6}  {line.said_at[:16]}  {line.speaker}: {line.text}")
    if not lines:
        out.say("nothing is remembered")
    out.result(
        {
            "lines": [
                {"id": n.memory_id, "said_at": n.said_at, "speaker": n.speaker, "text": n.text, "session": n.session_id}
                for n in lines
            ]
        }
    )
