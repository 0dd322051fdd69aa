"""`duologue chats`: the saved chats of a character: find, read, move between programs, tidy up."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from duologue.chat import SessionInfo, Sessions, StoredMessage, load_folder_character, memory_scope
from duologue.chat.exchange import FORMATS, ChatFormat, Names, read_chats, write_chats
from duologue.cli.output import JsonFlag, Output
from duologue.cli.places import chats_place, memory_place
from duologue.cli.workflow import open_folder
from duologue.errors import ConfigError, DataError
from duologue.memory import MemoryStore

app = typer.Typer(help="List, search, move and tidy up saved chats.", no_args_is_help=True)
Folder = Annotated[Path, typer.Argument(help="A character's folder.")]
Chat = Annotated[str, typer.Argument(metavar="CHAT", help="Number as `chats list` shows it, or id.")]
_BY_ENDING: dict[str, ChatFormat] = {".jsonl": "sillytavern", ".json": "open-webui", ".txt": "text"}


@dataclass(frozen=True, slots=True)
class Opened:
    """The chats of a folder.

    Attributes:
        sessions: The store.
        character: Whose they are, as the store knows it.
        names: Who speaks where a message does not say it.
        memory_place: Where the memories are.
    """

    sessions: Sessions
    character: str
    names: Names
    memory_place: Path | str

    def find(self, chat: str) -> SessionInfo:
        """Return the chat with a number or an id.

        Raises:
            DataError: There is none.
        """
        infos = self.sessions.list_sessions(character=self.character)
        for number, info in enumerate(infos, start=1):
            if chat in (str(number), info.id):
                return info
        raise DataError(
            f"there is no chat '{chat}'",
            where="chats",
            needed=f"a number from 1 to {len(infos)}" if infos else "a chat; there is none yet",
            action="List them with: duologue chats list FOLDER",
        )


@app.command("list")
def list_command(
    folder: Folder,
    tag: Annotated[str, typer.Option(help="Only chats with this tag.")] = "",
    is_json: JsonFlag = False,
) -> None:
    """List chats, the latest used first."""
    out = Output(is_json=is_json)
    with _opened(folder) as chats:
        infos = chats.sessions.list_sessions(character=chats.character)
    listed = [(number, info) for number, info in enumerate(infos, start=1) if not tag or tag in info.tags]
    for number, info in listed:
        tags = "".join(f" #{word}" for word in info.tags)
        out.say(f"{number:>4}  {info.updated_at[:16]}  {info.num_messages:>5} messages  {info.title}{tags}")
    if not listed:
        out.say("no chats")
    out.result({"chats": [{"number": number, **asdict(info)} for number, info in listed]})


@app.command()
def search(
    folder: Folder,
    text: Annotated[str, typer.Argument(help='Words; "words in quotes" stand together.')],
    limit: Annotated[int, typer.Option(min=1, help="Messages shown.")] = 20,
    is_json: JsonFlag = False,
) -> None:
    """Find messages in all chats, every version included."""
    out = Output(is_json=is_json)
    with _opened(folder) as chats:
        hits = chats.sessions.search(text, character=chats.character, limit=limit)
        numbers = {
            info.id: n for n, info in enumerate(chats.sessions.list_sessions(character=chats.character), start=1)
        }
    for hit in hits:
        line = Text(f"{numbers[hit.session_id]:>4}  {hit.created_at[:16]}  message {hit.message_id}: ")
        snippet = Text(hit.snippet)
        for begin, end in hit.matches:
            snippet.stylize("bold", begin, end)
        out.say(line + snippet)
    if not hits:
        out.say("nothing was found")
    out.result({"hits": [{"number": numbers[hit.session_id], **asdict(hit)} for hit in hits]})


@app.command()
def show(folder: Folder, chat: Chat, is_json: JsonFlag = False) -> None:
    """Print a chat as it is now."""
    out = Output(is_json=is_json)
    with _opened(folder) as chats:
        info = chats.find(chat)
        path = chats.sessions.path(info.id)
        could_undo = chats.sessions.undo_kinds(info.id)
    out.title(info.title)
    for entry in path:
        out.say(f"[{entry.id}] {_speaker(entry, chats.names)}{_marks(entry)}: {entry.message.content}")
    if could_undo:
        out.say(f"can be undone: {', '.join(could_undo[:5])}", style="dim")
    out.result(
        {
            "chat": asdict(info),
            "messages": [
                {
                    "id": entry.id,
                    "role": entry.message.role,
                    "speaker": _speaker(entry, chats.names),
                    "text": entry.message.content,
                    "created_at": entry.created_at,
                    "swipe": entry.swipe,
                    "num_swipes": entry.num_swipes,
                    "is_hidden": entry.is_hidden,
                }
                for entry in path
            ],
            "undo": list(could_undo),
        }
    )


@app.command()
def export(
    folder: Folder,
    chat: Annotated[str, typer.Argument(metavar="CHAT", help="Number or id; `all` for training data of all chats.")],
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    chat_format: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}; by default as the file's ending says.")
    ] = "",
    is_json: JsonFlag = False,
) -> None:
    """Write a chat for another program, or chats as training data."""
    out = Output(is_json=is_json)
    found = _format(chat_format, file)
    if chat == "all" and found != "messages":
        raise ConfigError(
            f"a file of {found} holds one chat", where="chats export", action="Name the chat, or use --format messages."
        )
    with _opened(folder) as chats:
        infos = chats.sessions.list_sessions(character=chats.character) if chat == "all" else (chats.find(chat),)
        text, notes = write_chats([chats.sessions.tree(info.id) for info in infos], found, chats.names)
    try:
        file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise DataError(f"the file cannot be written ({error.strerror})", where=str(file)) from error
    _say_notes(out, notes)
    out.say(f"wrote {len(infos)} {'chat' if len(infos) == 1 else 'chats'} to {file} ({found})")
    out.result({"path": str(file), "format": found, "num_chats": len(infos), "notes": list(notes)})


@app.command("import")
def import_command(
    folder: Folder,
    files: Annotated[list[Path], typer.Argument(help="Chats of other programs, or logs of lines `Name: text`.")],
    user_name: Annotated[str, typer.Option(help="Who is the user in a log; by default as duologue.toml says.")] = "",
    is_json: JsonFlag = False,
) -> None:
    """Read chats of other programs: SillyTavern, Open WebUI, text-generation-webui, RisuAI, Agnai, text."""
    out = Output(is_json=is_json)
    done: list[dict[str, Any]] = []
    with _opened(folder) as chats:
        names = Names(chats.names.character, user_name or chats.names.user)
        read = [(file, read_chats(file, names)) for file in files]  # all of them before anything is stored
        for file, imported in read:
            ids = [chats.sessions.add_tree(chat.tree, character=chats.character) for chat in imported.chats]
            num_messages = sum(len(chat.tree.messages) for chat in imported.chats)
            out.say(f"{file}: {len(ids)} chats, {num_messages} messages ({imported.format})")
            _say_notes(out, imported.notes)
            facts = {"num_messages": num_messages, "format": imported.format, "notes": list(imported.notes)}
            done.append({"path": str(file), "sessions": ids, **facts})
    out.result({"files": done})


@app.command()
def rename(
    folder: Folder,
    chat: Chat,
    title: Annotated[str, typer.Argument(help="The title; an empty one shows the first message again.")],
    is_json: JsonFlag = False,
) -> None:
    """Give a chat a title."""
    out = Output(is_json=is_json)
    with _opened(folder) as chats:
        info = chats.find(chat)
        chats.sessions.rename(info.id, title)
        info = chats.sessions.info(info.id)
    out.say(f"the chat is called: {info.title}")
    out.result({"chat": asdict(info)})


@app.command()
def tag(
    folder: Folder,
    chat: Chat,
    tags: Annotated[
        list[str] | None, typer.Argument(help="The tags, in place of those it has; none takes all away.")
    ] = None,
    is_json: JsonFlag = False,
) -> None:
    """Set the tags of a chat."""
    out = Output(is_json=is_json)
    with _opened(folder) as chats:
        info = chats.find(chat)
        chats.sessions.set_tags(info.id, tags or ())
        info = chats.sessions.info(info.id)
    out.say(f"tags: {', '.join(info.tags) or 'none'}")
    out.result({"chat": asdict(info)})


@app.command()
def delete(
    folder: Folder,
    chat: Chat,
    *,
    message: Annotated[int, typer.Option(help="Only this message and what follows it; can be undone.")] = 0,
    for_good: Annotated[bool, typer.Option("--for-good", help="A message: erase it so that no undo is left.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    is_json: JsonFlag = False,
) -> None:
    """Delete a chat and what is remembered of it, to the last byte; or one message."""
    out = Output(is_json=is_json)
    with _opened(folder) as chats:
        info = chats.find(chat)
        if message and not any(entry.id == message for entry in chats.sessions.tree(info.id).messages):
            raise DataError(
                f"there is no message {message} in this chat",
                where=info.title,
                action=f"Look with: duologue chats show {folder} {chat}",
            )
        if (for_good or not message) and not yes:
            _ask(
                f"Erase {f'message {message}' if message else 'the chat'} of '{info.title}' for good?", is_json=is_json
            )
        if not message:
            _forget(chats, session_id=info.id)
            chats.sessions.delete(info.id)
            out.say(f"deleted: {info.title}")
            out.result({"deleted_chat": info.id})
            return
        if for_good:
            gone = chats.sessions.erase_message(message)
            _forget(chats, session_id=info.id, message_ids=gone)
        else:
            gone = chats.sessions.delete_message(message)
    out.say(f"deleted {len(gone)} messages" + ("" if for_good else "; `duologue chats undo` brings them back"))
    out.result({"deleted_messages": list(gone), "for_good": for_good})


@app.command()
def undo(folder: Folder, chat: Chat, is_json: JsonFlag = False) -> None:
    """Undo the newest edit, choice, version or deletion in a chat."""
    out = Output(is_json=is_json)
    with _opened(folder) as chats:
        info = chats.find(chat)
        kind = chats.sessions.undo(info.id)
    out.say(f"undone: {kind}" if kind else "there is nothing to undo")
    out.result({"undone": kind})


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[Opened]:
    config = open_folder(folder)
    notices: list[str] = []
    sessions = Sessions.open(chats_place(folder), notify=notices.append)
    try:
        character = load_folder_character(folder, config)
        names = Names(character.display_name, config.character.user_name)
        yield Opened(sessions, memory_scope(folder, config).character, names, memory_place(folder))
    finally:
        sessions.close()
        for notice in notices:
            print(f"duologue: {notice}", file=sys.stderr)


def _format(name: str, file: Path) -> ChatFormat:
    if not name and file.suffix.lower() in _BY_ENDING:
        return _BY_ENDING[file.suffix.lower()]
    for known in FORMATS:
        if name == known:
            return known
    raise ConfigError(
        f"unknown format '{name}'" if name else f"the ending of {file.name} names no format",
        where="--format",
        needed=f"one of {', '.join(FORMATS)}",
    )


def _forget(chats: Opened, *, session_id: str, message_ids: tuple[int, ...] = ()) -> None:
    """Take out of memory what came from a chat, or from some of its messages."""
    if isinstance(chats.memory_place, Path) and not chats.memory_place.is_file():
        return
    with contextlib.closing(MemoryStore.open(chats.memory_place)) as memory:
        if not message_ids:
            memory.forget_session(session_id)
        for message_id in message_ids:
            memory.forget_message(message_id, session_id=session_id)


def _ask(question: str, *, is_json: bool) -> None:
    if is_json or not sys.stdin.isatty():
        raise ConfigError(question, where="chats delete", action="Say it with --yes.")
    typer.confirm(question, abort=True)


def _speaker(entry: StoredMessage, names: Names) -> str:
    sides = {"user": names.user, "assistant": names.character, "system": "System"}
    return entry.speaker or sides[entry.message.role]


def _marks(entry: StoredMessage) -> str:
    marks = [f"{entry.swipe}/{entry.num_swipes}"] if entry.num_swipes > 1 else []
    marks += ["hidden"] if entry.is_hidden else []
    return f" ({', '.join(marks)})" if marks else ""


def _say_notes(out: Output, notes: tuple[str, ...]) -> None:
    for note in notes:
        out.say(f"  {note}")
