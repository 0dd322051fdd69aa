"""A served home of characters' folders, as `duologue serve HOME --engine fake` serves one."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from duologue.chat import open_bot
from duologue.config import Home, load_home
from duologue.engine import Shelf
from duologue.serve import Library, build_app
from duologue.serve.run import Server

ROWS = [{"instruction": f"Question {n}?", "output": f"Answer number {n}, passenger."} for n in range(20)]
FAKE_TOML = (
    '[model]\nbase = "{base}"\nquantization = "none"\n'
    '[data]\ntrain = ["data/*.json"]\nvalidation_fraction = 0.2\nmax_length_tokens = 128\n'
    "[lora]\nrank = 4\nalpha = 8\n"
    "[training]\nmax_steps = {steps}\nmicro_batch_size = 2\ngradient_accumulation_steps = 1\nsave_every_steps = 2\n"
    '[character]\ncard = "character.json"\n'
    "[generation]\nmax_new_tokens = 8\n"
    '[evaluation]\nprompts = ["Hello."]\nmax_new_tokens = 4\n'
)


@dataclass
class ServedHome:
    """A served home.

    Attributes:
        url: Its address.
        root: Its folder.
        library: Its characters.
        ask: Asks a route below `/page/`.
    """

    url: str
    root: Path
    library: Library
    client: httpx.Client

    def get(self, path: str) -> httpx.Response:
        return self.client.get(f"/page/{path}")

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return self.client.post(f"/page/{path}", json=body, **options)

    def upload(self, name: str, content: bytes) -> httpx.Response:
        return self.client.post("/page/uploads", params={"name": name}, content=content)


def make_character(
    root: Path, name: str = "ada", *, base: str = "bundled:smollm2-135m", steps: int = 6, rows: Any = ROWS
) -> Path:
    """Make a character's folder; with `rows` None it has no conversations."""
    folder = root / name
    (folder / "data").mkdir(parents=True)
    if rows is not None:
        (folder / "data" / "a.json").write_text(json.dumps(rows))
    card = {"name": "Ada Bell", "first_mes": "Good evening, {{user}}.", "description": "A lift attendant."}
    (folder / "character.json").write_text(json.dumps(card))
    (folder / "duologue.toml").write_text(FAKE_TOML.format(base=base, steps=steps))
    return folder


@contextlib.contextmanager
def served(root: Path, *, engine: str = "fake") -> Iterator[ServedHome]:
    home: Home = load_home(root)
    generous = {"requests_per_minute": 9999, "burst": 9999, "page_requests_per_minute": 1_000_000}
    home = home.model_copy(update={"guard": home.guard.model_copy(update=generous)})
    shelf = Shelf()

    def open_one(folder: Path, config: Any, *, adapter: Any) -> Any:
        return open_bot(folder, config, engine=engine, adapter=adapter if engine == "hf" else None, shelf=shelf)

    library = Library(root, home, open_bot=open_one, shelf=shelf, engine=engine)
    is_ready = threading.Event()
    server = Server(build_app(library, home=home), on_ready=is_ready.set)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert is_ready.wait(30)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=60) as client:
            yield ServedHome(url, root, library, client)
    finally:
        server.should_exit = True
        thread.join(20)
        library.close()
        shelf.close()
