"""`duologue new`: a character's folder."""

from pathlib import Path
from typing import Annotated

import typer

from duologue.characters import load_character
from duologue.cli.output import JsonFlag, Output
from duologue.config import make_folder
from duologue.guard import check_character


def new(
    name: Annotated[str, typer.Argument(help="Name of the folder to make.")],
    *,
    recipe: Annotated[str, typer.Option(help="Recipe to start from.")] = "quickstart",
    data: Annotated[list[Path] | None, typer.Option(help="Files with conversations; copied into data/.")] = None,
    user_names: Annotated[
        list[str] | None, typer.Option("--me", metavar="NAME", help="Who is the user in a chat export.")
    ] = None,
    character_names: Annotated[
        list[str] | None, typer.Option("--as", metavar="NAME", help="Who is the character in a chat export.")
    ] = None,
    card: Annotated[Path | None, typer.Option(help="Character card (PNG, JSON or CharX); copied.")] = None,
    is_json: JsonFlag = False,
) -> None:
    """Make a character's folder: duologue.toml, card and data."""
    out = Output(is_json=is_json)
    if card is not None:
        check_character(load_character(card), rating="adult", where=str(card))  # the limits that hold at every rating
    folder = make_folder(
        Path(name),
        recipe=recipe,
        data=tuple(data or ()),
        card=card,
        user_names=tuple(user_names or ()),
        character_names=tuple(character_names or ()),
    )
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    out.say(f"made {folder}: {', '.join(files)}")
    out.say(f"next: duologue train {folder}" if data else f"next: put conversations into {folder / 'data'}")
    out.result({"folder": str(folder), "files": files})
