"""`duologue card`: character cards."""

from pathlib import Path
from typing import Annotated

import typer

from duologue.characters import load_character, write_card
from duologue.cli.output import JsonFlag, Output

app = typer.Typer(help="Look at and convert character cards.", no_args_is_help=True)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A card, PNG or JSON.")],
    is_json: JsonFlag = False,
) -> None:
    """Print a character card."""
    out = Output(is_json=is_json)
    character = load_character(file)
    out.title(character.name)
    for label in ("description", "personality", "scenario", "greeting", "system_prompt"):
        if text := getattr(character, label):
            out.say(f"{label}: {text}")
    if character.alternate_greetings:
        out.say(f"alternate greetings: {len(character.alternate_greetings)}")
    out.result(character.as_v3())


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="The card to read.")],
    to: Annotated[Path, typer.Argument(help="The card to write, .png or .json.")],
    image: Annotated[Path | None, typer.Option(help="Picture for a PNG made from a JSON card.")] = None,
    is_json: JsonFlag = False,
) -> None:
    """Write a card in another form; unknown fields are kept."""
    out = Output(is_json=is_json)
    is_png_source = file.suffix.lower() == ".png"
    write_card(load_character(file), to, image=image or (file if is_png_source else None))
    out.say(f"wrote {to}")
    out.result({"path": str(to)})
