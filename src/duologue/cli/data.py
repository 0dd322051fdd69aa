"""`duologue data`: the account of conversation files."""

from pathlib import Path
from typing import Annotated

import typer

from duologue.cli.output import JsonFlag, Output
from duologue.cli.show import show_account
from duologue.data import load_files
from duologue.errors import DataError
from duologue.guard import ContentPolicy

app = typer.Typer(help="Look at conversation files.", no_args_is_help=True)
_SHOWN_FAULTS = 50


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Files with conversations.")],
    is_lenient: Annotated[bool, typer.Option("--lenient", help="Exit with 0 although rows were dropped.")] = False,
    is_json: JsonFlag = False,
) -> None:
    """Check files and list every fault; exits with 3 when a row was refused."""
    out = Output(is_json=is_json)
    _, account = load_files(files, policy=ContentPolicy("general"))
    show_account(out, account, None)
    for fault in account.faults[:_SHOWN_FAULTS]:
        out.say(f"  {fault}")
    if len(account.faults) > _SHOWN_FAULTS:
        out.say(f"  and {len(account.faults) - _SHOWN_FAULTS} more; --json lists them all")
    out.result(account.as_json())
    if account.num_dropped and not is_lenient:
        raise typer.Exit(DataError.exit_code)
