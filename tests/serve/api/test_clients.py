"""Requests as SillyTavern, Open WebUI and the openai client send them, and what these programs read of the answers."""

import json
import socket
import threading

import httpx
import openai
import pytest

from duologue.chat import Bot
from duologue.memory import Scope
from tests.serve.api.clients import (
    OPEN_WEBUI_CHAT,
    OPEN_WEBUI_HEADERS,
    OPEN_WEBUI_TITLE,
    SILLYTAVERN_CHAT,
    SILLYTAVERN_GENERIC,
    SILLYTAVERN_IMPERSONATE,
    SILLYTAVERN_TEXT,
)
from tests.serve.api.serving import HELLO, MODEL, client_of, post
from tests.serve.running import Gate, GatedGenerator, Running, make_bot, running


def tell(bot: Bot, text: str) -> None:
    """Say something to the character in a chat of its own, so that it is remembered."""
    bot.reply(bot.new_session(), text, cancel=threading.Event()).read()
    bot.settle()


def num_remembered(bot: Bot) -> int:
    return len(bot.memory.list_lines(scope=Scope("local", bot.model_id)))


def num_chats(bot: Bot) -> int:
    return len(bot.sessions.list_sessions(character=bot.model_id))


def send(server: Running, path: str, document: object, **headers: str) -> httpx.Response:
    return httpx.post(f"{server.url}{path}", json=document, headers=headers, timeout=20)


def test_sillytavern_finds_the_models_and_chats(server):
    # It always sends a header with a key, whatever is stored.
    given = {"Authorization": "Bearer none"}
    models = httpx.get(f"{server.url}/v1/models", headers=given, timeout=20).json()
    answer = send(server, "/v1/chat/completions", SILLYTAVERN_CHAT, **given)

    assert MODEL in [row["id"] for row in models["data"]]
    assert "What are you reading?" in answer.json()["choices"][0]["message"]["content"]
    assert "x-duologue-ignored" not in answer.headers


def test_sillytaverns_own_system_prompt_takes_the_place_of_the_card(server, sent):
    send(server, "/v1/chat/completions", SILLYTAVERN_CHAT)

    assert sent.prompts[0].startswith("system\nWrite Lila's next reply")
    assert "Keep it short." in sent.prompts[0].split("assistant\n")[0]


@pytest.mark.parametrize("model", [MODEL, "fake"], ids=["character", "base"])
def test_sillytaverns_instruction_behind_a_reply_is_answered_and_the_reply_not_gone_on_with(server, sent, model):
    answer = send(server, "/v1/chat/completions", {**SILLYTAVERN_IMPERSONATE, "model": model})

    assert answer.status_code == 200, answer.text
    head, _, rest = sent.prompts[0].partition("assistant\n")
    assert head.startswith("system\nWrite Lila's next reply")
    assert "Sam's voice" not in head
    assert rest.startswith("Come in, the kettle is on.")
    assert rest.endswith("user\nKeep it short.\n\n[Write Sam's next message, in Sam's voice.]\nassistant\n")


@pytest.mark.parametrize("document", [SILLYTAVERN_TEXT, SILLYTAVERN_GENERIC], ids=["all samplers", "generic"])
def test_sillytavern_writes_on_from_a_raw_prompt(server, sent, document):
    answer = send(server, "/v1/completions", document)
    frames = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]

    assert sent.prompts == [document["prompt"]]
    assert "".join(each["choices"][0]["text"] for each in frames if each["choices"]).strip()
    assert sent.samplings[0].stop == ("\nSam:", "\n***")
    assert sent.samplings[0].temperature == 1.1
    assert sent.samplings[0].max_new_tokens == 250


@pytest.mark.parametrize("model", [{}, {"model": ""}, {"model": None}], ids=["absent", "empty", "null"])
def test_sillytavern_that_names_no_model_is_answered_by_the_first(server, sent, model):
    """It has no name to send where it takes the server for text-generation-webui or tabbyAPI."""
    named = {key: value for key, value in SILLYTAVERN_TEXT.items() if key not in ("model", "stream")}
    answer = send(server, "/v1/completions", {**named, **model})

    assert answer.status_code == 200, answer.text
    assert answer.json()["model"] == MODEL
    assert sent.prompts == [SILLYTAVERN_TEXT["prompt"]]


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/tokenize", {"model": MODEL, "prompt": "Hello there"}),  # to vLLM
        ("/tokenize", {"model": "", "content": "Hello there", "add_special": True}),  # to llama.cpp
        ("/v1/token/encode", {"text": "Hello there", "add_bos_token": False, "encode_special_tokens": False}),
        ("/v1/internal/encode", {"text": "Hello there"}),
    ],
    ids=["vLLM", "llama.cpp", "tabbyAPI", "text-generation-webui"],
)
def test_sillytavern_counts_tokens_whatever_it_takes_the_server_for(server, path, document):
    answer = send(server, path, document)

    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["tokens"] == post(server, "/tokenize", content="Hello there").json()["tokens"]
    assert found["count"] == found["length"] == len(found["tokens"]) > 1


