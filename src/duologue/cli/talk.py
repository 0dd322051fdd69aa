"""`duologue chat`: talk in the terminal."""

from pathlib import Path
from typing import Annotated

import typer

from duologue.chat import Bot
from duologue.cli.engines import EngineChoice, EngineOption, open_chosen
from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.terminal import TerminalChat
from duologue.cli.workflow import open_folder, trained_adapter_or_none
from duologue.config import Config

Folder = Annotated[Path, typer.Argument(help="A character's folder.")]


def chat(
    folder: Folder,
    *,
    engine: EngineOption = "auto",
    message: Annotated[str, typer.Option(help="Say this once, print the reply, and end.")] = "",
    session: Annotated[str, typer.Option(help="Go on with this session; a new one by default.")] = "",
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Talk to the character in the terminal. /help lists the commands."""
    out = Output(is_json=is_json)
    bot = _open(folder, overrides, out, engine)
    try:
        terminal = TerminalChat(bot, out, session_id=session)
        if message or is_json:
            out.result(terminal.say_once(message))
        else:
            terminal.run()
    finally:
        bot.close()


def _open(folder: Path, overrides: list[str] | None, out: Output, engine: EngineChoice) -> Bot:
    config: Config = open_folder(folder, overrides)
    adapter = trained_adapter_or_none(folder) if engine in ("auto", "hf", "gguf") else None
    if adapter is None and engine in ("auto", "hf"):
        out.say(f"nothing is trained yet, so the base model replies; train with: duologue train {folder}")
    return open_chosen(folder, config, adapter, out, engine=engine)
