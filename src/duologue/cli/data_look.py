"""`duologue data show` and `duologue data stats`: what training would see of conversation files."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from duologue.cli.data import AsOption, BaseOption, MeOption, app, ask_who_is_who, character_for, config_for
from duologue.cli.output import JsonFlag, Output
from duologue.cli.progress import show_progress
from duologue.cli.show_data import draw_look, draw_shown
from duologue.config import Config
from duologue.data import (
    Choice,
    SplitName,
    look_at_files,
    look_page,
    resolve_files,
    show_files,
    shown_page,
    write_page,
)
from duologue.engine import BaseModel, TextTokenizer, open_trainer
from duologue.errors import ConfigError, DataError

FilesArgument = Annotated[
    list[Path] | None, typer.Argument(help="Files with conversations; those of --folder when there are none.")
]
FolderOption = Annotated[
    Path | None, typer.Option(help="A character's folder, whose settings, card and model are used.")
]
LengthOption = Annotated[
    int | None, typer.Option("--max-length", metavar="TOKENS", min=16, help="Longest example, in tokens.")
]
LongOption = Annotated[
    Literal["windows", "truncate", "drop"] | None,
    typer.Option("--long-conversations", help="What happens to a conversation longer than an example."),
]
HtmlOption = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page to look at, too.")]


@app.command()
def show(
    files: FilesArgument = None,
    *,
    folder: FolderOption = None,
    base: BaseOption = "",
    num: Annotated[int, typer.Option(min=1, help="How many conversations, the first ones.")] = 3,
    row: Annotated[int | None, typer.Option(min=1, help="Only the conversation that this row belongs to.")] = None,
    split: Annotated[SplitName | None, typer.Option(help="Only conversations of this split.")] = None,
    max_length: LengthOption = None,
    long_conversations: LongOption = None,
    user_names: MeOption = None,
    character_names: AsOption = None,
    html: HtmlOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Print conversations exactly as they are trained: which tokens are learned, only read, or cut."""
    out = Output(is_json=is_json)
    paths, config, home = _subject(
        files, folder, base=base, user_names=user_names, character_names=character_names, out=out
    )
    config = _with_lengths(config, max_length, long_conversations)
    with show_progress(out) as on_event:
        shown = show_files(
            paths,
            config,
            home,
            character=character_for(config, home),
            open_tokenizer=lambda: _tokenizer(config),
            choice=Choice(num, row, split),
            on_event=on_event,
        )
    _write(html, shown_page(shown) if html else "", out)
    if not is_json:
        draw_shown(out, shown)
    out.result(shown.as_json())


@app.command()
def stats(
    files: FilesArgument = None,
    *,
    folder: FolderOption = None,
    base: BaseOption = "",
    max_length: LengthOption = None,
    long_conversations: LongOption = None,
    user_names: MeOption = None,
    character_names: AsOption = None,
    html: HtmlOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Print the figures of conversation files: lengths in tokens, turns, languages, and what each length would cost."""
    out = Output(is_json=is_json)
    paths, config, home = _subject(
        files, folder, base=base, user_names=user_names, character_names=character_names, out=out
    )
    config = _with_lengths(config, max_length, long_conversations)
    with show_progress(out) as on_event:
        look = look_at_files(
            paths,
            config,
            home,
            character=character_for(config, home),
            open_tokenizer=lambda: _tokenizer(config),
            on_event=on_event,
        )
    _write(html, look_page(look) if html else "", out)
    if not is_json:
        draw_look(out, look)
    out.result(look.as_json())


def _subject(
    files: list[Path] | None,
    folder: Path | None,
    *,
    base: str,
    user_names: list[str] | None,
    character_names: list[str] | None,
    out: Output,
) -> tuple[list[Path], Config, Path]:
    """Return the files, the settings, and the folder they are from."""
    if folder is None and not files:
        raise typer.BadParameter("name files with conversations, or a character's folder with --folder")
    if folder is not None and not (folder / "duologue.toml").is_file():
        raise ConfigError(
            "this is no character's folder",
            where=str(folder),
            needed="a duologue.toml in it",
            action="Make one with: duologue new NAME",
        )
    # The settings are those of the folder that the files lie in; a file of the folder asked for stands for them.
    named = [folder / "duologue.toml"] if folder is not None else files or []
    config, home = config_for(named, user_names=user_names, character_names=character_names, base=base)
    paths = files or list(resolve_files(config.data.train, home))
    return paths, ask_who_is_who(paths, config, home, out), home


def _with_lengths(config: Config, max_length: int | None, long_conversations: str | None) -> Config:
    updates: dict[str, object] = {}
    if max_length is not None:
        updates["max_length_tokens"] = max_length
    if long_conversations is not None:
        updates["long_conversations"] = long_conversations
    return config.model_copy(update={"data": config.data.model_copy(update=updates)})


def _tokenizer(config: Config) -> TextTokenizer:
    return open_trainer("hf").tokenizer(BaseModel(config.model.base, trusted_code=config.model.trusted_code))


def _write(path: Path | None, page: str, out: Output) -> None:
    if path is None:
        return
    if path.is_dir():
        raise DataError("the page cannot be written: this is a folder", where=str(path), action="Name a file.")
    write_page(path, page)
    out.say(f"wrote {path}")
