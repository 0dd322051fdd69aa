"""`duologue data`: the account of conversation files."""

import sys
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import typer

from duologue.characters import Character
from duologue.chat import load_folder_character
from duologue.cli.output import JsonFlag, Output
from duologue.cli.progress import show_progress
from duologue.cli.show import show_account
from duologue.config import CONFIG_NAME, Config, load_config, make_config
from duologue.data import Account, Fault, FileAccount, check_files, find_unknown_speakers, load_settings
from duologue.engine import BaseModel, TextTokenizer, open_trainer
from duologue.errors import ConfigError, DataError, DuologueError, EngineError

app = typer.Typer(help="Look at conversation files.", no_args_is_help=True)

FilesArgument = Annotated[list[Path], typer.Argument(help="Files with conversations.")]
MeOption = Annotated[
    list[str] | None, typer.Option("--me", metavar="NAME", help="Who is the user in a chat export; can be repeated.")
]
AsOption = Annotated[
    list[str] | None,
    typer.Option("--as", metavar="NAME", help="Who is the character in a chat export; can be repeated."),
]
BaseOption = Annotated[
    str, typer.Option(help="Model whose tokens are counted; by default the one of the files' folder, or the bundled.")
]

_DEFAULT_BASE = "bundled:smollm2-135m"
_NAME = "Character"
_SHOWN_FAULTS = 50
_NOT_COUNTED = "file not counted"


@app.command()
def check(
    files: FilesArgument,
    *,
    user_names: MeOption = None,
    character_names: AsOption = None,
    base: BaseOption = "",
    is_lenient: Annotated[bool, typer.Option("--lenient", help="Exit with 0 although rows were dropped.")] = False,
    is_json: JsonFlag = False,
) -> None:
    """Check files and list every fault; exits with 3 when a row or a file was refused."""
    out = Output(is_json=is_json)
    try:
        account = _account(files, out, user_names=user_names, character_names=character_names, base=base)
    except DuologueError as error:
        if not is_json:
            raise
        out.result(_unread(files, error))
        raise typer.Exit(error.exit_code) from error
    show_account(out, account, None)
    _show_faults(out, account)
    out.result(account.as_json())
    if account.num_refused and not is_lenient:
        raise typer.Exit(DataError.exit_code)


def _account(
    files: list[Path], out: Output, *, user_names: list[str] | None, character_names: list[str] | None, base: str
) -> Account:
    config, folder = config_for(files, user_names=user_names, character_names=character_names, base=base)
    config = ask_who_is_who(files, config, folder, out)
    with show_progress(out) as on_event:
        return check_files(
            files,
            config,
            folder,
            character=character_for(config, folder),
            open_tokenizer=lambda: open_tokenizer(config.model.base, out),
            on_event=on_event,
        )


def _unread(files: list[Path], error: DuologueError) -> dict[str, Any]:
    """Return the account of a command that ended before the files were counted: each of them with the reason."""
    unread = tuple(
        FileAccount(
            path=str(path),
            format="unknown",
            sha256="",
            num_rows=0,
            num_loaded=0,
            num_dropped=0,
            faults=[Fault(str(path), 0, "", error.sentence(), _NOT_COUNTED)],
        )
        for path in files
    )
    return Account(unread, 0, 0, 0).as_json() | error.as_json()


def config_for(
    files: list[Path], *, user_names: list[str] | None, character_names: list[str] | None, base: str
) -> tuple[Config, Path]:
    """Return the settings for files: those of the character's folder they lie in, or the defaults; and that folder.

    Raises:
        ConfigError: The folder's duologue.toml has faults.
    """
    overrides: dict[str, object] = {}
    if user_names:
        overrides["user_names"] = tuple(user_names)
    if character_names:
        overrides["character_names"] = tuple(character_names)
    folders = {_character_folder(file) for file in files}
    folder = folders.pop() if len(folders) == 1 else None
    if folder is not None:
        config = load_config(folder / CONFIG_NAME)
    else:
        tree = {"model": {"base": _DEFAULT_BASE}, "data": {"train": ["*"]}}
        config = make_config(tree, where="data check")
    data = config.data.model_copy(update=overrides)
    model = config.model.model_copy(update={"base": base}) if base else config.model
    return config.model_copy(update={"data": data, "model": model}), folder or Path.cwd()


def character_for(config: Config, folder: Path) -> Character:
    """Return whose card is in front of the conversations: the folder's, or a plain one where there is no folder.

    Raises:
        ConfigError: The card is missing or broken.
    """
    if (folder / CONFIG_NAME).is_file():
        return load_folder_character(folder, config)
    return Character(_NAME)


def ask_who_is_who(files: list[Path], config: Config, folder: Path, out: Output) -> Config:
    """Return the config with the character's name, asked at a terminal when a chat log does not say who is who."""
    is_nobody_there = out.is_json or not (sys.stdin.isatty() and out.console.is_terminal)
    if is_nobody_there or config.data.user_names or config.data.character_names:
        return config
    speakers = find_unknown_speakers(files, load_settings(config, folder))
    if not speakers:
        return config
    names = [name for name, _ in speakers.most_common()]
    out.say("A chat log does not say who is who. Who is the character?")
    for number, name in enumerate(names, start=1):
        out.say(f"  {number}  {name} ({speakers[name]} messages)")
    choice = 0
    while not 1 <= choice <= len(names):
        choice = typer.prompt("Number", type=int)
    data = config.data.model_copy(update={"character_names": (names[choice - 1],)})
    return config.model_copy(update={"data": data})


def open_tokenizer(base: str, out: Output) -> TextTokenizer | None:
    """Return the tokenizer of a base model, or None with a word when it cannot be opened."""
    try:
        return open_trainer("hf").tokenizer(BaseModel(base))
    except (ConfigError, EngineError) as error:
        out.say(f"{error} Token counts are estimated from the text length.", style="yellow")
        return None


def _character_folder(file: Path) -> Path | None:
    """Return the character's folder a file lies in, directly or in its data/."""
    here = file.resolve().parent
    return next((folder for folder in (here, here.parent) if (folder / CONFIG_NAME).is_file()), None)


def _show_faults(out: Output, account: Account) -> None:
    # What was refused comes first: a note in every row must not push it out of sight.
    refused = filter(lambda fault: fault.is_refused, account.iter_faults())
    others = filter(lambda fault: not fault.is_refused, account.iter_faults())
    for fault in islice(chain(refused, others), _SHOWN_FAULTS):
        out.say(f"  {fault}")
    if account.num_faults > _SHOWN_FAULTS:
        out.say(f"  and {account.num_faults - _SHOWN_FAULTS:,} more; --json lists them all")
