"""`duologue chat` in the terminal, `duologue serve` for the page and the API."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from duologue.chat import Bot, open_bot
from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.places import database_url, supermemory_key
from duologue.cli.terminal import TerminalChat
from duologue.cli.workflow import open_folder, trained_adapter_or_none
from duologue.config import Config
from duologue.engine import EngineName

Folder = Annotated[Path, typer.Argument(help="A character's folder.")]
EngineOption = Annotated[EngineName, typer.Option(help="Engine that replies.")]
API_KEY_VARIABLE = "DUOLOGUE_API_KEY"


def chat(
    folder: Folder,
    *,
    engine: EngineOption = "hf",
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


def serve(
    folder: Folder,
    *,
    engine: EngineOption = "hf",
    host: Annotated[str | None, typer.Option(help="Address; server.host by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; server.port by default, 0 takes a free one.")] = None,
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Serve the web page and the OpenAI-compatible API."""
    serve_folder(folder, overrides, Output(is_json=is_json), engine=engine, host=host, port=port)


def serve_folder(
    folder: Path,
    overrides: list[str] | None,
    out: Output,
    *,
    engine: EngineName,
    host: str | None,
    port: int | None,
    document: dict[str, Any] | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        folder: A character's folder.
        overrides: Lines of `--set`.
        out: Where the address goes; with `--json` it is part of the one document, together with `document`.
        engine: Engine that replies.
        host: Address; `server.host` when None.
        port: Port; `server.port` when None.
        document: What an earlier step has to say in the same JSON document.

    Raises:
        ConfigError: The port is in use, or the address is not loopback and no key is set.
    """
    from duologue.serve import build_app, check_address, serve

    config = open_folder(folder, overrides)
    host = host or config.server.host
    port = config.server.port if port is None else port
    check_address(host=host, port=port)  # before the model is loaded
    api_key = os.environ.get(API_KEY_VARIABLE, "")
    bot = _open(folder, overrides, out, engine)
    card = config.character.card

    def ready(address: str) -> None:
        out.say(f"\n{bot.name} is at {address} and, for OpenAI clients, at {address}/v1 (Ctrl-C ends)")
        out.result({**(document or {}), "address": address, "api": f"{address}/v1", "model": bot.model_id})

    try:
        serve(
            build_app(bot, config=config, api_key=api_key, card=folder / card if card else None),
            host=host,
            port=port,
            on_ready=ready,
        )
    finally:
        bot.close()


def _open(folder: Path, overrides: list[str] | None, out: Output, engine: EngineName) -> Bot:
    config: Config = open_folder(folder, overrides)
    adapter = trained_adapter_or_none(folder) if engine in ("hf", "gguf") else None
    if adapter is None and engine == "hf":
        out.say(f"nothing is trained yet, so the base model replies; train with: duologue train {folder}")
    out.say(f"opening {config.model.base} ({engine})")
    return open_bot(
        folder,
        config,
        engine=engine,
        adapter=adapter,
        database_url=database_url(),
        supermemory_key=supermemory_key(),
    )
