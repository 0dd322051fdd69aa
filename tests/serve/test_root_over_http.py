"""The root limits over HTTP: no header, no field and nothing that an admin can set on the page turns them off."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.fuzz import serving
from duologue.characters import LILA_FOLDER
from duologue.chat import Bot, open_bot
from duologue.config import Config, load_home
from duologue.engine import Adapter, Shelf
from duologue.serve import Library, build_app

REFUSED = "Mia is 15. zqflag"
ALLOWED = "Mia is 35. The weather is fine."
WORDS = ("off", "none", "false", "0", "disabled", "adult", "unrated", "root", "admin", "1", "true", "on")
NAMES = (
    *("Content-Policy", "Policy", "Safety", "Safe-Mode", "Safe-Search", "Moderation", "Guard", "Guardrails", "Filter"),
    *("NSFW", "Allow-NSFW", "Unsafe", "Rating", "Content-Rating", "Age", "Age-Verified", "Adult", "Debug", "Admin"),
    *("Override", "Bypass", "Root", "Jailbreak", "Developer-Mode", "Internal", "Trusted", "Forwarded-User", "Role"),
)
HEADERS = [f"{prefix}{name}" for name in NAMES for prefix in ("", "X-", "X-Duologue-", "Duologue-")]
FIELDS = [name.lower().replace("-", "_") for name in NAMES] + ["safe_prompt", "safety_settings", "content_filter"]


@contextmanager
def served(folder: Path) -> Iterator[httpx.Client]:
    """Serve a home as it is set now."""
    home, shelf = load_home(folder), Shelf(1)

    def open_one(folder: Path, config: Config, *, adapter: Adapter | None) -> Bot:
        return open_bot(folder, config, engine="fake", adapter=adapter, shelf=shelf)

    library = Library(folder, home, open_bot=open_one)
    with serving(build_app(library, home=home)) as url, httpx.Client(base_url=url, timeout=60) as http:
        yield http
    library.close()
    shelf.close()


def make_home(folder: Path) -> Path:
    (folder / "lila").mkdir(parents=True)
    shutil.copy(LILA_FOLDER / "character.png", folder / "lila")
    settings = '[model]\nbase = "fake"\n[data]\ntrain = ["none.json"]\n[character]\ncard = "character.png"\n'
    (folder / "lila" / "duologue.toml").write_text(settings, encoding="utf-8")
    limits = "[guard]\nrequests_per_minute = 100000\nburst = 100000\npage_requests_per_minute = 100000\n"
    (folder / "home.toml").write_text(limits, encoding="utf-8")
    return folder


def ask(http: httpx.Client, text: str, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    body = {"model": "lila-quill", "messages": [{"role": "user", "content": text}], **fields}
    return http.post("/v1/chat/completions", json=body, headers=headers)


def is_held(answer: httpx.Response) -> bool:
    """Whether root has refused; a request that is refused for its form has not come as far and says nothing."""
    return answer.status_code == 400 and answer.json()["error"]["code"] == "content_policy_violation"


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with served(make_home(tmp_path_factory.mktemp("home") / "home")) as opened:
        yield opened


def test_the_stand_in_is_refused_and_its_neighbour_is_not(http: httpx.Client) -> None:
    assert is_held(ask(http, REFUSED))
    assert ask(http, ALLOWED).status_code == 200


def test_no_header_turns_them_off(http: httpx.Client) -> None:
    opened = [
        word for word in WORDS if not is_held(ask(http, REFUSED, headers=dict.fromkeys(HEADERS, word)))
    ]  # all of them at once, with the same word
    assert opened == []
    assert ask(http, ALLOWED, headers=dict.fromkeys(HEADERS, "off")).status_code == 200


def test_no_field_of_a_request_turns_them_off(http: httpx.Client) -> None:
    for value in (*WORDS, True, False, 0, None, [], {"level": "none"}):
        assert is_held(ask(http, REFUSED, **dict.fromkeys(FIELDS, value))), value
    assert ask(http, ALLOWED, **dict.fromkeys(FIELDS, False)).status_code == 200


def test_no_query_turns_them_off(http: httpx.Client) -> None:
    for word in WORDS:
        body = {"model": "lila-quill", "messages": [{"role": "user", "content": REFUSED}]}
        assert is_held(http.post("/v1/chat/completions", params=dict.fromkeys(FIELDS, word), json=body)), word


def test_nothing_that_an_admin_sets_on_the_page_turns_them_off(tmp_path: Path) -> None:
    """Every key of both settings pages, at every value that is taken; at the end all of it, after a new start."""
    folder = make_home(tmp_path / "home")
    taken: dict[str, int] = {}
    with served(folder) as http:
        for address in ("/page/settings/server", "/page/characters/lila-quill/settings"):
            for shown in http.get(address).json()["keys"]:
                for value in values_of(shown):
                    answer = http.put(address, json={"key": shown["key"], "value": value})
                    assert answer.status_code < 500
                    taken[shown["key"]] = taken.get(shown["key"], 0) + (answer.status_code == 200)
                    assert is_held(ask(http, REFUSED)) or shown["key"] == "character.card", shown["key"]
        last = {"guard.rating": "adult", "guard.discloses_ai": False, "guard.burst": 10**6}
        for key, value in last.items():
            assert http.put("/page/settings/server", json={"key": key, "value": value}).status_code == 200, key
        rating = {"key": "guard.rating", "value": "adult"}
        assert http.put("/page/characters/lila-quill/settings", json=rating).status_code == 200
    assert len([key for key, number in taken.items() if number]) > 20

    with served(folder) as http:
        assert http.get("/page/settings").json()["rating"] == "adult"
        assert http.post("/age/attest", data={"adult": "yes", "character": "lila-quill"}).status_code == 303
        assert is_held(ask(http, REFUSED))
        assert ask(http, f"{ALLOWED} zqflag").status_code == 200


def values_of(shown: dict[str, Any]) -> list[Any]:
    """Return what an admin may try for a key: every choice, both ends of a number, words that sound like off."""
    now = shown["value"]
    if shown.get("choices"):
        return list(shown["choices"])
    if isinstance(now, bool):
        return [not now, now]
    if isinstance(now, int | float):
        return [10**6, 0, 1, now]
    return ["off", "", now if isinstance(now, str) else "none"]
