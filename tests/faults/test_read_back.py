"""Fault 15, read back: what a text field took comes back as it was sent, after the changes that are documented; or 4xx.

The changes: a message, a memory and a note are brought to NFC with plain line breaks (`InputValidator`), a title and a
name are one line, the name of an account is written in NFKC and small letters, a list has no blank entries, and one of
keys none with blanks around it. Everything else comes back letter by letter.
"""

import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.faults.naughty import require_no_server_error, texts
from tests.faults.served import Served
from tests.serve.page.panels import PASSWORD

Change = Callable[[str], object]


def exact(text: str) -> str:
    return text


def one_line(text: str) -> str:
    return " ".join(text.split())


def normalised(text: str) -> str:
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n"))


def checked(text: str) -> str:
    """Return a text that may be empty: one of blanks is kept as it is, every other one is brought to NFC."""
    return normalised(text) if text.strip() else text


def account_name(text: str) -> str:
    return unicodedata.normalize("NFKC", text.strip())[:256].casefold()


def listed(text: str) -> list[str]:
    return [text.strip()] if text.strip() else []


@dataclass(frozen=True, slots=True)
class Field:
    """A place for a text.

    Attributes:
        send: Stores a text.
        read: Returns what is there now.
        change: What is done to a text, as the documents say.
        takes_blanks: Whether a text that shows nothing is stored, and not taken for none.
    """

    send: Callable[[Served, str], httpx.Response]
    read: Callable[[Served, httpx.Response], object]
    change: Change = exact
    takes_blanks: bool = True


def ask(home: Served, method: str, path: str, body: Any) -> httpx.Response:
    """Send JSON whose texts may hold half a surrogate pair, which only an escape can say."""
    return home.client.request(method, path, content=json.dumps(body).encode())


def got(home: Served, path: str) -> Any:
    answer = home.client.get(home.path(path))
    assert answer.status_code == 200, answer.text
    return answer.json()


def sender(method: str, path: str, make: Callable[[str], Any]) -> Callable[[Served, str], httpx.Response]:
    return lambda home, text: ask(home, method, home.path(path), make(text))


def card_field(name: str, *, change: Change = exact) -> Field:
    def send(home: Served, text: str) -> httpx.Response:
        value = [text] if name in ("alternate_greetings", "tags") else text
        fields = (
            {"depth_prompt": {"text": text, "depth": 2, "role": "user"}} if name == "depth_prompt" else {name: value}
        )
        return ask(home, "PUT", home.path("card"), {"version": got(home, "card")["version"], "fields": fields})

    def read(home: Served, _: httpx.Response) -> object:
        stored = got(home, "card")[name]
        return (stored or {"text": ""})["text"] if name == "depth_prompt" else stored

    return Field(send, read, change, takes_blanks=name != "depth_prompt")


def lore_field(name: str, *, change: Change = exact) -> Field:
    def send(home: Served, text: str) -> httpx.Response:
        entry = {name: [text] if name.endswith("keys") else text}
        return ask(home, "PUT", home.path("lorebook/0"), {"version": got(home, "card")["version"], "entry": entry})

    return Field(send, lambda home, _: got(home, "card")["lorebook"]["entries"][0][name], change)


def read_title(home: Served, _: httpx.Response) -> str:
    return next(chat["title"] for chat in got(home, "chats")["chats"] if chat["id"] == home.values["session_id"])


def say(home: Served, text: str) -> httpx.Response:
    """Say something in a new chat and wait for the reply."""
    session = ask(home, "POST", home.path("chats"), {}).json()["id"]
    answer = ask(home, "POST", home.path(f"chats/{session}/messages"), {"text": text})
    if answer.is_success:
        home.client.get(home.path(f"chats/{session}/events"))
    answer.extensions["session"] = session
    return answer


def said(home: Served, answer: httpx.Response) -> str:
    messages = got(home, f"chats/{answer.extensions['session']}")["messages"]
    return next(message["text"] for message in messages if message["role"] == "user")


def message_of(home: Served, message_id: str) -> str:
    messages = got(home, f"chats/{home.values['session_id']}")["messages"]
    return next(message["text"] for message in messages if str(message["id"]) == message_id)


def make_account(home: Served, text: str) -> httpx.Response:
    answer = ask(home, "POST", "/page/accounts", {"name": text, "password": PASSWORD})
    if answer.is_success:
        found = home.client.get("/page/accounts").json()["accounts"]
        made = next(account for account in found if account["id"] == answer.json()["id"])
        answer.extensions["name"] = made["name"]
        home.client.delete(f"/page/accounts/{made['id']}")
    return answer


