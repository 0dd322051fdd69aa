"""The page in a real browser: what a person does, and what they see."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from duologue.engine.fake import FakeGenerator
from duologue.messages import Message
from tests.serve.running import Gate, GatedGenerator, Running, make_bot, make_test_config, running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
]


@dataclass
class Visit:
    """A page and what went wrong or astray on it.

    Attributes:
        page: The page.
        foreign: Requests that left the server's address.
        faults: Console errors and failed requests.
    """

    page: Page
    foreign: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        expect(self.page.get_by_role("button", name="Send")).to_be_visible()  # the reply before has ended
        self.page.get_by_label("Your message").fill(text)
        self.page.keyboard.press("Enter")

    def expect_reply(self, text: str, *, number: int = -1) -> None:
        expect(self.page.locator("#messages .bot.message").nth(number)).to_contain_text(text)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@contextlib.contextmanager
def visiting(browser: Browser, server: Running, **options: object) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 860}, **options)
    context.set_default_timeout(20_000)
    page = context.new_page()
    visit = Visit(page)
    page.on("request", lambda request: request.url.startswith(server.url) or visit.foreign.append(request.url))
    page.on("console", lambda message: message.type == "error" and visit.faults.append(message.text))
    page.on("response", lambda answer: answer.status >= 400 and visit.faults.append(f"{answer.status} {answer.url}"))
    page.goto(server.url)
    expect(page.get_by_label("Your message")).to_be_visible()
    try:
        yield visit
    finally:
        context.close()


@pytest.fixture
def visit(browser, server) -> Iterator[Visit]:
    with visiting(browser, server) as opened:
        opened.page.get_by_role("button", name="New chat").click()
        expect(opened.page.locator("#messages .message-row")).to_have_count(1)
        yield opened
        assert opened.foreign == [], "the page asked another address"
        assert opened.faults == []


def test_a_new_chat_begins_with_the_greeting_and_the_picture(visit):
    visit.expect_reply("Good evening, passenger.")
    expect(visit.page.get_by_role("heading", name="Lila Quill").first).to_be_visible()
    expect(visit.page.get_by_text("An AI character, not a person").first).to_be_visible()
    for picture in visit.page.locator("img:visible").all():
        assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
    expect(visit.page.get_by_role("button", name="Regenerate")).to_be_hidden()


def test_a_message_is_answered_and_the_chat_is_listed(visit):
    visit.say("Where does this train go?")

    visit.expect_reply("You said: Where does this train go?")
    expect(visit.page.locator("#messages .user.message")).to_have_text("Where does this train go?")
    expect(visit.page.get_by_label("Your message")).to_have_value("")
    expect(visit.page.get_by_role("radio", name="Where does this train go?").first).to_be_checked()


def test_an_empty_message_is_refused_with_a_sentence(visit):
    visit.say("   ")

    expect(visit.page.get_by_role("alert")).to_have_text("The message is empty. Write something.")
    expect(visit.page.locator("#messages .message-row")).to_have_count(1)


def test_a_refused_message_stays_in_the_box(visit):
    visit.say("zqflag")

    expect(visit.page.get_by_role("alert")).to_contain_text("content rating is 'general'")
    expect(visit.page.get_by_label("Your message")).to_have_value("zqflag")
    expect(visit.page.locator("#messages .message-row")).to_have_count(1)
    visit.page.get_by_label("Your message").fill("Something else")
    visit.page.keyboard.press("Enter")
    visit.expect_reply("Something else")
    expect(visit.page.get_by_role("alert")).to_have_count(0)


def test_regenerate_replaces_the_last_reply(visit):
    visit.say("Once more, please")
    visit.expect_reply("Once more, please")
    visit.page.get_by_role("button", name="Regenerate").click()

    expect(visit.page.get_by_role("button", name="Send")).to_be_visible()
    expect(visit.page.locator("#messages .bot.message")).to_have_count(2)
    visit.expect_reply("Once more, please")


def test_markup_in_a_message_is_shown_as_text_and_loads_nothing(visit):
    visit.say('<img src="https://evil.test/x.png"> ![y](https://evil.test/y.png) <b style="position:fixed">over</b>')

    visit.expect_reply("evil.test/x.png")
    visit.expect_reply("over")
    assert visit.page.locator("#messages .message img, #messages b[style]").count() == 0


def test_a_reload_shows_the_chat(visit):
    visit.say("Do you remember this?")
    visit.expect_reply("Do you remember this?")
    visit.page.reload()

    visit.expect_reply("Do you remember this?")
    visit.faults.clear()  # the reload cut off the page's own connection


def test_an_earlier_chat_can_be_opened_and_deleted(visit):
    asked = visit.page.locator("#messages .user.message")
    for text in ("The first of two chats", "The second of two chats"):
        visit.page.get_by_role("button", name="New chat").click()
        expect(visit.page.locator("#messages .message-row")).to_have_count(1)
        visit.say(text)
        expect(visit.page.get_by_role("radio", name=text)).to_be_checked()
    visit.page.locator("#chat-list label", has_text="The first of two chats").click()
    expect(asked).to_have_text("The first of two chats")
    visit.page.get_by_role("button", name="Delete this chat").click()

    expect(visit.page.get_by_role("radio", name="The first of two chats")).to_have_count(0)
    expect(asked).to_have_text("The second of two chats")


def test_a_reply_is_streamed_and_can_be_stopped(browser, tmp_path):
    gate = Gate()
    with (
        running(make_bot(tmp_path, generator=GatedGenerator(gate, reply="First word and the rest."))) as server,
        visiting(browser, server) as visit,
    ):
        visit.say("Talk to me")
        visit.expect_reply("First")
        expect(visit.page.get_by_role("button", name="Send")).to_be_hidden()
        visit.page.get_by_role("button", name="Stop").click()  # the gate stays shut: only Stop ends the reply
        expect(visit.page.get_by_role("button", name="Send")).to_be_visible()
        expect(visit.page.locator("#messages .bot.message").last).to_have_text("First")


def test_a_chat_can_be_left_while_its_reply_is_written(browser, tmp_path):
    gate = Gate()
    with (
        running(make_bot(tmp_path, generator=GatedGenerator(gate, reply="First word and the rest."))) as server,
        visiting(browser, server) as visit,
    ):
        rows = visit.page.locator("#messages .message-row")
        visit.say("Talk to me")
        visit.expect_reply("First")
        visit.page.get_by_role("button", name="New chat").click()
        expect(rows).to_have_count(1)
        expect(visit.page.get_by_role("button", name="Send")).to_be_visible()
        visit.page.locator("#chat-list label", has_text="Talk to me").click()
        expect(rows).to_have_count(3)
        expect(visit.page.get_by_role("button", name="Stop")).to_be_visible()
        visit.page.get_by_role("button", name="New chat").click()
        expect(rows).to_have_count(1)
        gate.opened.set()
        server.wait_until_idle()
        visit.page.wait_for_timeout(1000)  # the event that followed the chat that was left has ended by now
        expect(rows).to_have_count(1)
        visit.say("Something else")
        visit.expect_reply("First word and the rest.")


def test_a_reload_in_the_middle_of_a_reply_goes_on_with_it(browser, tmp_path):
    gate = Gate()
    with (
        running(make_bot(tmp_path, generator=GatedGenerator(gate, reply="First word and the rest."))) as server,
        visiting(browser, server) as visit,
    ):
        visit.say("Talk to me")
        visit.expect_reply("First")
        visit.page.reload()
        visit.expect_reply("First")
        expect(visit.page.get_by_role("button", name="Stop")).to_be_visible()
        gate.opened.set()
        visit.expect_reply("First word and the rest.")


def test_a_reply_is_finished_and_stored_when_the_browser_goes_away(browser, tmp_path):
    gate = Gate()
    with running(make_bot(tmp_path, generator=GatedGenerator(gate, reply="First word and the rest."))) as server:
        with visiting(browser, server) as visit:
            visit.say("Talk to me")
            visit.expect_reply("First")
        gate.opened.set()
        server.wait_until_idle()
        with visiting(browser, server) as visit:
            visit.expect_reply("First word and the rest.")


def test_a_restart_of_the_server_shows_the_chat(browser, tmp_path):
    with running(make_bot(tmp_path)) as server, visiting(browser, server) as visit:
        visit.say("Before the restart")
        visit.expect_reply("Before the restart")
    with running(make_bot(tmp_path)) as server, visiting(browser, server) as visit:
        visit.expect_reply("Before the restart")
        expect(visit.page.locator("#chat-list")).to_contain_text("Before the restart")


def test_lines_recalled_from_an_earlier_chat_are_shown_with_speaker_and_date(browser, tmp_path):
    bot = make_bot(tmp_path, generator=FakeGenerator(reply="I remember."))
    with running(bot) as server, visiting(browser, server) as visit:
        expect(visit.page.locator("#recalled")).to_contain_text("Nothing recalled")
        visit.say("My grey cat is called Biscuit")
        visit.expect_reply("I remember.")
        visit.page.get_by_role("button", name="New chat").click()
        expect(visit.page.locator("#messages .message-row")).to_have_count(1)
        visit.say("What is my grey cat called?")
        visit.expect_reply("I remember.")

        line = visit.page.locator("#recalled li").first
        expect(line).to_contain_text("My grey cat is called Biscuit")
        expect(line.locator("b")).to_have_text("User")
        said_at = bot.sessions.messages(bot.sessions.list_sessions(character=bot.model_id)[-1].id)[1].created_at
        assert line.locator("time").get_attribute("datetime") == said_at


def test_too_many_requests_are_told_in_a_sentence(browser, tmp_path):
    config = make_test_config(requests_per_minute=1, burst=1)
    with (
        running(make_bot(tmp_path, config=config), config=config) as server,
        visiting(browser, server) as visit,
    ):
        visit.say("One")
        visit.expect_reply("One")
        visit.say("Two")
        expect(visit.page.get_by_role("alert")).to_contain_text("Too many requests")
        expect(visit.page.get_by_label("Your message")).to_have_value("Two")


def test_the_key_opens_the_page(browser, tmp_path):
    with running(make_bot(tmp_path), api_key="correct horse") as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.url)
        page.get_by_label("Key").fill("wrong")
        page.get_by_role("button", name="Come in").click()
        expect(page.get_by_role("alert")).to_have_text("That is not the key.")
        page.get_by_label("Key").fill("correct horse")
        page.get_by_role("button", name="Come in").click()
        visit = Visit(page)
        visit.say("I am in")
        visit.expect_reply("I am in")
        context.close()


def test_on_a_phone_the_chats_open_and_close_over_the_conversation(browser, tmp_path):
    bot = make_bot(tmp_path)
    session_id = bot.new_session()
    bot.sessions.append(session_id, Message("user", "An earlier question"))
    with running(bot) as server, visiting(browser, server) as visit:
        visit.page.set_viewport_size({"width": 390, "height": 844})
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 390
        expect(visit.page.get_by_role("button", name="New chat")).to_be_hidden()
        visit.page.locator("#menu label").click()
        visit.page.get_by_role("button", name="New chat").click()
        expect(visit.page.get_by_role("button", name="New chat")).to_be_hidden()
        expect(visit.page.get_by_label("Your message")).to_be_in_viewport()
