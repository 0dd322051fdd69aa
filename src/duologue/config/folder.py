"""A recipe, a card and data to a character's folder."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from duologue.config.load import CONFIG_NAME, recipe_text
from duologue.errors import ConfigError


def make_folder(
    folder: Path,
    *,
    recipe: str,
    data: tuple[Path, ...],
    card: Path | None,
    user_names: tuple[str, ...] = (),
    character_names: tuple[str, ...] = (),
) -> Path:
    """Make a character's folder; it appears whole or not at all.

    Args:
        folder: Where.
        recipe: Name of the recipe that becomes duologue.toml.
        data: Files to copy; `data.train` names them.
        card: Character card to copy.
        user_names: Who is the user in a chat export.
        character_names: Who is the character in a chat export.

    Raises:
        ConfigError: The folder exists already, the card is none, or a file cannot be copied.
    """
    from duologue.characters import find_form, load_character  # not needed to read a configuration

    if folder.exists():
        raise ConfigError("this folder exists already", where=str(folder), action="Choose another name.")
    _require_files(data, option="--data")
    _require_files((card,) if card is not None else (), option="--card")
    text = _with_data(recipe_text(recipe), data, user_names=user_names, character_names=character_names)
    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / "data").mkdir(parents=True)
        for file in data:
            shutil.copyfile(file, partial / "data" / file.name)
        if card is not None:
            load_character(card)
            target = f"character.{find_form(card)}"
            shutil.copyfile(card, partial / target)
            text = _with_card(text, target)
        (partial / CONFIG_NAME).write_text(text, encoding="utf-8")
        partial.rename(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        where = str(error.filename or folder)
        raise ConfigError(f"the folder cannot be made ({error.strerror})", where=where) from error
    return folder


def _require_files(files: tuple[Path, ...], *, option: str) -> None:
    """Refuse names of files that are not there, all at once."""
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        kinds = "this is a folder" if len(missing) == 1 and Path(missing[0]).is_dir() else "there is no such file"
        raise ConfigError(
            kinds if len(missing) == 1 else f"there are no such files: {', '.join(missing)}",
            where=missing[0] if len(missing) == 1 else option,
            needed="a file that can be copied",
            action=f"Check the name after {option}, and from which folder it is relative.",
        )


def _with_data(
    text: str, files: tuple[Path, ...], *, user_names: tuple[str, ...], character_names: tuple[str, ...]
) -> str:
    """Return the config with the files it trains on and who is who in them."""
    names = [file.name for file in files]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise ConfigError(f"two data files are named '{twice}'", action="Rename one of them.")
    lines = []
    if any(not name.endswith(".json") for name in names):  # every recipe names data/*.json
        text = re.sub(r"^train = .*\n", "", text, count=1, flags=re.MULTILINE)
        lines.append(f"train = {_toml([f'data/{_literal(name)}' for name in names])}")
    if user_names:
        lines.append(f"user_names = {_toml(user_names)}")
    if character_names:
        lines.append(f"character_names = {_toml(character_names)}")
    added = "".join(f"{line}\n" for line in lines)
    return re.sub(r"^\[data\]\n", lambda found: found[0] + added, text, count=1, flags=re.MULTILINE)


def _literal(name: str) -> str:
    """Return a file name as a pattern that matches only itself."""
    return re.sub(r"[*?\[]", lambda sign: f"[{sign[0]}]", name)


def _toml(texts: Sequence[str]) -> str:
    """Return a TOML list of texts. A JSON string is a TOML string, but for DEL, which JSON leaves as it is."""
    return json.dumps(list(texts), ensure_ascii=False).replace("\x7f", "\\u007F")


def _with_card(text: str, file: str) -> str:
    if re.search(r"^\[character\]$", text, flags=re.MULTILINE):
        return re.sub(r"^\[character\]$", f'[character]\ncard = "{file}"', text, flags=re.MULTILINE)
    return f'{text}\n[character]\ncard = "{file}"\n'