def add_key(home: Served, text: str) -> httpx.Response:
    answer = ask(home, "POST", "/page/account/keys", {"name": text})
    if answer.is_success:
        keys = home.client.get("/page/account").json()["keys"]
        answer.extensions["name"] = next(key["name"] for key in keys if key["id"] == answer.json()["id"])
        home.client.delete(f"/page/account/keys/{answer.json()['id']}")
    return answer


def edit_memory(home: Served, text: str) -> httpx.Response:
    """Edit the newest line: an edited message takes the line of its own along."""
    home.values["memory_id"] = str(got(home, "memory")["lines"][0]["id"])
    return ask(home, "PATCH", home.path(MEMORY), {"text": text})


MESSAGE, MEMORY = "chats/{session_id}/messages/{message_id}", "memory/{memory_id}"
FIELDS: dict[str, Field] = {
    "title": Field(sender("PATCH", "chats/{session_id}", lambda text: {"title": text}), read_title, one_line, False),
    "note": Field(
        sender("PUT", "chats/{session_id}/note", lambda text: {"text": text, "depth": 4}),
        lambda home, _: got(home, "chats/{session_id}/note")["text"],
        checked,
    ),
    "persona": Field(
        sender("PUT", "me/persona", lambda text: {"name": "Ada", "persona": text}),
        lambda home, _: got(home, "me")["persona"],
    ),
    "own name": Field(
        sender("PUT", "me/persona", lambda text: {"name": text, "persona": ""}),
        lambda home, _: got(home, "me")["name"],
        one_line,
    ),
    "setting": Field(
        sender("PUT", "settings", lambda text: {"key": "character.author_note", "value": text}),
        lambda home, _: next(
            key["value"] for key in got(home, "settings")["keys"] if key["key"] == "character.author_note"
        ),
    ),
    "message": Field(say, said, normalised),
    "edited message": Field(
        sender("PATCH", MESSAGE, lambda text: {"text": text}),
        lambda home, _: message_of(home, home.values["message_id"]),
        normalised,
    ),
    "memory": Field(
        edit_memory,
        lambda home, _: got(home, MEMORY)["line"]["text"],
        normalised,
    ),
    **{
        f"card {name}": card_field(name)
        for name in (
            *("nickname", "description", "personality", "scenario", "greeting", "example_dialogue", "system_prompt"),
            *("post_history_instructions", "creator_notes", "creator", "character_version"),
        )
    },
    "card alternate_greetings": card_field("alternate_greetings", change=lambda text: [text] if text.strip() else []),
    "card tags": card_field("tags", change=lambda text: [text] if text.strip() else []),
    "card depth_prompt": card_field("depth_prompt"),
    "lore title": lore_field("title"),
    "lore content": lore_field("content"),
    "lore keys": lore_field("keys", change=listed),
    "lore secondary_keys": lore_field("secondary_keys", change=listed),
    "account": Field(make_account, lambda _, answer: answer.extensions["name"], account_name),
    "key": Field(add_key, lambda _, answer: answer.extensions["name"], one_line),
}
# A name is short and plain: most of the texts are none, so these are sent as well.
NAMES = {"account": ["nell.frost", "  ADA+lift@home ", "\uff10\uff19tom"], "own name": ["Nell  Frost", " Zoë\tZ. "]}


def come_back(home: Served, name: str, strings: Sequence[str]) -> int:
    """Store each text and read it back; return how many were stored and not refused."""
    field, num_stored = FIELDS[name], 0
    for text in [*NAMES.get(name, ()), *strings]:
        answer = field.send(home, text)
        require_no_server_error(answer, f"{name} {text[:40]!r}")
        if not answer.is_success:
            assert answer.status_code in (400, 409, 413, 422), answer.text
            continue
        num_stored += 1
        if field.takes_blanks or text.strip():
            assert field.read(home, answer) == field.change(text), f"{name} {text[:40]!r}"
    return num_stored


@pytest.mark.parametrize("name", FIELDS)
def test_a_text_comes_back_as_it_was_sent_or_is_refused(home, shared_data, name):
    # Each field gets another fifth of some of them, so that together they get all of these.
    some = texts(shared_data, every=15)[list(FIELDS).index(name) % 5 :: 5]
    assert come_back(home, name, some) >= (2 if name in NAMES else 3)


@pytest.mark.load
@pytest.mark.parametrize("name", FIELDS)
def test_every_naughty_string_comes_back_as_it_was_sent_or_is_refused(home, shared_data, name):
    assert come_back(home, name, texts(shared_data, every=1)) >= (2 if name in NAMES else 300)
