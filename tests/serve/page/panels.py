"""A served home of two characters with an admin and two users, who must never see each other's things."""

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from duologue.characters import LILA_FOLDER
from duologue.chat import People, open_bot
from duologue.config import load_home
from duologue.engine import Generator, Shelf
from duologue.serve import Door, Library, build_app
from duologue.serve.run import Server

PASSWORD = "long enough for a test 7"
TOML = '[model]\nbase = "fake" # not a real one\n[data]\ntrain = ["none.json"]\n[character]\ncard = "{card}"\n'
BOOK = {
    "name": "Harbour",
    "extensions": {"of_another_app": 1},
    "entries": [
        {
            "id": 7,
            "keys": ["lamp"],
            "content": "The lamp was lit in 1871.",
            "enabled": True,
            "insertion_order": 5,
            "extensions": {"unknown_number": 3.50},
            "comment": "The lamp",
        }
    ],
}
ADA = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "kept_beside": [1, 2],
    "data": {
        "name": "Ada Bell",
        "description": "A lift attendant.",
        "personality": "Patient.",
        "scenario": "",
        "first_mes": "Good evening, {{user}}.",
        "mes_example": "",
        "creator_notes": "For quiet evenings.",
        "system_prompt": "",
        "post_history_instructions": "",
        "alternate_greetings": ["Which floor?"],
        "tags": ["calm"],
        "creator": "tester",
        "character_version": "1",
        "extensions": {"someone/else": {"deep": [True, None]}},
        "character_book": BOOK,
    },
}


def make_home(root: Path) -> Path:
    root.mkdir(exist_ok=True)
    for name, card in (("ada", "character.json"), ("lila", "character.png")):
        (root / name).mkdir()
        (root / name / "duologue.toml").write_text(TOML.format(card=card), encoding="utf-8")
    (root / "ada" / "character.json").write_text(json.dumps(ADA), encoding="utf-8")
    shutil.copy(LILA_FOLDER / "character.png", root / "lila" / "character.png")
    return root


@dataclass
class Panels:
    """A served home.

    Attributes:
        url: Its address.
        root: Its folder.
        library: Its characters.
        keys: API keys by name: `admin`, `tom`, `ana`; none where everybody is at this machine.
        accounts: Ids of the accounts by name.
    """

    url: str
    root: Path
    library: Library
    keys: dict[str, str]
    accounts: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, *, who: str = "admin", **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.keys[who]}"} if self.keys else {}
        more = {"json": body} if body is not None else {}
        return httpx.request(method, f"{self.url}/page/{path}", headers=headers, timeout=60, **more, **options)

    def get(self, path: str, *, who: str = "admin") -> Any:
        answer = self.ask("GET", path, who=who)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def upload(self, name: str, content: bytes, *, who: str = "admin") -> httpx.Response:
        return self.ask("POST", "uploads", who=who, params={"name": name}, content=content)

    def talk(self, character: str, text: str, *, user: str) -> str:
        """Say something in a new chat and return its id."""
        bot = self.library.bot(character)
        session = bot.new_session(user=user)
        bot.reply(session, text, cancel=threading.Event(), user=user).read()
        bot.settle()
        return session

    def reset(self) -> None:
        """Make the home what it was at the beginning."""
        for entry in self.library.entries():
            self.library.forget(entry.id)
        self.library.retiring.close()
        for path in self.root.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        make_home(self.root)


@contextlib.contextmanager
def panels(root: Path, *, with_accounts: bool = True, generator: Generator | None = None) -> Iterator[Panels]:
    """Serve a home, whose characters speak with the fake engine or with this generator."""
    home = load_home(root)
    generous = {"requests_per_minute": 9999, "burst": 9999, "page_requests_per_minute": 1_000_000}
    home = home.model_copy(update={"guard": home.guard.model_copy(update=generous)})
    people = People(root / "people.json")

    def open_one(folder: Path, config: Any, *, adapter: Any) -> Any:
        return open_bot(folder, config, engine="fake", shelf=shelf, people=people)

    shelf = Shelf(4, open_model=lambda *_, **__: generator) if generator else Shelf(4)
    library = Library(root, home, open_bot=open_one)
    door = Door.open(root, home)
    keys, accounts = {}, {}
    for name in ("admin", "tom", "ana") if with_accounts else ():
        account = door.accounts.add(name, PASSWORD, role="admin" if name == "admin" else "user")
        keys[name], accounts[name] = door.accounts.add_key(account.id, "test").key, account.id
    is_ready = threading.Event()
    server = Server(build_app(library, home=home, door=door), on_ready=is_ready.set)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert is_ready.wait(30)
        yield Panels(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", root, library, keys, accounts)
    finally:
        server.should_exit = True
        thread.join(20)
        library.close()
        shelf.close()
