"""`duologue memory`: what a character remembers about its user."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from duologue.chat import Sessions, memory_scope
from duologue.cli.output import JsonFlag, Output
from duologue.cli.places import chats_place, memory_place, supermemory_key
from duologue.cli.workflow import open_folder
from duologue.engine.embed import is_installed, open_embedder
from duologue.errors import DataError
from duologue.memory import HostedMemory, MemoryStore, Receipt, Scope, StoredLine, open_hosted

app = typer.Typer(
    help="See, search, edit and forget what a character remembers; measure how well it remembers.", no_args_is_help=True
)
Folder = Annotated[Path, typer.Argument(help="A character's folder.")]
Number = Annotated[int, typer.Argument(help="A number as `memory list` shows it.")]


@app.command("list")
def list_command(
    folder: Folder,
    limit: Annotated[int, typer.Option(min=1, help="Newest lines shown.")] = 50,
    facts: Annotated[bool, typer.Option("--facts", help="Only facts.")] = False,
    is_json: JsonFlag = False,
) -> None:
    """List remembered lines, newest first."""
    with _open(folder) as (store, scope):
        lines = store.list_lines(scope=scope, limit=limit, kind="fact" if facts else "")
    _show(Output(is_json=is_json), lines)


@app.command()
def search(
    folder: Folder,
    question: Annotated[str, typer.Argument(help="What to look for.")],
    limit: Annotated[int, typer.Option(min=1, help="Lines shown.")] = 10,
    is_json: JsonFlag = False,
) -> None:
    """Search remembered lines by their words."""
    with _open(folder) as (store, scope):
        lines = store.search(question, scope=scope, limit=limit)
    _show(Output(is_json=is_json), lines)


@app.command("show")
def show_command(folder: Folder, number: Number, is_json: JsonFlag = False) -> None:
    """Show why a line is remembered: the turn it came from, what was said around it, and its earlier versions."""
    out = Output(is_json=is_json)
    with _open(folder) as (store, scope):
        why = store.why(number, scope=scope)
    line = why.line
    out.say(_text(line))
    if line.is_edited:
        out.say(f"edited; said was: {line.original}")
    out.title(f"said on {line.said_at[:16]} in session {line.session_id}, message {line.message_id}")
    for turn in why.around:
        mark = ">" if turn.message_id == line.message_id else " "
        out.say(f"{mark} {turn.name or turn.speaker}: {turn.text}")
    if len(why.versions) > 1:
        out.title("versions, oldest first")
        for version in why.versions:
            out.say(_text(version))
    out.result(
        {
            "line": _document(line),
            "around": [_document(turn) for turn in why.around],
            "versions": [_document(version) for version in why.versions],
        }
    )


@app.command()
def edit(
    folder: Folder,
    number: Number,
    text: Annotated[str, typer.Argument(help="What it shall say.")],
    is_json: JsonFlag = False,
) -> None:
    """Change what a line says; the message it came from stays as it is."""
    with _open_with_copy(folder) as (store, scope, hosted):
        line = store.edit(number, text, scope=scope)
        if hosted is not None:
            hosted.note_turn(line.session_id, scope=scope)
    _show(Output(is_json=is_json), (line,))


@app.command()
def pin(
    folder: Folder,
    number: Number,
    off: Annotated[bool, typer.Option("--off", help="No longer.")] = False,
    is_json: JsonFlag = False,
) -> None:
    """Recall a line before all others."""
    with _open(folder) as (store, scope):
        line = store.pin(number, not off, scope=scope)
    _show(Output(is_json=is_json), (line,))


@app.command()
def private(
    folder: Folder,
    number: Number,
    off: Annotated[bool, typer.Option("--off", help="No longer.")] = False,
    is_json: JsonFlag = False,
) -> None:
    """Never recall a line."""
    with _open_with_copy(folder) as (store, scope, hosted):
        line = store.set_private(number, not off, scope=scope)
        if hosted is not None and line.is_private:
            hosted.withdraw([line.session_id], scope=scope)
        elif hosted is not None:
            hosted.note_turn(line.session_id, scope=scope)
    _show(Output(is_json=is_json), (line,))


@app.command()
def forget(
    folder: Folder,
    ids: Annotated[list[int], typer.Argument(help="Numbers as `memory list` shows them.")],
    is_json: JsonFlag = False,
) -> None:
    """Forget lines: text, index, vectors and log are wiped from the files, then the files are searched for them."""
    out = Output(is_json=is_json)
    with _open_with_copy(folder) as (store, scope, _):
        receipt = store.forget(ids, scope=scope)
    sessions = Sessions.open(chats_place(folder))
    sessions.forget_recalled({*ids, *receipt.ids})  # earlier replies quote what was recalled for them
    sessions.close()
    _show_receipt(out, receipt)
    out.result(_receipt(receipt))


@app.command()
def receipts(folder: Folder, is_json: JsonFlag = False) -> None:
    """List the receipts of what was forgotten, newest first."""
    out = Output(is_json=is_json)
    with _open(folder) as (store, _):
        found = store.receipts()
    for receipt in found:
        _show_receipt(out, receipt)
    if not found:
        out.say("nothing was forgotten")
    out.result({"receipts": [_receipt(receipt) for receipt in found]})


@app.command()
def export(
    folder: Folder,
    file: Annotated[Path, typer.Argument(help="JSON lines to write, or Markdown (a diary) when it ends in .md.")],
    is_json: JsonFlag = False,
) -> None:
    """Write all remembered lines to a file."""
    out = Output(is_json=is_json)
    with _open(folder) as (store, scope):
        lines = list(store.export_lines(scope=scope))
        text = store.export_markdown(scope=scope) if _is_markdown(file) else "".join(f"{line}\n" for line in lines)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"the file cannot be written ({error.strerror})", where=str(file)) from error
    out.say(f"wrote {len(lines)} lines to {file}")
    out.result({"path": str(file), "num_lines": len(lines)})


@app.command("import")
def import_command(
    folder: Folder,
    file: Annotated[Path, typer.Argument(help="JSON lines, or Markdown, that `memory export` wrote.")],
    is_json: JsonFlag = False,
) -> None:
    """Read remembered lines from a file."""
    out = Output(is_json=is_json)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the file cannot be read ({error})", where=str(file)) from error
    with _open(folder) as (store, scope):
        if _is_markdown(file):
            num_lines = store.import_markdown(text, scope=scope, where=str(file))
        else:
            num_lines = store.import_lines(text.split("\n"), scope=scope, where=str(file))
    out.say(f"read {num_lines} lines from {file}")
    out.result({"num_lines": num_lines})


@app.command("eval")
def eval_command(
    turns: Annotated[Path, typer.Option("--turns", help="JSON lines with id, session, index, speaker, text, time.")],
    questions: Annotated[Path, typer.Option("--questions", help="JSON lines with question, evidence, category.")],
    tier: Annotated[
        int | None, typer.Option(min=0, max=1, help="0: words alone. 1: with the bundled embedder. [default: the best]")
    ] = None,
    is_json: JsonFlag = False,
) -> None:
    """Measure recall: the share of a question's evidence among the first turns that are recalled for it."""
    from duologue.memory import measure, read_set

    out = Output(is_json=is_json)
    used = tier if tier is not None else int(is_installed())
    embedder = open_embedder("minilm" if used else "none")
    measured = measure(read_set(turns, questions), embedder=embedder)
    out.title(f"tier {used}{f' ({embedder.name})' if embedder else ''}: {measured.num_turns:,} turns")
    out.say(f"{'percent of the evidence in the first':<40}{'5':>7}{'10':>7}{'25':>7}{'50':>7}")
    rows = [("all", (measured.num_scored, measured.recall)), *measured.by_category.items()]
    for name, (count, recall) in rows:
        label = f"{name or 'without category'} ({count:,} questions)"
        out.say(f"{label:<40}" + "".join(f"{value:>7.1f}" for value in recall.values()))
    out.say(f"a recall takes {measured.latency_ms['p50']} ms (p50), {measured.latency_ms['p95']} ms (p95)")
    for fault, count in measured.faults.items():
        out.say(f"{count:,} {fault}")
    out.result(
        {
            "tier": used,
            "embedder": embedder.name if embedder else None,
            "num_turns": measured.num_turns,
            "num_questions": measured.num_questions,
            "num_scored": measured.num_scored,
            "recall": _by_cutoff(measured.recall),
            "by_category": {
                name: {"num_questions": count, "recall": _by_cutoff(recall)}
                for name, (count, recall) in measured.by_category.items()
            },
            "latency_ms": dict(measured.latency_ms),
            "seconds_to_learn": measured.seconds_to_learn,
            "faults": dict(measured.faults),
        }
    )


