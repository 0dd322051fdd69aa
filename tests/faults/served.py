"""A served home for hostile visitors: two characters, a chat, memories, and an administrator, who may do everything."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from duologue.chat import People, open_bot
from duologue.config import load_home
from duologue.engine import Shelf
from duologue.serve import Door, Library, build_app
from duologue.serve.app import ServeFacts
from duologue.serve.run import Server
from tests.faults.routes import Route, routes_of, sample
from tests.serve.page.panels import PASSWORD, make_home

CHARACTER = "ada-bell"


@dataclass
class Served:
    """A served home.

    Attributes:
        root: Its folder.
        client: Asks it.
        library: Its characters.
        routes: What it answers to.
        values: What stands for each part of a path.
        facts: What the app knows of itself.
    """

    root: Path
    client: httpx.Client
    library: Library
    routes: list[Route]
    values: dict[str, str]
    facts: ServeFacts

    def ask(self, route: Route, body: Any = None, **options: Any) -> httpx.Response:
        """Ask a route, its path filled with things that are there."""
        if body is not None:
            options["json"] = body
        return self.client.request(route.method, route.filled(self.values), **options)

    def body(self, route: Route) -> Any:
        """Return a body that the route takes."""
        assert route.model is not None
        body = sample(route.model)
        path = route.path
        if "version" in body:
            body["version"] = self.client.get(self.path("card")).json()["version"]
        if path.startswith("/v1/") or path.endswith("tokenize"):
            body["model"] = CHARACTER if "chat" in path else "fake"
        fixed = {"messages": [{"role": "user", "content": "Hello"}], "picture": "", "recipe": "", "max_tokens": 4}
        fixed |= {"max_completion_tokens": 4, "response_format": None, "uploads": []}
        return body | {key: value for key, value in fixed.items() if key in body}

    def path(self, rest: str) -> str:
        """Return a path below the character."""
        return f"/page/characters/{CHARACTER}/{rest.format(**self.values)}"

    def wait_until_idle(self) -> None:
        """Return when no reply runs."""
        deadline = time.monotonic() + 30
        while self.facts.generations.num_running:
            assert time.monotonic() < deadline, "a reply is still running"
            time.sleep(0.005)


@contextlib.contextmanager
def served(root: Path, *, is_made: bool = False) -> Iterator[Served]:
    """Serve a home with a chat in it."""
    if not is_made:
        make_home(root)
    home = load_home(root)
    limits = {"requests_per_minute": 100_000, "burst": 100_000, "page_requests_per_minute": 1_000_000}
    home = home.model_copy(update={"guard": home.guard.model_copy(update=limits)})
    people, shelf = People(root / "people.json"), Shelf(4)

    def open_one(folder: Path, config: Any, *, adapter: Any) -> Any:
        return open_bot(folder, config, engine="fake", shelf=shelf, people=people)

    library = Library(root, home, open_bot=open_one)
    door = Door.open(root, home)
    account = door.accounts.add("admin", PASSWORD, role="admin")
    app = build_app(library, home=home, door=door)
    is_ready = threading.Event()
    server = Server(app, on_ready=is_ready.set)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert is_ready.wait(30)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=60, headers={"Origin": url}) as client:
            assert client.post("/login", data={"name": "admin", "password": PASSWORD}).status_code == 303
            yield Served(root, client, library, routes_of(app), _things(library, account.id), app.state.facts)
    finally:
        server.should_exit = True
        thread.join(20)
        library.close()
        shelf.close()


def _things(library: Library, account: str) -> dict[str, str]:
    """Return one of each thing that a path can name."""
    bot = library.bot(CHARACTER)
    session = bot.new_session(user=account)
    bot.reply(session, "My dog is called Biscuit.", cancel=threading.Event(), user=account).read()
    bot.settle()
    found = dict.fromkeys(("upload_id", "run", "duel_id", "key_id", "account_id", "request_id", "name", "path"), "x1")
    return found | {
        "character_id": CHARACTER,
        "session_id": session,
        "message_id": "3",  # what the user said
        "memory_id": "2",
        "place": "0",
        "model_id": CHARACTER,
        "language": "en",
    }
