"""`duologue feedback`: what people did with replies, shown before a model learns from it, and removable."""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from duologue.chat import Feedback, Found, Sessions, collect_feedback, memory_scope, remove_found
from duologue.chat.feedback import REASONS
from duologue.cli.output import JsonFlag, Output
from duologue.cli.places import chats_place, database_url
from duologue.cli.workflow import open_folder
from duologue.errors import ConfigError, DataError
from duologue.messages import Correction, Message, Opinion, Preference

app = typer.Typer(help="See, remove and export what `train --from-feedback` would learn from.", no_args_is_help=True)
Folder = Annotated[Path, typer.Argument(help="A character's folder.")]
Number = Annotated[int, typer.Argument(metavar="N", min=1, help="Number as `feedback list` shows it.")]
_SHOWN_CHARS = 60
_WORDS = {
    "swipe": "chosen version",
    "edit": "rewritten reply",
    "like": "single like",
    "likes": "liked over disliked",
    "duel": "duel",
}


@dataclass(frozen=True, slots=True)
class _Opened:
    folder: Path
    sessions: Sessions
    character: str
    feedback: Feedback

    def find(self, number: int) -> Found:
        found = self.feedback.found
        if number > len(found):
            raise DataError(
                f"there is no piece {number} of feedback",
                where="feedback",
                needed=f"a number from 1 to {len(found)}" if found else "feedback; there is none yet",
                action="List it with: duologue feedback list FOLDER",
            )
        return found[number - 1]


@app.command("list")
def list_command(folder: Folder, is_json: JsonFlag = False) -> None:
    """List what would be learned from, and count what would not, with the reasons."""
    out = Output(is_json=is_json)
    with _opened(folder) as opened:
        feedback = opened.feedback
    for number, found in enumerate(feedback.found, start=1):
        out.say(f"{number:>4}  {_WORDS[found.kind]:<19}  {_summary(found)}")
    if not feedback.found:
        out.say("no feedback that may be used")
    account = feedback.account
    chats = {state or "never_asked": num for state, num in account.chats.items()}
    asked = ", ".join(f"{num} {state.replace('_', ' ')}" for state, num in sorted(chats.items())) or "none"
    out.say(f"chats by consent: {asked}; only those with consent given are read", style="dim")
    for reason, num in account.dropped.items():
        out.say(f"  not used: {num} ({REASONS[reason]})", style="dim")
    if account.num_merged:
        out.say(f"  merged: {account.num_merged} that say the same as another", style="dim")
    pieces = [_as_json(number, found) for number, found in enumerate(feedback.found, start=1)]
    out.result({"feedback": pieces, "account": account.as_json()})


@app.command()
def show(folder: Folder, number: Number, is_json: JsonFlag = False) -> None:
    """Print one piece: what was said before, both replies, and the words in which they differ."""
    out = Output(is_json=is_json)
    with _opened(folder) as opened:
        found = opened.find(number)
    out.title(f"{number}. {_WORDS[found.kind]} ({found.piece.source})")
    for message in found.piece.context[-4:]:
        out.say(f"{message.role}: {message.content}", style="dim")
    _show_replies(out, found)
    out.result(_as_json(number, found) | {"context": _messages(found.piece.context)})


@app.command()
def remove(folder: Folder, number: Number, is_json: JsonFlag = False) -> None:
    """Take one piece out for good; the chat stays as it is."""
    out = Output(is_json=is_json)
    with _opened(folder) as opened:
        found = opened.find(number)
        remove_found(opened.sessions, found, folder=folder)
    out.say(f"removed: {_WORDS[found.kind]} ({found.piece.source}); the numbers of the others may have changed")
    out.result({"removed": found.piece.source})


@app.command()
def consent(
    folder: Folder,
    chat: Annotated[str, typer.Argument(metavar="CHAT", help="Number as `chats list` shows it, or id.")],
    *,
    give: Annotated[bool, typer.Option("--give", help="A model may learn from this chat.")] = False,
    refuse: Annotated[bool, typer.Option("--refuse", help="It may not, also not from what was there before.")] = False,
    is_json: JsonFlag = False,
) -> None:
    """Show, give or refuse consent for one of the terminal's own chats."""
    if give and refuse:
        raise ConfigError("--give and --refuse were both said", where="feedback consent", needed="one of them")
    out = Output(is_json=is_json)
    config = open_folder(folder)
    with _sessions(folder) as sessions:
        infos = sessions.list_sessions(character=memory_scope(folder, config).character)
        found = next((info for n, info in enumerate(infos, start=1) if chat in (str(n), info.id)), None)
        if found is None:
            action = f"List them with: duologue chats list {folder}"
            raise DataError(f"there is no chat '{chat}' of the terminal", where="chats", action=action)
        answer: Literal["", "given", "refused"] = "given" if give else "refused" if refuse else ""
        if answer:
            sessions.marks.set_consent(found.id, answer)
        now = sessions.marks.consent(found.id)
    is_given = now.state == "given"
    out.say(
        f"{found.title}: a model {'may' if is_given else 'may not'} learn from this chat ({now.state or 'never asked'})"
    )
    out.result({"chat": found.id, **asdict(now)})


