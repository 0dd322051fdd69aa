"""`duologue new`: a character's folder."""

from pathlib import Path
from typing import Annotated

import typer

from duologue.characters import find_form, load_character
from duologue.cli.output import JsonFlag, Output
from duologue.cli.places import memory_place
from duologue.config import Config, make_folder
from duologue.errors import ConfigError
from duologue.guard import check_character

_MANIFEST = "duologue.json"


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
    bundle: Annotated[
        Path | None, typer.Option(help="A bundle (`duologue export bundle`): card, adapter and settings in one file.")
    ] = None,
    base: Annotated[
        str, typer.Option(help="The bundle's base model on this machine, where it has no public name.")
    ] = "",
    is_json: JsonFlag = False,
) -> None:
    """Make a character's folder: duologue.toml, card and data, or all that a bundle holds."""
    out = Output(is_json=is_json)
    if bundle is not None:
        if data or card is not None or user_names or character_names or recipe != "quickstart":
            raise ConfigError(
                "--bundle brings its own card and settings",
                needed="--bundle alone, or with --base",
                action="Leave out the other options; put conversations into data/ afterwards.",
            )
        if _is_bundle(bundle):
            _from_bundle(bundle, Path(name), base, out)
            return
        out.say(f"{bundle} has no {_MANIFEST}, so it is a character card alone: nothing in it is trained")
        card = bundle
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
    out.result({"folder": str(folder), "files": files, **({"bundle": None} if bundle is not None else {})})


def _is_bundle(file: Path) -> bool:
    """Whether a file is a bundle; a card of another form is none.

    Raises:
        ConfigError: There is no such file, or it is damaged.
    """
    if not file.is_file():
        raise ConfigError(
            "there is no such file", where=str(file), needed="a bundle", action="Check the name after --bundle."
        )
    if find_form(file) != "charx":
        return False
    from duologue.export import holds_bundle

    return holds_bundle(file)


def _from_bundle(file: Path, folder: Path, base: str, out: Output) -> None:
    from duologue.engine import BaseModel, open_trainer
    from duologue.export import unpack_bundle

    found = unpack_bundle(
        file,
        folder,
        base=base,
        open_tokenizer=lambda name: open_trainer("hf").tokenizer(BaseModel(name)),
        remember=_remember,
    )
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    kept = f", {found.num_card_files} of them the card's own" if found.num_card_files else ""
    out.say(f"made {folder}: {found.character} on {found.base}; {found.num_files} files verified{kept}")
    adapter = found.adapter
    fit = "its shapes fit the base" if adapter.is_shape_checked else "its shapes show when the base is opened"
    out.say(f"adapter of rank {adapter.rank}, {adapter.num_parameters:,} numbers; {fit}")
    if found.prompts_checked >= 0:
        out.say(f"{found.prompts_checked} prompts render here as they did for its maker")
    else:
        out.say("the base is not at hand, so it was not checked that prompts render as they did for its maker")
    if found.num_memories:
        out.say(f"{found.num_memories} memories came with it; `duologue memory forget` takes them out again")
    if found.rating != "general":
        out.say(f"its maker rated it '{found.rating}'; here it is 'general' until you set guard.rating yourself")
    out.say(f"next: duologue chat {folder}")
    out.result(
        {
            "folder": str(folder),
            "files": files,
            "bundle": {
                "character": found.character,
                "base": found.base,
                "rating": found.rating,
                "rank": adapter.rank,
                "is_shape_checked": adapter.is_shape_checked,
                "num_files": found.num_files,
                "num_card_files": found.num_card_files,
                "num_memories": found.num_memories,
                "prompts_checked": found.prompts_checked,
            },
        }
    )


def _remember(folder: Path, config: Config, lines: tuple[str, ...]) -> None:
    from duologue.chat import memory_scope
    from duologue.memory import MemoryStore

    store = MemoryStore.open(memory_place(folder))
    try:
        store.import_lines(lines, scope=memory_scope(folder, config), where="the bundle's memories")
    finally:
        store.close()
