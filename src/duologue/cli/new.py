"""`duologue new`: a character's folder."""

import re
import shutil
from pathlib import Path
from typing import Annotated

import typer

from duologue.characters import load_character
from duologue.cli.output import JsonFlag, Output
from duologue.config import recipe_text
from duologue.errors import ConfigError


def new(
    name: Annotated[str, typer.Argument(help="Name of the folder to make.")],
    recipe: Annotated[str, typer.Option(help="Recipe to start from.")] = "quickstart",
    data: Annotated[list[Path] | None, typer.Option(help="Files with conversations; copied into data/.")] = None,
    card: Annotated[Path | None, typer.Option(help="Character card (PNG or JSON); copied.")] = None,
    is_json: JsonFlag = False,
) -> None:
    """Make a character's folder: duologue.toml, card and data."""
    out = Output(is_json=is_json)
    folder = make_folder(Path(name), recipe=recipe, data=tuple(data or ()), card=card)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    out.say(f"made {folder}: {', '.join(files)}")
    out.say(f"next: duologue train {folder}" if data else f"next: put conversations into {folder / 'data'}")
    out.result({"folder": str(folder), "files": files})


def make_folder(folder: Path, *, recipe: str, data: tuple[Path, ...], card: Path | None) -> Path:
    """Make a character's folder; it appears whole or not at all.

    Raises:
        ConfigError: The folder exists already, or the card is none.
        DataError: A data file cannot be read.
    """
    if folder.exists():
        raise ConfigError("this folder exists already", where=str(folder), action="Choose another name.")
    text = recipe_text(recipe)
    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / "data").mkdir(parents=True)
        for file in data:
            shutil.copyfile(file, partial / "data" / file.name)
        if card is not None:
            load_character(card)
            target = f"character{card.suffix.lower()}"
            shutil.copyfile(card, partial / target)
            text = _with_card(text, target)
        (partial / "duologue.toml").write_text(text, encoding="utf-8")
        partial.rename(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        where = str(error.filename or folder)
        raise ConfigError(f"the folder cannot be made ({error.strerror})", where=where) from error
    return folder


def _with_card(text: str, file: str) -> str:
    if re.search(r"^\[character\]$", text, flags=re.MULTILINE):
        return re.sub(r"^\[character\]$", f'[character]\ncard = "{file}"', text, flags=re.MULTILINE)
    return f'{text}\n[character]\ncard = "{file}"\n'
