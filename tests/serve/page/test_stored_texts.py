"""What a visitor writes and the server keeps: nothing hidden in it, wherever it is written."""

import json
from dataclasses import dataclass

import httpx
import pytest

from tests.serve.page.panels import Panels, make_home, panels

HERE = "characters/ada-bell"
HIDDEN = ("a\x00b", "a\x1bb", "safe\u202etxt", "a" + "\u0301" * 40, "\ud800", "\u200b" * 100 + "ab")


@dataclass(frozen=True)
class Place:
    """A served home, and the ids of a visitor's things in it."""

    home: Panels
    ids: dict[str, object]

    def ask(self, method: str, path: str, body: object = None, **options: object) -> httpx.Response:
        return self.home.ask(method, f"{HERE}/{path.format(**self.ids)}", body, **options)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with panels(make_home(tmp_path_factory.mktemp("home") / "home")) as served:
        chat = served.talk("ada-bell", "Hello.", user=served.accounts["tom"])
        said = served.library.bot("ada-bell").sessions.path(chat)[-1].id
        lines = served.get(f"{HERE}/memory", who="tom")["lines"]
        yield Place(served, {"chat": chat, "said": said, "line": lines[0]["id"]})


@pytest.mark.parametrize("text", HIDDEN)
@pytest.mark.parametrize(
    ("method", "path", "body", "who"),
    [
        ("PATCH", "chats/{chat}", {"title": "TEXT"}, "tom"),
        ("PUT", "chats/{chat}/note", {"text": "TEXT"}, "tom"),
        ("PUT", "chats/{chat}/context/note", {"text": "TEXT"}, "tom"),
        ("PUT", "chats/{chat}/context/summary", {"text": "TEXT"}, "tom"),
        ("POST", "chats/{chat}/messages", {"text": "TEXT"}, "tom"),
        ("PATCH", "chats/{chat}/messages/{said}", {"text": "TEXT"}, "tom"),
        ("PUT", "me/persona", {"name": "TEXT", "persona": ""}, "tom"),
        ("PUT", "me/persona", {"name": "Tom", "persona": "TEXT"}, "tom"),
        ("PATCH", "memory/{line}", {"text": "TEXT"}, "tom"),
        ("PUT", "names", {"user_names": ["TEXT"]}, "admin"),
        ("PUT", "settings", {"key": "character.author_note", "value": "TEXT"}, "admin"),
        ("PUT", "settings", {"key": "character.persona", "value": "TEXT"}, "admin"),
        ("PUT", "settings", {"key": "character.user_name", "value": "TEXT"}, "admin"),
    ],
)
def test_a_text_with_something_hidden_in_it_is_not_kept(place, method, path, body, who, text):
    written = json.dumps(body).replace('"TEXT"', json.dumps(text))
    answer = place.ask(method, path, who=who, content=written.encode("ascii"))

    assert answer.status_code == 400, answer.text


def test_a_title_and_a_name_are_kept_as_they_are_read(place):
    place.ask("PATCH", "chats/{chat}", {"title": "Cafe\u0301"}, who="tom")
    place.ask("PUT", "me/persona", {"name": "Rene\u0301", "persona": "From Orle\u0301ans."}, who="tom")

    [chat] = place.ask("GET", "chats", who="tom").json()["chats"]
    me = place.ask("GET", "me", who="tom").json()
    assert chat["title"] == "Caf\u00e9"
    assert (me["name"], me["persona"]) == ("Ren\u00e9", "From Orl\u00e9ans.")
    assert place.ask("PATCH", "chats/{chat}", {"title": ""}, who="tom").status_code == 200


def test_an_imported_chat_is_kept_without_what_is_hidden_in_it(place):
    lines = [
        {"user_name": "Tom"},
        {"name": "Tom", "is_user": True, "mes": "safe\u202etxt"},
        {"name": "Ada Bell", "is_user": False, "mes": "a" + "\u0301" * 40},
        {"name": "Tom", "is_user": True, "mes": "Caf\u00e9, \ud83d\udc69\u200d\ud83d\ude80"},
    ]
    answer = place.ask("POST", "chats/import", who="ana", content="\n".join(map(json.dumps, lines)).encode())
    assert answer.status_code == 201, answer.text
    [chat] = answer.json()["ids"]

    said = [each["text"] for each in place.ask("GET", f"chats/{chat}", who="ana").json()["messages"]]
    assert said[0] == "safetxt"
    assert len(said[1]) < 20
    assert said[2] == "Caf\u00e9, \N{WOMAN}\u200d\N{ROCKET}"
