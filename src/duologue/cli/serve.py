"""`duologue serve`: the web page and the API for one character or a home of several."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from duologue.chat import Bot, People
from duologue.cli.engines import EngineChoice, EngineOption, open_chosen, replies_at_once
from duologue.cli.notify import notify
from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.places import database_url, redis_url
from duologue.config import Config, load_home
from duologue.engine import Adapter, Shelf
from duologue.errors import ConfigError

API_KEY_VARIABLE = "DUOLOGUE_API_KEY"


def serve(
    folder: Annotated[
        Path, typer.Argument(help="A character's folder, or one that holds or will hold characters' folders.")
    ] = Path(),
    *,
    engine: EngineOption = "auto",
    host: Annotated[str | None, typer.Option(help="Address; server.host by default.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; server.port by default, 0 takes a free one.")
    ] = None,
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
    engine: EngineChoice,
    host: str | None,
    port: int | None,
    document: dict[str, Any] | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        folder: A character's folder, or one that holds characters' folders.
        overrides: Lines of `--set`.
        out: Where the address goes; with `--json` it is part of the one document, together with `document`.
        engine: Engine that replies.
        host: Address; `server.host` when None.
        port: Port; `server.port` when None.
        document: What an earlier step has to say in the same JSON document.

    Raises:
        ConfigError: The port is in use, or the address is not loopback and no key is set.
    """
    from duologue.serve import Door, Library, build_app, check_address, serve

    if not folder.is_dir():
        raise ConfigError("there is no such folder", where=str(folder), action="Make one with: duologue new NAME")
    home = load_home(folder, overrides=overrides or ())
    host = host or home.server.host
    port = home.server.port if port is None else port
    check_address(host=host, port=port)  # before a model is loaded
    api_key = os.environ.get(API_KEY_VARIABLE, "")
    num_replies = replies_at_once(home.server, engine)
    shelf = Shelf(home.server.max_models, num_replies=num_replies)
    library = Library(
        folder,
        home,
        open_bot=_Opening(out, engine, shelf, People(folder / "people.json"), num_replies),
        overrides=tuple(overrides or ()),
        shelf=shelf,
        num_replies=num_replies,
        engine="hf" if engine == "auto" else engine,  # the one that takes more memory
    )

    def ready(address: str) -> None:
        names = [entry.name for entry in library.entries()]
        who = f"{names[0]} is" if len(names) == 1 else f"{len(names) or 'no'} characters are"
        out.say(f"\n{who} at {address} and, for OpenAI clients, at {address}/v1 (Ctrl-C ends)")
        models = [entry.id for entry in library.entries() if not entry.fault]
        served = {"address": address, "api": f"{address}/v1", "model": models[0] if models else "", "models": models}
        out.result({**(document or {}), **served})
        notify("READY=1")

    try:
        if library.is_single:
            _load_only_one(library, out, engine)
        door = Door.open(folder, home, shared_key=api_key, database_url=database_url(), redis_url=redis_url())
        app = build_app(library, home=home, redis_url=redis_url(), door=door)
        serve(app, host=host, port=port, on_ready=ready)
    finally:
        library.close()
        shelf.close()


@dataclass(frozen=True, slots=True)
class _Opening:
    """Opens the bots of a server, all with the same shelf, people and secrets.

    Attributes:
        out: Where it is said what is opened.
        engine: What was asked for.
        shelf: The models.
        people: What visitors have set.
        num_replies: Replies that one model makes at the same time.
    """

    out: Output
    engine: EngineChoice
    shelf: Shelf
    people: People
    num_replies: int

    def __call__(self, folder: Path, config: Config, *, adapter: Adapter | None) -> Bot:
        """Return the bot of a folder."""
        return open_chosen(
            folder,
            config,
            adapter,
            self.out,
            engine=self.engine,
            shelf=self.shelf,
            people=self.people,
            num_replies=self.num_replies,
        )


def _load_only_one(library: Any, out: Output, engine: EngineChoice) -> None:  # noqa: ANN401  (serve is imported late)
    """Load the model of a home of one character at once: a fault is said here, and the first reply comes soon."""
    (entry,) = library.entries()
    if entry.fault:
        raise ConfigError(entry.fault)
    if not entry.runs and engine in ("auto", "hf"):
        out.say(f"nothing is trained yet, so the base model replies; train with: duologue train {entry.folder}")
    bot = library.bot(entry.id)
    assert bot.context_tokens  # loads the model
