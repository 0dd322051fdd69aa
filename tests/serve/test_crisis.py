"""Someone in a crisis is answered at once by the whole server: no limit, no line and no form of words is in the way."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from duologue.guard import caring_answer
from tests.serve.page.test_talk_routes import Talk, talking
from tests.serve.running import Gate, GatedGenerator, Running, make_bot, make_test_config, running

CRISIS = "I want to kill myself."
CARE = caring_answer("international")
FORMS = {
    "plain": CRISIS,
    "long": f"{CRISIS} {'and so on ' * 900}",
    "hidden": f"\u202e{CRISIS}",
    "control": f"{CRISIS}\x00",
}


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Running]:
    """A server whose model is held, whose line is full and whose visitors have asked for all they may."""
    gate = Gate()
    config = make_test_config(burst=3, requests_per_minute=1, max_input_chars=2000)
    bot = make_bot(tmp_path, generator=GatedGenerator(gate, reply="one two three"), config=config)
    with running(bot, config=config) as server:
        threads = [threading.Thread(target=ask, args=(server, "Hello")) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert gate.started.wait(10)
        deadline = time.monotonic() + 10
        while server.num_running() < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield server
        gate.opened.set()
        for thread in threads:
            thread.join(20)


def ask(server: Running, text: str, **fields: object) -> httpx.Response:
    body = {"model": "lila-quill", "messages": [{"role": "user", "content": text}], **fields}
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=30)


def test_everybody_else_is_refused_there(full: Running) -> None:
    assert ask(full, "Hello").status_code == 429


@pytest.mark.parametrize("form", FORMS)
def test_the_api_answers(full: Running, form: str) -> None:
    started = time.monotonic()
    answer = ask(full, FORMS[form])

    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == CARE
    assert time.monotonic() - started < 5
    assert full.num_running() == 3  # nobody was let go for it


def test_the_api_answers_in_a_stream_and_above_an_opening(full: Running) -> None:
    streamed = ask(full, CRISIS, stream=True)
    opened = httpx.post(
        f"{full.url}/v1/chat/completions",
        json={
            "model": "lila-quill",
            "messages": [{"role": "user", "content": CRISIS}, {"role": "assistant", "content": "Well,"}],
        },
    )

    assert "findahelpline.com" in streamed.text
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert CARE in opened.json()["choices"][0]["message"]["content"]


CHATML = "<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("path", ["/v1/completions", "/completion"])
@pytest.mark.parametrize("prompt", [CHATML, "Anna: Hello\nLila: Hi!\nAnna: {said}\nLila:"])
def test_a_chat_in_one_text_is_answered_too(full: Running, path: str, prompt: str) -> None:
    answer = httpx.post(f"{full.url}{path}", json={"prompt": prompt.format(said=CRISIS)}, timeout=30)

    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["content"] if path == "/completion" else shown["choices"][0]["text"]) == CARE
    later = prompt.format(said=CRISIS) + " I am here." + prompt.format(said="Thank you.").replace("Anna: Hello", "")
    assert httpx.post(f"{full.url}{path}", json={"prompt": later}, timeout=30).status_code == 429


@pytest.mark.parametrize("form", FORMS)
def test_the_page_answers_and_keeps_what_was_said(full: Running, form: str) -> None:
    with talking(full) as talk:
        chat = talk.new()
        talk.say(chat, FORMS[form]).raise_for_status()
        assert talk.events(chat)[-1][0] == "done"
        said, answer = talk.read(chat)["messages"][-2:]

    assert CRISIS in said["text"]
    assert answer["text"] == CARE


def test_the_page_stops_the_reply_that_is_being_written_in_that_chat(tmp_path: Path) -> None:
    gate = Gate()
    bot = make_bot(tmp_path, generator=GatedGenerator(gate, reply="one two three"))
    with running(bot) as server, talking(server) as talk:
        chat = talk.new()
        talk.say(chat, "Hello").raise_for_status()
        assert gate.started.wait(10)
        talk.say(chat, CRISIS).raise_for_status()
        talk.events(chat)
        texts = [message["text"] for message in talk.read(chat)["messages"]]

    assert texts[-4:] == ["Hello", "one", CRISIS, CARE]


def test_a_flood_of_them_is_held_up_like_any_other(tmp_path: Path) -> None:
    config = make_test_config(page_requests_per_minute=8)
    with running(make_bot(tmp_path, config=config), config=config) as server:
        assert [ask(server, CRISIS).status_code for _ in range(3)] == [200, 200, 429]


def test_the_edited_message_is_answered_as_well(full: Running) -> None:
    with talking(full) as talk:
        chat = talk.new()
        talk.say(chat, CRISIS).raise_for_status()
        talk.events(chat)
        said = talk.read(chat)["messages"][-2]
        edit(talk, chat, said["id"], f"{CRISIS} Truly.")
        talk.events(chat)

        assert [message["text"] for message in talk.read(chat)["messages"][-2:]] == [f"{CRISIS} Truly.", CARE]


def edit(talk: Talk, chat: str, message_id: int, text: str) -> None:
    address = f"/page/characters/lila-quill/chats/{chat}/messages/{message_id}"
    talk.http.patch(address, json={"text": text, "regenerates": True}).raise_for_status()