@pytest.mark.parametrize(
    ("path", "name"),
    [("/v1/model", "id"), ("/v1/internal/model/info", "model_name")],
    ids=["tabbyAPI", "text-generation-webui"],
)
def test_sillytavern_is_told_which_model_answers(server, path, name):
    assert httpx.get(f"{server.url}{path}", timeout=20).json()[name] == MODEL


def test_sillytavern_reads_tabbys_list_and_llama_cpps_properties(server):
    assert httpx.get(f"{server.url}/v1/model/list", timeout=20).json()["data"][0]["id"] == MODEL
    assert isinstance(httpx.get(f"{server.url}/props", timeout=20).json()["chat_template"], str)


def test_open_webui_chats_and_counts_its_tokens(server):
    answer = send(server, "/v1/chat/completions", OPEN_WEBUI_CHAT, **OPEN_WEBUI_HEADERS)
    frames = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]

    assert frames[-1]["usage"]["completion_tokens"] > 0
    assert frames[-1]["choices"] == []


def test_a_character_brings_card_lore_and_memory_and_the_base_brings_nothing(server, sent):
    tell(server.bot, "My boat is called Petrel.")
    asked = [{"role": "user", "content": "What is my boat called?"}]
    for fields in ({}, {"memory": False}, {"model": "fake"}):
        post(server, messages=asked, **fields)
    whole, without, bare = sent.prompts[-3:]

    assert "Petrel" in whole
    assert "Petrel" not in without
    assert "Lila" in whole
    assert "Lila" in without
    assert bare == "user\nWhat is my boat called?\nassistant\n"


def test_what_comes_through_the_api_is_never_remembered(server):
    tell(server.bot, "My tortoise is called Quince.")
    before = num_remembered(server.bot), num_chats(server.bot)
    post(server, messages=[{"role": "user", "content": "My cat is called Fig."}])
    send(server, "/v1/chat/completions", OPEN_WEBUI_TITLE, **OPEN_WEBUI_HEADERS)
    server.bot.settle()

    assert before[0] > 0
    assert (num_remembered(server.bot), num_chats(server.bot)) == before


def test_another_programs_user_headers_do_not_choose_whose_memories(server, sent):
    tell(server.bot, "My violin is called Heron.")
    body = {"model": MODEL, "messages": [{"role": "user", "content": "What is my violin called?"}]}
    send(server, "/v1/chat/completions", body, **OPEN_WEBUI_HEADERS)

    assert "Heron" in sent.prompts[-1]  # those of whoever holds the key; the header names somebody else


def test_the_openai_client_repeats_what_was_refused_for_a_moment(server, use):
    """A server that is busy says when to come again, and the client comes."""
    gate = Gate()
    use(GatedGenerator(gate, reply="one two"))
    threads = [threading.Thread(target=lambda: post(server)) for _ in range(3)]
    for thread in threads:
        thread.start()
    while server.num_running() < 3:
        assert any(thread.is_alive() for thread in threads)
    with client_of(server) as client, pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=MODEL, messages=HELLO)
    with client_of(server, retries=2) as client:
        threading.Timer(0.2, gate.opened.set).start()
        assert client.chat.completions.create(model=MODEL, messages=HELLO).choices[0].message.content
    for thread in threads:
        thread.join(20)

    assert (caught.value.status_code, caught.value.code) == (503, "busy")
    assert int(caught.value.response.headers["retry-after"]) >= 1


def test_the_openai_client_that_stops_reading_stops_the_reply(server, use, client):
    use(GatedGenerator(Gate(), reply="one two three"))
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    assert next(iter(stream)).choices[0].delta.role == "assistant"
    stream.close()
    server.wait_until_idle()  # the gate is still shut


def test_the_openai_client_whose_time_runs_out_stops_the_reply(server, use, client):
    use(GatedGenerator(Gate(), reply="one two three"))
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(model=MODEL, messages=HELLO)
    server.wait_until_idle()


def test_a_wrong_key_is_an_authentication_error(tmp_path):
    with running(make_bot(tmp_path), api_key="secret-key-of-the-test") as server:
        with client_of(server, key="wrong") as client, pytest.raises(openai.AuthenticationError) as caught:
            client.chat.completions.create(model=MODEL, messages=HELLO)
        with client_of(server, key="secret-key-of-the-test") as client:
            assert client.models.list().data

    assert caught.value.code == "invalid_api_key"


def test_the_frames_arrive_one_by_one_and_not_all_at_the_end(server, use):
    """A raw socket sees the first word while the second is still held back."""
    gate = Gate()
    use(GatedGenerator(gate, reply="one two three"))
    host, port = server.url.removeprefix("http://").split(":")
    body = json.dumps({"model": MODEL, "messages": HELLO, "stream": True}).encode()
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        seen = read_until(connection, b'"one"', b"")
        gate.opened.set()
        read_until(connection, b"[DONE]", seen)


def read_until(connection: socket.socket, mark: bytes, seen: bytes) -> bytes:
    while mark not in seen:
        part = connection.recv(65536)
        assert part, seen
        seen += part
    return seen
