"""`duologue account`: who may come in to a server, and the keys of their programs."""

import contextlib
import getpass
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from duologue.cli.output import JsonFlag, Output
from duologue.cli.places import database_url
from duologue.errors import ConfigError

if TYPE_CHECKING:
    from duologue.cli.erasing import Erased
    from duologue.serve import Accounts

app = typer.Typer(help="Make and remove accounts of a server, and the API keys of programs.", no_args_is_help=True)
key_app = typer.Typer(help="API keys with which programs come in as an account.", no_args_is_help=True)
app.add_typer(key_app, name="key")

Folder = Annotated[Path, typer.Argument(help="The folder that is served: a character's, or one of several characters.")]
Name = Annotated[str, typer.Argument(help="Name of the account.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin instead of asking.")
]


@app.command()
def add(
    folder: Folder,
    name: Name,
    *,
    role: Annotated[
        str, typer.Option(help="`admin` or `user`; the first account is an admin by default, others are users.")
    ] = "",
    password_stdin: PasswordStdin = False,
    is_json: JsonFlag = False,
) -> None:
    """Make an account. From the first one on, also visitors from this machine must log in."""
    from duologue.serve.door import ROLES

    out = Output(is_json=is_json)
    with _opened(folder) as accounts:
        role = role or ("user" if accounts.exist() else "admin")
        chosen = next((known for known in ROLES if known == role), None)
        if chosen is None:
            raise ConfigError(f"there is no role '{role}'", where="--role", needed=" or ".join(ROLES))
        account = accounts.add(name, _password(is_read=password_stdin), role=chosen)
    out.say(f"made the account '{account.name}' ({account.role})")
    out.result({"account": {"id": account.id, "name": account.name, "role": account.role}})


@app.command("list")
def list_command(folder: Folder, is_json: JsonFlag = False) -> None:
    """List accounts with their keys."""
    out = Output(is_json=is_json)
    listed: list[dict[str, Any]] = []
    with _opened(folder) as accounts:
        for account in accounts.listed():
            num_keys = len(accounts.keys(account.id))
            made_at = _shown(account.made_at)
            out.say(f"{account.name}  {account.role}  since {made_at[:10]}  {num_keys} keys")
            facts = {"id": account.id, "name": account.name, "role": account.role}
            listed.append({**facts, "made_at": made_at, "num_keys": num_keys})
    if not listed:
        out.say("no accounts")
    out.result({"accounts": listed})