@contextmanager
def _open(folder: Path) -> Iterator[tuple[MemoryStore, Scope]]:
    config = open_folder(folder)
    scope = memory_scope(folder, config)
    notices: list[str] = []
    store = MemoryStore.open(memory_place(folder), notify=notices.append)
    try:
        yield store, scope
    finally:
        store.close()
        for notice in notices:
            print(f"duologue: {notice}", file=sys.stderr)


@contextmanager
def _open_with_copy(folder: Path) -> Iterator[tuple[MemoryStore, Scope, HostedMemory | None]]:
    """Open the memories and, where one is kept elsewhere, the copy that what is done here must reach."""
    settings = open_folder(folder).memory
    with _open(folder) as (store, scope), ExitStack() as opened:
        hosted = None
        if settings.supermemory and supermemory_key():
            hosted = open_hosted(store, url=settings.supermemory_url, key=supermemory_key())
            opened.callback(hosted.close)
        yield store, scope, hosted


def _show(out: Output, lines: Sequence[StoredLine]) -> None:
    for line in lines:
        out.say(_text(line))
    if not lines:
        out.say("nothing is remembered")
    out.result({"lines": [_document(line) for line in lines]})


def _text(line: StoredLine) -> str:
    marks = [
        mark
        for mark, holds in (
            ("fact", line.kind == "fact"),
            ("pinned", line.is_pinned),
            ("private", line.is_private),
            ("edited", line.is_edited),
            (f"used to be so, until {line.used_until[:10]}", bool(line.used_until)),
        )
        if holds
    ]
    behind = f"  [{', '.join(marks)}]" if marks else ""
    return f"{line.memory_id:>6}  {line.said_at[:16]}  {line.name or line.speaker}: {line.text}{behind}"


