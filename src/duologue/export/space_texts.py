"""The texts of a Space: its README with the front matter the Hub reads, and app.py."""

import json

from duologue.characters import Character
from duologue.config import Config
from duologue.export.licences import Licence
from duologue.export.model_card import base_and_licence

PYTHON = "3.12"
_COLORS = ("indigo", "purple")
_TAGS = ("duologue", "character", "chat")

APP = '''"""Serves the character of this folder with the duologue in the wheel beside this file."""

import sys
import tempfile
import zipfile
from pathlib import Path

try:
    import spaces  # noqa: F401  (on ZeroGPU before anything that knows CUDA)
except ImportError:
    pass

HERE = Path(__file__).resolve().parent


def run(program: str) -> None:
    """Unpack the wheel, which is a zip file, and serve with what is in it."""
    (wheel,) = HERE.glob("duologue-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(program)
    sys.path.insert(0, program)
    from duologue.cli.space_app import main

    main(HERE)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="duologue-") as folder:
        run(folder)
'''


def readme(character: Character, config: Config, *, base: str, hardware: str, gradio: str, is_zero: bool) -> str:
    """Return README.md of a Space.

    Args:
        character: Who talks.
        config: The rating decides about the tag.
        base: The base model.
        hardware: What it should run on.
        gradio: The version of Gradio.
        is_zero: Whether that is ZeroGPU.
    """
    name = " ".join(character.display_name.split())
    rating = config.guard.rating
    public, licence = base_and_licence(base)
    tags = [*_TAGS, *([] if rating == "general" else ["not-for-all-audiences"])]
    front = {
        "title": name,
        "emoji": "💬",
        "colorFrom": _COLORS[0],
        "colorTo": _COLORS[1],
        "sdk": "gradio",
        "sdk_version": gradio,
        "python_version": PYTHON,
        "app_file": "app.py",
        "suggested_hardware": hardware,
        "short_description": f"Talk to {name}"[:60],
        "pinned": False,
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items()]
    if licence.code:
        lines.append(f"license: {json.dumps(licence.hub_code)}")
    if "/" in public:
        lines += ["models:", f"- {json.dumps(public)}"]
    lines += ["tags:", *(f"- {tag}" for tag in tags)]
    parts = ["---", *lines, "---", "", *_body(name, base=public, licence=licence, is_zero=is_zero, rating=rating)]
    return "\n".join(parts) + "\n"


def _body(name: str, *, base: str, licence: Licence, is_zero: bool, rating: str) -> list[str]:
    plain = name.replace("[", "").replace("]", "").replace("<", "").replace("`", "")
    words = [
        f"# {plain}",
        "",
        f"A character made with duologue, on the base model `{base.replace('`', '')}`. What it says is made up by a "
        "model; it is no person.",
        "",
        "## Before it starts",
        "",
        "Settings → Variables and secrets → New secret:",
        "",
        "- `DUOLOGUE_API_KEY`: a long random text. Whoever knows it is an admin and can make "
        "accounts for others on the page; without it the Space refuses to start.",
        "- `DUOLOGUE_DATABASE_URL` (optional): a PostgreSQL address. Chats, memories and accounts are kept there.",
        "- `HF_TOKEN` (only if the base model is gated): a token that may read it.",
        "",
        "Without a database, chats are kept in `/data` if storage is mounted there; otherwise they are lost when the "
        "Space restarts. `DUOLOGUE_SPACE_DATA` names another folder.",
        "",
        "Open the Space at its own address (`https://OWNER-NAME.hf.space`): the page does not let itself be shown "
        "inside another one.",
        "",
    ]
    if is_zero:
        words += ["It asks ZeroGPU for as many seconds as the longest reply may take, at most 120.", ""]
    if rating != "general":
        words += [f"Content rating: {rating}. Visitors must prove their age.", ""]
    head = f"The base model's licence ({licence.name}) applies. Whoever shares:" if licence.name else ""
    shown = [f"**{licence.display}**", ""] if licence.display else []
    return [*words, "## Licence", "", *shown, *([head, ""] if head else []), *(f"- {duty}" for duty in licence.duties)]
