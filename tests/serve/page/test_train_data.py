"""Conversations on their way to a character: sent, refused, checked, shown in colour, taken away and put back."""

import json
import resource
import signal
import time
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from duologue.config import load_config
from duologue.serve.page.conversations import unknown_speakers
from duologue.serve.page.uploads import FOLDER, safe_name
from tests.serve.page.homes import ROWS, ServedHome, make_character, served

ADA = "characters/ada-bell"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHome]:
    root = tmp_path_factory.mktemp("home")
    with served(root) as started:
        yield started


@pytest.fixture(autouse=True)
def ada(home):
    """A character without conversations, new for each test."""
    folder = make_character(home.root, rows=None)
    yield folder
    folder.rename(home.root.parent / f"gone-{time.time_ns()}")


def files(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [file["name"] for file in answer.json()["files"]]


def waiting(home: ServedHome) -> list[str]:
    return [file.name for file in (home.root / FOLDER).glob("*/*")]


def test_files_are_sent_added_taken_away_and_put_back(home, ada):
    assert files(home.get(f"{ADA}/data")) == []
    assert home.get(f"{ADA}/check").json() == {"state": "empty"}
    sent = home.upload("talks.json", json.dumps(ROWS).encode()).json()
    assert sent["name"] == "talks.json" and sent["num_bytes"] > 1000
    assert files(home.post(f"{ADA}/data", {"uploads": [sent["id"]]})) == ["talks.json"]
    assert (ada / "data" / "talks.json").is_file()
    assert home.post(f"{ADA}/data", {"uploads": [sent["id"]]}).status_code == 404, "an upload is used once"
    away = home.client.delete(f"/page/{ADA}/data/talks.json").json()
    assert away["files"] == [] and not (ada / "data" / "talks.json").exists()
    assert files(home.post(f"{ADA}/data", {"uploads": [away["upload"]]})) == ["talks.json"]


def test_a_second_file_of_the_same_name_takes_another_and_other_endings_are_trained_on_too(home, ada):
    for name in ("log.jsonl", "log.jsonl", "odd [1].txt"):
        sent = home.upload(name, b'{"instruction": "Hello?", "output": "Good evening."}\n').json()
        home.post(f"{ADA}/data", {"uploads": [sent["id"]]})
    assert sorted(files(home.get(f"{ADA}/data"))) == ["log-2.jsonl", "log.jsonl", "odd _1_.txt"]
    assert load_config(ada / "duologue.toml").data.train[0] == "data/*.json", "what was there stays"


def test_the_example_conversations_are_added_with_a_click(home):
    names = files(home.post(f"{ADA}/data", {"example": True}))
    assert sorted(names) == ["alpaca.json", "messages.json", "sharegpt.json"]


@pytest.mark.parametrize(
    ("name", "content", "status", "code"),
    [
        ("talk.json", b"", 400, "empty_file"),
        ("program.exe", b"MZ", 400, "unknown_format"),
        ("", b"[]", 400, "unknown_format"),
    ],
)
def test_what_can_be_no_conversation_is_refused_with_its_reason(home, name, content, status, code):
    before = waiting(home)
    answer = home.upload(name, content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert waiting(home) == before, "nothing of it stays"


def test_a_picture_is_kept_for_cards_and_never_trained_on(home):
    sent = home.upload("face.png", b"\x89PNG\r\n\x1a\n").json()
    refused = home.post(f"{ADA}/data", {"uploads": [sent["id"]]})
    assert refused.status_code == 400 and refused.json()["error"]["code"] == "unknown_format"
    home.client.delete(f"/page/uploads/{sent['id']}")


def test_a_file_larger_than_what_may_be_sent_is_refused_before_it_arrives(home, monkeypatch):
    monkeypatch.setattr("duologue.serve.limits.STREAMED_BODIES", {"/page/uploads": 4 * 2**20})
    answer = home.upload("large.json", b"x" * (5 * 2**20))
    assert answer.status_code == 413, answer.text
    parts = (b"x" * 2**20 for _ in range(5))
    chunked = home.client.post("/page/uploads", params={"name": "large.json"}, content=parts)
    assert chunked.status_code == 413, "nor when its size was not said"
    assert "large.json" not in waiting(home)
    assert home.upload("small.json", b"x" * (3 * 2**20)).status_code == 200, "more than other bodies may have"


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="limits the size of files")
def test_a_disk_that_is_full_is_said_and_leaves_nothing_behind(home):
    before = waiting(home)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        answer = home.upload("talk.json", b"x" * (2 * 2**20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert answer.status_code == 507 and answer.json()["error"]["code"] == "disk_full"
    assert waiting(home) == before


def test_an_upload_of_unknown_size_needs_room_for_the_largest(home, monkeypatch):
    monkeypatch.setattr("duologue.serve.limits.STREAMED_BODIES", {"/page/uploads": 512 * 2**20})
    monkeypatch.setattr("duologue.serve.page.uploads.MAX_TOTAL_BYTES", 256 * 2**20)
    known = home.client.post("/page/uploads", params={"name": "small.json"}, content=b"[]")
    unknown = home.client.post("/page/uploads", params={"name": "small.json"}, content=iter([b"[", b"]"]))

    assert known.status_code == 200
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (413, "too_many_uploads")
    home.client.delete(f"/page/uploads/{known.json()['id']}")


def test_no_upload_is_found_by_a_name_that_is_none(home):
    for name in ("..", "../../x", "0" * 16, "g" * 16, ""):
        assert home.post(f"{ADA}/data", {"uploads": [name]}).status_code == 404


@given(st.text(max_size=200))
@example("0000" + "\U0001d54a" * 28 + " " + "\U0001d54a" * 20)  # cut behind a space
def test_whatever_a_file_is_called_its_name_stays_inside_its_folder(name):
    safe = safe_name(name)
    assert safe and safe == safe_name(safe)
    assert not safe.startswith(".") and "/" not in safe and "\\" not in safe and "\0" not in safe
    assert len(safe.encode()) <= 120


def test_a_check_tells_what_is_used_what_is_not_and_why_and_shows_what_is_learned(home, ada):
    (ada / "data" / "good.json").write_text(json.dumps(ROWS))
    (ada / "data" / "bad.json").write_text('{"note": "no conversation at all"}')
    found = checked(home)
    account = found["account"]
    assert account["num_conversations"] == 20 and account["num_trained_tokens"] > 0
    assert not account["tokens_are_estimated"]
    [bad] = [file for file in account["files"] if file["path"] == "bad.json"]
    assert bad["num_loaded"] == 0 and bad["faults"][0]["reason"]
    assert account["num_refused"] == 1
    first = found["conversations"][0]
    text = dict.fromkeys(("trained", "context"), "")
    for message in first["messages"]:
        for span in message["spans"]:
            text[span["state"]] += span["text"]
    assert "Answer number" in text["trained"] and "Question" in text["context"]
    assert "Question" not in text["trained"], "what the user says is read, not learned"


def test_a_chat_log_that_does_not_say_who_is_who_asks_and_takes_the_answer(home, ada):
    log = "\n".join(
        f"[03.04.26, 20:{minute:02}:00] {who}: {said} {minute}"
        for minute in range(0, 40, 2)
        for who, said in (("Mira", "Is there a lift at"), ("Old Tom", "There is, number"))
    )
    sent = home.upload("chat.txt", log.encode()).json()
    home.post(f"{ADA}/data", {"uploads": [sent["id"]]})
    found = checked(home)  # no conversation can be made of it yet, so no tokenizer is opened
    assert {each["name"] for each in found["speakers"]} == {"Mira", "Old Tom"}
    assert found["account"]["num_conversations"] == 0
    said = home.client.put(f"/page/{ADA}/names", json={"character_names": ["Old Tom"], "user_names": []})
    assert said.status_code == 200
    entry = home.library.entry("ada-bell")
    assert entry.config.data.character_names == ("Old Tom",)
    assert unknown_speakers(entry, [ada / "data" / "chat.txt"]) == []


def checked(home: ServedHome) -> dict:
    deadline = time.monotonic() + 250
    while time.monotonic() < deadline:
        answer = home.get(f"{ADA}/check")
        assert answer.status_code == 200, answer.text
        if answer.json()["state"] == "done":
            return answer.json()
    raise AssertionError("the check never ended")