def _document(line: StoredLine) -> dict[str, Any]:
    return {
        "id": line.memory_id,
        "kind": line.kind,
        "said_at": line.said_at,
        "speaker": line.speaker,
        "name": line.name,
        "text": line.text,
        "session": line.session_id,
        "message": line.message_id,
        "slot": line.slot,
        "value": line.value,
        "is_pinned": line.is_pinned,
        "is_private": line.is_private,
        "is_edited": line.is_edited,
        "used_until": line.used_until,
    }


def _show_receipt(out: Output, receipt: Receipt) -> None:
    proof = "nothing of it was found" if receipt.is_proved else f"{receipt.num_traces + receipt.num_found} traces left"
    out.say(
        f"receipt {receipt.receipt_id}, {receipt.at[:16]}: forgot {receipt.num_lines} lines and {receipt.num_facts}"
        f" facts; read {receipt.num_bytes:,} bytes in {receipt.num_files} files and searched: {proof}"
    )
    for note in (*receipt.notes, *([] if receipt.hosted == "none" else [f"hosted copy: {receipt.hosted}"])):
        out.say(f"  {note}")


def _receipt(receipt: Receipt) -> dict[str, Any]:
    num_forgotten = receipt.num_lines + receipt.num_facts
    return {**asdict(receipt), "is_proved": receipt.is_proved, "num_forgotten": num_forgotten}


def _by_cutoff(recall: Mapping[int, float]) -> dict[str, float]:
    return {str(cutoff): value for cutoff, value in recall.items()}


def _is_markdown(file: Path) -> bool:
    return file.suffix.lower() in (".md", ".markdown")