@app.command()
def export(
    folder: Folder,
    file: Annotated[Path, typer.Argument(help="The .jsonl file to write.")],
    file_format: Annotated[
        str, typer.Option("--format", help="`duologue`: everything; `trl`: pairs in TRL's conversational form.")
    ] = "duologue",
    is_json: JsonFlag = False,
) -> None:
    """Write the feedback, one piece a line."""
    if file_format not in ("duologue", "trl"):
        raise ConfigError(f"unknown format '{file_format}'", where="--format", needed="duologue or trl")
    out = Output(is_json=is_json)
    with _opened(folder) as opened:
        feedback = opened.feedback
    rows = _trl_rows(feedback) if file_format == "trl" else _rows(feedback)
    try:
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise DataError(f"the file cannot be written ({error.strerror})", where=str(file)) from error
    left = len(feedback.opinions) if file_format == "trl" else 0
    out.say(f"wrote {len(rows)} lines to {file} ({file_format})")
    if left:
        out.say(f"  {left} single likes have no place in a file of pairs; --format duologue has them")
    out.result({"path": str(file), "format": file_format, "num_lines": len(rows), "num_left_out": left})


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[_Opened]:
    config = open_folder(folder)
    feedback = collect_feedback(folder, config, notify=_tell, database_url=database_url())
    with _sessions(folder) as sessions:
        yield _Opened(folder, sessions, memory_scope(folder, config).character, feedback)


@contextlib.contextmanager
def _sessions(folder: Path) -> Iterator[Sessions]:
    with contextlib.closing(Sessions.open(chats_place(folder), notify=_tell)) as sessions:
        yield sessions


def _tell(notice: str) -> None:
    print(f"duologue: {notice}", file=sys.stderr)


def _summary(found: Found) -> str:
    piece = found.piece
    if isinstance(piece, Opinion):
        return f"{'+' if piece.is_liked else '-'} {_short(piece.reply)}"
    better, worse = (piece.reply, piece.before) if isinstance(piece, Correction) else (piece.chosen, piece.rejected)
    return f"+ {_short(better)}  - {_short(worse)}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARS else line[: _SHOWN_CHARS - 1] + "…"


def _show_replies(out: Output, found: Found) -> None:
    from rich.text import Text

    from duologue.evaluate import compare_words

    piece = found.piece
    if isinstance(piece, Opinion):
        out.say(f"{'liked' if piece.is_liked else 'not liked'}: {piece.reply}")
        return
    better, worse = (piece.reply, piece.before) if isinstance(piece, Correction) else (piece.chosen, piece.rejected)
    compared = compare_words(better, worse)
    for name, stretches, mark in (("better", compared.first, "bold green"), ("worse", compared.second, "bold red")):
        line = Text(f"{name}: ")
        for stretch in stretches:
            line.append(stretch.text, style="" if stretch.is_shared else mark)
        out.say(line)


def _as_json(number: int, found: Found) -> dict[str, Any]:
    replies = {name: value for name, value in asdict(found.piece).items() if name != "context"}
    return {"number": number, "kind": found.kind, "chat": found.session_id, **replies}


def _messages(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _rows(feedback: Feedback) -> list[dict[str, Any]]:
    return [
        {"kind": found.kind, **asdict(found.piece), "context": _messages(found.piece.context)}
        for found in feedback.found
    ]


def _trl_rows(feedback: Feedback) -> list[dict[str, Any]]:
    def row(piece: Preference) -> dict[str, Any]:
        better, worse = Message("assistant", piece.chosen), Message("assistant", piece.rejected)
        return {"prompt": _messages(piece.context), "chosen": _messages((better,)), "rejected": _messages((worse,))}

    return [row(piece) for piece in feedback.preferences]
