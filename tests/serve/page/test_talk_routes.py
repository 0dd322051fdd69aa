"""What the panel Talk asks the server: chats, windows of messages, replies that go on by themselves."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from duologue.chat import Bot
from duologue.engine.fake import FakeGenerator
from duologue.errors import EngineError
from duologue.messages import Message
from duologue.serve.generation import Generation
from duologue.serve.page.talk_replies import Ask, Asks
from tests.serve.running import Gate, GatedGenerator, Running, make_bot, make_test_config, running

CHATS = "/page/characters/lila-quill/chats"


class Talk:
    """Asks the routes as the page does."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.http = httpx.Client(base_url=server.url, timeout=20)

    def new(self, **body: object) -> str:
        return self.http.post(CHATS, json=body).raise_for_status().json()["id"]

    def read(self, chat: str, **query: object) -> dict:
        return self.http.get(f"{CHATS}/{chat}", params=query).raise_for_status().json()

    def say(self, chat: str, text: str) -> httpx.Response:
        return self.http.post(f"{CHATS}/{chat}/messages", json={"text": text})

    def wish(self, chat: str, kind: str, **more: object) -> httpx.Response:
        return self.http.post(f"{CHATS}/{chat}/replies", json={"kind": kind, **more})

    def events(self, chat: str) -> list[tuple[str, dict]]:
        found = []
        with self.http.stream("GET", f"{CHATS}/{chat}/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            name = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    found.append((name, json.loads(line[6:])))
        return found

    def talk(self, chat: str, text: str = "Good evening.") -> list[dict]:
        self.say(chat, text).raise_for_status()
        self.events(chat)
        self.server.wait_until_idle()
        return self.read(chat)["messages"]


@contextlib.contextmanager
def talking(server: Running) -> Iterator[Talk]:
    talk = Talk(server)
    with talk.http:
        yield talk


@pytest.fixture(scope="module")
def talk(server: Running) -> Iterator[Talk]:
    with talking(server) as opened:
        yield opened


@pytest.fixture
def chat(talk: Talk) -> str:
    return talk.new()


@pytest.fixture
def gated(tmp_path: Path) -> Iterator[tuple[Talk, Gate]]:
    gate = Gate()
    with running(
        make_bot(tmp_path, generator=GatedGenerator(gate, reply="*nods* We leave soon, passenger."))
    ) as server:
        with talking(server) as talk:
            yield talk, gate
        gate.opened.set()


def test_a_new_chat_begins_with_the_greeting_that_was_chosen(talk):
    second = talk.read(talk.new(greeting=1))["messages"][0]

    assert second["swipe"] == 2
    assert second["num_swipes"] == len(talk.http.get(CHATS).json()["greetings"]) > 1
    assert second["role"] == "assistant"
    assert second["name"] == "Lila Quill"


def test_a_message_and_its_reply_are_there_as_text_and_as_safe_html(talk, chat):
    greeting, question, reply = talk.talk(chat, "*waves* <b>Hi</b>")

    assert greeting["is_first"]
    assert question["text"] == "*waves* <b>Hi</b>"
    assert question["html"].strip() == "<p><em>waves</em> &lt;b&gt;Hi&lt;/b&gt;</p>"
    assert reply["text"].startswith("You said")
    assert reply["ended"] == "stop"


def test_the_events_tell_the_text_as_it_grows_and_then_the_end(gated):
    talk, gate = gated
    chat = talk.new()
    talk.say(chat, "When do we leave?").raise_for_status()
    assert gate.started.wait(10)
    assert talk.read(chat)["is_running"]
    with talk.http.stream("GET", f"{CHATS}/{chat}/events") as answer:
        lines = answer.iter_lines()
        while '"html"' not in (line := next(lines)):
            pass
        gate.opened.set()
        rest = list(lines)

    assert "*nods*" in json.loads(line[6:])["html"] or "<em>nods</em>" in json.loads(line[6:])["html"]
    assert "event: done" in rest
    assert talk.read(chat)["messages"][-1]["text"] == "*nods* We leave soon, passenger."


def test_a_reply_goes_on_when_nobody_follows_it(gated):
    talk, gate = gated
    chat = talk.new()
    talk.say(chat, "Hello?").raise_for_status()
    assert gate.started.wait(10)
    talk.http.close()
    gate.opened.set()
    talk.server.wait_until_idle()

    with talking(talk.server) as back:
        assert back.read(chat)["messages"][-1]["text"].endswith("passenger.")


def test_stop_keeps_what_was_said(gated):
    talk, gate = gated
    chat = talk.new()
    talk.say(chat, "Hello?").raise_for_status()
    assert gate.started.wait(10)

    assert talk.http.post(f"{CHATS}/{chat}/stop").json() == {"was_running": True}
    talk.server.wait_until_idle()
    last = talk.read(chat)["messages"][-1]
    assert last["ended"] == "cancelled"
    assert last["text"]


def test_a_second_reply_in_the_same_chat_is_refused_while_one_runs(gated):
    talk, gate = gated
    chat = talk.new()
    talk.say(chat, "Hello?").raise_for_status()
    assert gate.started.wait(10)

    refusal = talk.say(chat, "And?")
    assert refusal.status_code == 409
    assert refusal.json()["error"]["code"] == "reply_running"


def test_place_in_line_is_told(gated):
    talk, gate = gated
    first, second = talk.new(), talk.new()
    talk.say(first, "Hello?").raise_for_status()
    assert gate.started.wait(10)
    talk.say(second, "Hello too?").raise_for_status()
    with talk.http.stream("GET", f"{CHATS}/{second}/events") as answer:
        lines = answer.iter_lines()
        while "place" not in (line := next(lines)) or not line.startswith("data"):
            pass
        gate.opened.set()
        rest = list(lines)

    assert json.loads(line[6:]) == {"place": 1}
    assert "event: done" in rest


def test_a_message_that_is_too_long_is_refused_with_the_limit_and_not_stored(talk, chat):
    refusal = talk.say(chat, "long " * 100_000)

    assert refusal.status_code == 400
    assert "characters" in refusal.json()["error"]["message"]
    assert talk.read(chat)["total"] == 1


def test_a_reply_that_fails_is_told_once_and_its_question_stays(tmp_path):
    class Broken(FakeGenerator):
        def stream(self, prompt_ids, sampling, *, cancel):
            raise EngineError("the model has no memory left")
            yield

    with running(make_bot(tmp_path, generator=Broken())) as server, talking(server) as talk:
        chat = talk.new()
        talk.say(chat, "Hello?").raise_for_status()
        server.wait_until_idle()
        [*_, (name, data)] = talk.events(chat)

        assert name == "failed"
        assert "no memory left" in data["message"]
        assert talk.events(chat) == [("done", {})]
        page = talk.read(chat)
        assert page["messages"][-1]["text"] == "Hello?"
        assert not page["is_answered"]


def test_regenerating_any_reply_makes_a_version_beside_it(talk, chat):
    messages = talk.talk(chat)
    talk.talk(chat, "And then?")
    talk.wish(chat, "regenerate", message_id=messages[2]["id"]).raise_for_status()
    talk.events(chat)
    talk.server.wait_until_idle()
    shown = talk.read(chat)["messages"]

    assert len(shown) == 3
    assert (shown[2]["swipe"], shown[2]["num_swipes"]) == (2, 2)
    back = talk.http.post(f"{CHATS}/{chat}/messages/{shown[2]['id']}/show", json={"by": -1}).json()["shown"]
    assert back == messages[2]["id"]
    assert talk.read(chat)["total"] == 5


def test_continue_grows_the_last_reply(talk, chat):
    before = talk.talk(chat)[-1]
    talk.wish(chat, "continue").raise_for_status()
    events = talk.events(chat)
    talk.server.wait_until_idle()
    after = talk.read(chat)["messages"][-1]

    assert after["id"] == before["id"]
    assert after["text"].startswith(before["text"])
    assert events[0] == ("begin", {"kind": "continue", "message_id": 0}) or events == [("done", {})]


def test_impersonate_drafts_and_stores_nothing(talk, chat):
    talk.talk(chat)
    talk.wish(chat, "impersonate").raise_for_status()
    [*_, (name, data)] = talk.events(chat)

    assert name == "done"
    assert data["text"]
    assert talk.read(chat)["total"] == 3


def test_an_edit_stays_in_place_and_can_be_undone(talk, chat):
    question = talk.talk(chat, "Helo")[1]
    talk.http.patch(f"{CHATS}/{chat}/messages/{question['id']}", json={"text": "Hello"}).raise_for_status()
    assert talk.read(chat)["messages"][1]["text"] == "Hello"
    assert talk.read(chat)["total"] == 3

    assert talk.http.post(f"{CHATS}/{chat}/undo").json() == {"undone": "edit"}
    assert talk.read(chat)["messages"][1]["text"] == "Helo"


def test_an_edit_with_a_new_answer_is_a_version_beside(talk, chat):
    question = talk.talk(chat, "Helo")[1]
    change = {"text": "Hello", "regenerates": True}
    talk.http.patch(f"{CHATS}/{chat}/messages/{question['id']}", json=change).raise_for_status()
    talk.events(chat)
    talk.server.wait_until_idle()
    shown = talk.read(chat)["messages"]

    assert shown[1]["text"] == "Hello"
    assert shown[1]["num_swipes"] == 2
    assert shown[2]["role"] == "assistant"


def test_delete_takes_what_follows_and_undo_brings_it_back(talk, chat):
    question = talk.talk(chat)[1]

    assert talk.http.delete(f"{CHATS}/{chat}/messages/{question['id']}").json() == {"num_deleted": 2}
    assert talk.read(chat)["total"] == 1
    talk.http.post(f"{CHATS}/{chat}/undo").raise_for_status()
    assert talk.read(chat)["total"] == 3


def test_a_branch_is_a_chat_of_its_own(talk, chat):
    question = talk.talk(chat)[1]
    branch = talk.http.post(f"{CHATS}/{chat}/messages/{question['id']}/branch").json()["id"]

    assert talk.read(branch)["total"] == 2
    assert talk.read(branch)["chat"]["is_branch"]
    assert talk.read(chat)["total"] == 3


def test_hidden_messages_stay_and_say_so(talk, chat):
    question = talk.talk(chat)[1]
    talk.http.patch(f"{CHATS}/{chat}/messages/{question['id']}", json={"is_hidden": True}).raise_for_status()

    assert talk.read(chat)["messages"][1]["is_hidden"]


def test_a_window_reads_only_what_is_asked_for(talk):
    bot: Bot = talk.server.bot
    chat = bot.sessions.create(character=bot.model_id)
    ids = [bot.sessions.append(chat, Message("user" if at % 2 else "assistant", f"Line {at}")) for at in range(500)]

    last = talk.read(chat)
    assert (last["first"], len(last["messages"]), last["total"]) == (440, 60, 500)
    older = talk.read(chat, before=440, limit=30)
    assert [message["text"] for message in older["messages"]] == [f"Line {at}" for at in range(410, 440)]
    around = talk.read(chat, around=ids[100])
    assert around["first"] == 70
    assert len(around["messages"]) == 60
    assert talk.http.get(f"{CHATS}/{chat}", params={"limit": 10**9}).status_code == 400


def test_search_finds_messages_with_where_the_words_are(talk, chat):
    talk.talk(chat, "My cat is called Biscuit.")
    [hit, *_] = talk.http.get(f"{CHATS}/search", params={"text": "biscuit cat"}).json()["hits"]

    assert hit["session_id"] == chat
    assert {hit["snippet"][begin:end] for begin, end in hit["matches"]} == {"cat", "Biscuit"}


def test_chats_are_renamed_exported_brought_in_and_deleted(talk, chat):
    talk.talk(chat, "Keep this.")
    named = talk.http.patch(f"{CHATS}/{chat}", json={"title": "The night train"}).json()
    assert named["title"] == "The night train"
    file = talk.http.get(f"{CHATS}/{chat}/file", params={"format": "sillytavern"})
    assert file.headers["content-disposition"].endswith('.jsonl"')

    [copy] = talk.http.post(f"{CHATS}/import", content=file.content).raise_for_status().json()["ids"]
    assert talk.read(copy)["messages"][1]["text"] == "Keep this."
    talk.http.delete(f"{CHATS}/{copy}").raise_for_status()
    assert talk.http.get(f"{CHATS}/{copy}").status_code == 404


def test_a_chat_has_its_own_author_note(talk, chat):
    talk.http.put(f"{CHATS}/{chat}/note", json={"text": "It is raining.", "depth": 2}).raise_for_status()

    assert talk.http.get(f"{CHATS}/{chat}/note").json() == {"text": "It is raining.", "depth": 2}


def test_somebody_elses_chat_is_answered_as_one_that_does_not_exist(talk):
    bot = talk.server.bot
    other = bot.new_session(user="somebody else")
    message = bot.sessions.path(other)[0].id
    below = f"/messages/{message}"
    tried = [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/file"), ("GET", "/note"), ("PUT", "/note")]
    tried += [("GET", "/events"), ("POST", "/messages"), ("POST", "/replies"), ("POST", "/stop"), ("POST", "/undo")]
    tried += [("PATCH", below), ("DELETE", below), ("POST", f"{below}/show"), ("POST", f"{below}/branch")]
    for method, path in tried:
        answers = [talk.http.request(method, f"{CHATS}/{session}{path}") for session in (other, "0" * 32)]
        assert [answer.status_code for answer in answers] == [404, 404], (method, path)
        assert answers[0].content == answers[1].content
    assert bot.sessions.has(other, character=bot.model_id, user="somebody else")


def test_messages_of_another_chat_are_not_reached_through_ones_own(talk, chat):
    other = talk.server.bot.new_session(user="somebody else")
    message = talk.server.bot.sessions.path(other)[0].id
    for method, path in (("PATCH", ""), ("DELETE", ""), ("POST", "/show"), ("POST", "/branch")):
        body = {"text": "mine now"} if method == "PATCH" else None
        assert talk.http.request(method, f"{CHATS}/{chat}/messages/{message}{path}", json=body).status_code == 404
    assert talk.wish(chat, "regenerate", message_id=message).status_code == 404


@pytest.mark.parametrize(
    "body", ['{"text": ""}', "[]", "{", '{"text": 1}', '{"text": "a", "more": 1}', '{"text": null}', "\x00"]
)
def test_a_body_of_another_shape_names_the_field(talk, chat, body):
    answer = talk.http.post(f"{CHATS}/{chat}/messages", content=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_body"


def test_requests_beyond_the_limit_say_when_to_come_back_and_store_nothing(tmp_path):
    config = make_test_config(requests_per_minute=1, burst=1)
    with running(make_bot(tmp_path, config=config), config=config) as server, talking(server) as talk:
        chat = talk.new()
        talk.talk(chat)
        refusal = talk.say(chat, "One more?")

        assert refusal.status_code == 429
        assert int(refusal.headers["retry-after"]) > 0
        assert talk.read(chat)["total"] == 3


def test_pictures_show_who_speaks_and_not_the_card(talk):
    avatar = talk.http.get("/page/characters/lila-quill/avatar.webp")

    assert avatar.headers["content-type"] == "image/webp"
    assert avatar.content[8:12] == b"WEBP"
    assert "max-age" in avatar.headers["cache-control"]
    assert talk.http.get("/page/characters/lila-quill/portrait.webp").content != avatar.content
    assert talk.http.get("/page/characters/lila-quill/avatar.webp?companion=9").status_code == 404
    assert talk.http.get("/page/characters/nobody/avatar.webp").status_code == 404


def test_what_is_known_of_replies_is_bounded():
    asks = Asks()
    for at in range(2000):
        asks.add(str(at), Ask(Generation(), "reply"))

    assert asks.find("0") is None
    assert asks.find("1999") is not None
