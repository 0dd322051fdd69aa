"""A really running server: uvicorn in a thread on a free port, around a bot with the fake engine and real stores."""

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI

from duologue.characters import LILA_FOLDER, load_character
from duologue.chat import Bot, Sessions
from duologue.config import Config, Home, make_config
from duologue.engine import Generator
from duologue.engine.fake import FakeGenerator
from duologue.memory import MemoryStore
from duologue.serve import Door, Library, build_app
from duologue.serve.deadlines import Deadlines
from duologue.serve.run import Server

CARD = LILA_FOLDER / "character.png"


@dataclass
class Running:
    """A server that answers.

    Attributes:
        url: Its address.
        bot: Who answers.
        app: The app.
        stop: Ends it, as a signal would.
        server: What serves it.
    """

    url: str
    bot: Bot
    app: FastAPI
    stop: Callable[[], None]
    server: Server

    @property
    def door(self) -> Door:
        """Accounts, logins and proofs of age."""
        return self.app.state.facts.door

    def num_running(self) -> int:
        """Return how many replies run or wait."""
        return self.app.state.facts.generations.num_running

    def wait_until_idle(self) -> None:
        """Return when no reply runs; fail when one still does after a while."""
        deadline = time.monotonic() + 10
        while self.num_running():
            assert time.monotonic() < deadline, "a reply is still running"
            time.sleep(0.01)


@dataclass
class Gate:
    """Holds a generator between two words until the test lets it go on."""

    started: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)


class GatedGenerator(FakeGenerator):
    """A fake engine that says one word and then waits for its gate, or to be cancelled."""

    def __init__(self, gate: Gate, *, reply: str) -> None:
        super().__init__(reply=reply)
        self._gate = gate

    def stream(self, prompt_ids, sampling, *, cancel):
        pieces = super().stream(prompt_ids, sampling, cancel=cancel)
        yield next(pieces)
        self._gate.started.set()
        while not self._gate.opened.wait(0.01) and not cancel.is_set():
            pass
        yield from pieces


def make_test_config(**guard: object) -> Config:
    tree = {"model": {"base": "fake"}, "data": {"train": ["none.json"]}, "server": {"max_waiting": 2}}
    generous = {"requests_per_minute": 100_000, "burst": 100_000, "page_requests_per_minute": 1_000_000}
    return make_config({**tree, "guard": {**generous, **guard}}, where="test")


def make_bot(folder: Path, *, generator: Generator | None = None, config: Config | None = None) -> Bot:
    return Bot(
        generator or FakeGenerator(),
        load_character(CARD),
        config=config or make_test_config(),
        sessions=Sessions.open(folder / "chats.sqlite"),
        memory=MemoryStore.open(folder / "memory.sqlite"),
    )


@contextlib.contextmanager
def running(
    bot: Bot,
    *,
    config: Config | None = None,
    api_key: str = "",
    card: Path | None = CARD,
    deadlines: Deadlines | None = None,
    accounts: Path | None = None,
    clock: Callable[[], float] = time.time,
    folder: Path = CARD.parent,
) -> Iterator[Running]:
    """Run a server.

    Args:
        bot: Who answers; it is closed at the end.
        config: What the operator has set.
        api_key: The one key that opens everything.
        card: The character's card.
        deadlines: What a connection may take.
        accounts: Folder of the accounts; a new one, which goes at the end, by default.
        clock: The time, for logins and proofs of age.
        folder: The character's folder.
    """
    config = config or make_test_config()
    home = Home(server=config.server, guard=config.guard, age=config.age)
    with contextlib.ExitStack() as stack:
        accounts = accounts or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        door = Door.open(accounts, home, shared_key=api_key, clock=clock)
        library = Library.of(bot, home=home, folder=folder, card=card)
        yield from _run(bot, build_app(library, home=home, door=door), deadlines)


def _run(bot: Bot, app: FastAPI, deadlines: Deadlines | None) -> Iterator[Running]:
    is_ready = threading.Event()
    server = Server(app, on_ready=is_ready.set, deadlines=deadlines)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(20)

    try:
        assert is_ready.wait(30)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Running(f"http://127.0.0.1:{port}", bot, app, stop, server)
    finally:
        stop()
        bot.close()