@app.command()
def remove(
    folder: Folder,
    name: Name,
    erase: Annotated[
        bool, typer.Option("--erase", help="Erase its chats, memories and settings too, to the last byte.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    is_json: JsonFlag = False,
) -> None:
    """Remove an account with its keys and logins; a server that runs ends what it streams to them."""
    out = Output(is_json=is_json)
    with _opened(folder) as accounts:
        account = accounts.named(name)
        accounts.require_removable(account.id)  # before anything of it is erased
        if not yes:
            if is_json or not sys.stdin.isatty():
                raise ConfigError(
                    f"this removes '{account.name}' for good", where="account remove", action="Say it with --yes."
                )
            what = "with its chats and memories " if erase else ""
            typer.confirm(f"Remove the account '{account.name}' {what}for good?", abort=True)
        # Before, so that a failure leaves an account to repeat it with; and after, for what was said meanwhile.
        erased = _erased(folder, account.id) if erase else []
        accounts.remove(account.id)
        erased += _erased(folder, account.id) if erase else []
    if erase:
        _say_erased(account.name, erased, out)
    else:
        out.say(
            f"removed the account '{account.name}'; its chats and memories stay, and no other account can reach them"
        )
    out.result({"removed": account.id, "erased": _as_json(erased) if erase else None})


@app.command()
def password(
    folder: Folder,
    name: Name,
    password_stdin: PasswordStdin = False,
    keep_keys: Annotated[bool, typer.Option(help="Leave the account's keys as they are.")] = False,
    is_json: JsonFlag = False,
) -> None:
    """Change a password; every login and every key of the account ends."""
    out = Output(is_json=is_json)
    with _opened(folder) as accounts:
        account = accounts.named(name)
        num_keys = 0 if keep_keys else len(accounts.keys(account.id))
        accounts.set_password(account.id, _password(is_read=password_stdin), keeps_keys=keep_keys)
    told = f", and {num_keys} of its keys ended" if num_keys else ""
    out.say(f"changed the password of '{account.name}'; every browser must log in anew{told}")
    shown = {"id": account.id, "name": account.name, "role": account.role}
    out.result({"account": shown, "num_keys_removed": num_keys})


@key_app.command("add")
def add_key(
    folder: Folder,
    name: Name,
    key_name: Annotated[str, typer.Argument(metavar="KEY_NAME", help="What the key is for, such as `sillytavern`.")],
    is_json: JsonFlag = False,
) -> None:
    """Make an API key. It is shown this once."""
    out = Output(is_json=is_json)
    with _opened(folder) as accounts:
        key = accounts.add_key(accounts.named(name).id, key_name)
    out.say(f"the key '{key.name}' of '{key.account.name}', shown this once:")
    out.say_to_paste(key.key)
    out.result({"key": {"id": key.id, "name": key.name, "key": key.key}})


@key_app.command("list")
def list_keys(folder: Folder, name: Name, is_json: JsonFlag = False) -> None:
    """List the API keys of an account."""
    out = Output(is_json=is_json)
    with _opened(folder) as accounts:
        keys = accounts.keys(accounts.named(name).id)
    listed = []
    for key in keys:
        used_at = _shown(key.used_at) if key.used_at else ""
        out.say(
            f"{key.id}  {key.name}  made {_shown(key.made_at)[:10]}  {f'used {used_at}' if used_at else 'never used'}"
        )
        listed.append({"id": key.id, "name": key.name, "made_at": _shown(key.made_at), "used_at": used_at or None})
    if not keys:
        out.say("no keys")
    out.result({"keys": listed})


@key_app.command("remove")
def remove_key(
    folder: Folder,
    name: Name,
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, as `account key list` shows it.")],
    is_json: JsonFlag = False,
) -> None:
    """Remove an API key; a server that runs ends what it streams to it."""
    out = Output(is_json=is_json)
    with _opened(folder) as accounts:
        accounts.remove_key(accounts.named(name).id, key_id)
    out.say(f"removed the key {key_id}")
    out.result({"removed": key_id})


def _erased(folder: Path, account_id: str) -> "list[Erased]":
    from duologue.cli.erasing import erase_user

    return [erase_user(folder, account_id)]


def _as_json(erased: "list[Erased]") -> dict[str, Any]:
    receipts = [receipt for each in erased for receipt in each.receipts]
    return {
        "num_chats": sum(each.num_chats for each in erased),
        "num_duels": sum(each.num_duels for each in erased),
        "num_memories": sum(receipt.num_lines + receipt.num_facts for receipt in receipts),
        "is_proved": all(receipt.is_proved for receipt in receipts),
    }


def _say_erased(name: str, erased: "list[Erased]", out: Output) -> None:
    figures = _as_json(erased)
    out.say(
        f"removed the account '{name}' and erased {figures['num_chats']} chats, {figures['num_memories']} memories and "
        f"{figures['num_duels']} duels"
    )
    if not figures["is_proved"]:
        out.say("not every byte is proved gone: duologue memory receipts FOLDER says of which files")


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator["Accounts"]:
    from duologue.serve.door import BOOK_NAME, Accounts, Book

    if not folder.is_dir():
        raise ConfigError("there is no such folder", where=str(folder), action="Make one with: duologue new NAME")
    book = Book(database_url() or folder / BOOK_NAME, folder=folder)
    try:
        yield Accounts(book)
    finally:
        book.close()


def _password(*, is_read: bool) -> str:
    """Return a password that nobody sees: neither in a list of processes nor in the shell's history."""
    if is_read:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise ConfigError(
            "there is no terminal to ask for the password", where="account", action="Send it to --password-stdin."
        )
    first = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != first:
        raise ConfigError("the two passwords are not the same", where="account", action="Try again.")
    return first


def _shown(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
