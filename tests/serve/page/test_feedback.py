"""Likes and consent on the page: what its routes do, and what a person sees at a desk and on a phone."""

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from duologue.engine.fake import FakeGenerator
from tests.chat.made import say
from tests.serve.browser import DESK, IN_BROWSER, PHONE, visiting
from tests.serve.running import Running, make_bot, running

CHATS = "/page/characters/lila-quill/chats"


@pytest.fixture
def asked(tmp_path: Path):
    """A server with a chat of one turn."""
    bot = make_bot(tmp_path, generator=FakeGenerator(reply="At noon, passenger."))
    session_id = bot.new_session()
    say(bot, session_id, "When do we leave?")
    with running(bot) as server:
        yield server, session_id


def put(server: Running, path: str, body: object) -> httpx.Response:
    return httpx.put(f"{server.url}{CHATS}/{path}", json=body)


def test_likes_are_shown_with_the_messages_and_used_only_after_a_yes(asked):
    server, session_id = asked
    reply = server.bot.sessions.path(session_id)[-1].id

    first = put(server, f"{session_id}/messages/{reply}/opinion", {"is_liked": True}).json()
    before = httpx.get(f"{server.url}{CHATS}/{session_id}/feedback").json()
    after = put(server, f"{session_id}/consent", {"state": "given"}).json()
    shown = httpx.get(f"{server.url}{CHATS}/{session_id}").json()["messages"]
    removed = httpx.post(f"{server.url}{CHATS}/{session_id}/feedback/remove", json={"source": f"like {reply}"}).json()

    assert first == {"opinion": True, "consent": ""}
    assert before["pieces"] == []
    [piece] = after["pieces"]
    assert (piece["source"], piece["better"]) == (f"like {reply}", "At noon, passenger.")
    assert [message["opinion"] for message in shown] == [None, None, True]
    assert removed["pieces"] == []
    assert server.bot.sessions.marks.opinions(session_id) == {}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("consent", {"state": "maybe"}, 400),
        ("consent", {}, 400),
        ("messages/1/opinion", {"is_liked": "yes"}, 400),
        ("messages/own/opinion", {"is_liked": True}, 400),  # the person's own message
        ("messages/99/opinion", {"is_liked": True}, 404),
    ],
)
def test_what_is_no_answer_and_no_reply_is_refused(asked, path, body, status):
    server, session_id = asked
    path = path.replace("own", str(server.bot.sessions.path(session_id)[1].id))

    assert put(server, f"{session_id}/{path}", body).status_code == status
    assert server.bot.sessions.marks.consent(session_id).state == ""


def test_removing_what_is_not_there_is_refused(asked):
    server, session_id = asked
    answer = httpx.post(f"{server.url}{CHATS}/{session_id}/feedback/remove", json={"source": "like 1"})

    assert answer.status_code == 404


def open_feedback(page: Page) -> None:
    page.get_by_role("button", name="This chat").click()
    page.get_by_role("menuitem", name="Learning from this chat").click()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.browser
@IN_BROWSER[1]
def test_the_first_like_asks_once_and_what_is_taken_can_be_seen_and_removed(browser: Browser, asked, size):
    server, session_id = asked
    marks = server.bot.sessions.marks
    with visiting(browser, server, f"#/talk/lila-quill/{session_id}", size=size, locale="en-GB") as visit:
        page = visit.page
        like = page.get_by_role("button", name="I like this reply")
        expect(like).to_have_count(1)  # the greeting is the card's and has none
        expect(like).to_have_attribute("aria-pressed", "false")
        like.focus()
        page.keyboard.press("Enter")
        question = page.get_by_role("dialog", name="May a model learn from this chat?")
        no, yes = (question.get_by_role("button", name=name) for name in ("No, do not use it", "Yes, learn from it"))
        expect(no).to_be_focused()
        look = "button => button.className + getComputedStyle(button).backgroundColor"
        looks = [button.evaluate(look) for button in (no, yes)]
        assert looks[0] == looks[1]
        page.keyboard.press("Enter")
        expect(question).to_have_count(0)
        expect(like).to_have_attribute("aria-pressed", "true")
        assert marks.consent(session_id).state == "refused"

        dislike = page.get_by_role("button", name="I do not like this reply")
        dislike.click()  # asks no second time
        expect(dislike).to_have_attribute("aria-pressed", "true")
        expect(like).to_have_attribute("aria-pressed", "false")
        expect(page.locator("dialog")).to_have_count(0)

        open_feedback(page)
        shown = page.locator("dialog.feedback")
        expect(shown).to_contain_text("No model learns from this chat.")
        shown.get_by_role("button", name="Yes, learn from it").click()
        expect(shown).to_contain_text("A model may learn from this chat.")
        expect(shown.locator("li")).to_contain_text("At noon, passenger.")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        shown.get_by_role("button", name="Do not use this").click()
        expect(shown).to_contain_text("Nothing is taken from it.")
        shown.get_by_role("button", name="No, do not use it").click()
        expect(shown).to_contain_text("No model learns from this chat.")
        shown.get_by_role("button", name="Close").click()
        expect(dislike).to_have_attribute("aria-pressed", "false")
        assert (visit.foreign, visit.faults) == ([], [])
    assert (marks.consent(session_id).state, marks.opinions(session_id)) == ("refused", {})
