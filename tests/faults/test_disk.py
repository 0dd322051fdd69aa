"""Fault 2, through the server: a disk that fills up is named, loses nothing that was stored, and ends nothing."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.faults.full_disk import Limited, limited

ROOM = 2**20
ADA = "/page/characters/ada-bell"


@pytest.fixture(scope="module")
def server(request, tmp_path_factory) -> Iterator[Limited]:
    with limited(tmp_path_factory.mktemp("disk"), request.config.rootpath) as started:
        yield started


def require_named(answer: httpx.Response, server: Limited) -> None:
    """A full disk is said in plain words that tell nothing of the machine, with the time after which to try again."""
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "storage"
    assert answer.headers["retry-after"] == "30"
    assert str(server.root) not in answer.text
    assert any(word in answer.text.lower() for word in ("disk", "full", "space", "too large")), answer.text


def until_it_goes_on(send: Callable[[], httpx.Response]) -> None:
    deadline = time.monotonic() + 30
    while not (answer := send()).is_success:
        assert time.monotonic() < deadline, f"the server did not recover: {answer.text}"
        time.sleep(0.1)


def test_a_disk_that_fills_up_is_named_loses_nothing_and_ends_nothing(server):
    client, note = server.client, f"{ADA}/chats/{server.session}/note"
    stored = ["before"]
    assert client.put(note, json={"text": "before", "depth": 4}).status_code == 200
    with server.full_from(server.largest_file() + ROOM):
        for number in range(600):
            text = f"{number} " + "tea " * 900
            answer = client.put(note, json={"text": text, "depth": 4})
            if not answer.is_success:
                break
            stored.append(text)
        require_named(answer, server)
    assert client.get("/health").status_code == 200
    assert client.get(note).json()["text"] == stored[-1]
    until_it_goes_on(lambda: client.put(note, json={"text": "after", "depth": 4}))
    assert client.get(note).json()["text"] == "after"


# ------------------------------------------------------------------------------------------------- every kind of write


@dataclass(frozen=True, slots=True)
class Write:
    """Something that a person stores.

    Attributes:
        send: Stores a text.
        read: Returns what is stored.
    """

    send: Callable[[Limited, str], httpx.Response]
    read: Callable[[Limited], object]


def _card(server: Limited) -> dict[str, object]:
    return server.client.get(f"{ADA}/card").json()


def _send_card(server: Limited, text: str) -> httpx.Response:
    body = {"version": _card(server)["version"], "fields": {"scenario": text}}
    return server.client.put(f"{ADA}/card", json=body)


def _memory(server: Limited) -> dict[str, object]:
    return min(server.client.get(f"{ADA}/memory").json()["lines"], key=lambda line: line["id"])


def _messages(server: Limited) -> list[dict[str, object]]:
    return server.client.get(f"{ADA}/chats/{server.session}").json()["messages"]


def _said(server: Limited) -> dict[str, object]:
    return next(message for message in _messages(server) if message["role"] == "user")


def _put(path: str, **body: object) -> Callable[[Limited, str], httpx.Response]:
    """Return what sends a body to a path below the character, its text at the place of `TEXT`."""

    def send(server: Limited, text: str) -> httpx.Response:
        filled = {key: text if value == "TEXT" else value for key, value in body.items()}
        return server.client.put(f"{ADA}/{path}", json=filled)

    return send


WRITES = {
    "persona": Write(
        _put("me/persona", name="Nell", persona="TEXT"),
        lambda server: server.client.get(f"{ADA}/me").json()["persona"],
    ),
    "setting of a character": Write(
        _put("settings", key="character.author_note", value="TEXT"),
        lambda server: next(
            key["value"]
            for key in server.client.get(f"{ADA}/settings").json()["keys"]
            if key["key"] == "character.author_note"
        ),
    ),
    "card": Write(_send_card, lambda server: _card(server)["scenario"]),
    "memory": Write(
        lambda server, text: server.client.patch(f"{ADA}/memory/{_memory(server)['id']}", json={"text": text}),
        lambda server: _memory(server)["text"],
    ),
    "edited message": Write(
        lambda server, text: server.client.patch(
            f"{ADA}/chats/{server.session}/messages/{_said(server)['id']}", json={"text": text}
        ),
        lambda server: _said(server)["text"],
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_nothing_is_called_stored_that_a_full_disk_has_not_taken(server, name):
    write = WRITES[name]
    until_it_goes_on(lambda: write.send(server, "It was like this before."))
    kept = write.read(server)
    assert kept == "It was like this before."
    num_refused = 0
    # From no room at all to room for part of what is written: the first, the second, the third write is cut.
    for number, room in enumerate((0, 64, 600, 5_000, server.largest_file(), server.largest_file() + 30_000)):
        text = f"{number} a longer one:" + " rain and wind" * 120
        with server.full_from(room):
            answer = write.send(server, text)
        assert server.client.get("/health").status_code == 200
        if answer.is_success:
            kept = text
        else:
            require_named(answer, server)
            num_refused += 1
        assert write.read(server) == kept, f"with room for {room} bytes"
    assert num_refused, "the disk was never full"
    until_it_goes_on(lambda: write.send(server, "It goes on."))
    assert write.read(server) == "It goes on."


def test_a_message_that_a_full_disk_has_not_taken_is_not_accepted(server):
    path = f"{ADA}/chats/{server.session}"
    for number, room in enumerate((0, 5_000, server.largest_file())):
        before = [message["text"] for message in _messages(server)]
        with server.full_from(room):
            answer = server.client.post(f"{path}/messages", json={"text": f"Is anybody there? {number}"})
            events = server.client.get(f"{path}/events").text  # to the end of the reply
        texts = [message["text"] for message in _messages(server)]
        assert texts[: len(before)] == before
        if answer.is_success:
            assert f"Is anybody there? {number}" in texts
            assert "event: failed" in events or len(texts) > len(before) + 1, "a reply is lost and nobody is told"
        else:
            require_named(answer, server)
            assert texts == before
    until_it_goes_on(lambda: server.client.post(f"{path}/messages", json={"text": "And now?"}))
    server.client.get(f"{path}/events")
    assert "And now?" in [message["text"] for message in _messages(server)]


def test_what_an_undo_brings_back_is_a_whole_card_also_after_the_disk_was_full(server):
    until_it_goes_on(lambda: _send_card(server, "A quiet evening."))
    with server.full_from(64):
        assert not _send_card(server, "A loud evening.").is_success
    until_it_goes_on(lambda: _send_card(server, "A bright morning."))
    card = _card(server)
    undone = server.client.post(f"{ADA}/card/undo", json={"version": card["version"]})
    assert undone.status_code == 200, undone.text
    assert _card(server)["scenario"] == "A quiet evening."
    assert (
        json.loads((server.root / "ada" / "character.json").read_text(encoding="utf-8"))["data"]["name"] == "Ada Bell"
    )
