"""The panel Talk in a real browser: what a person does there, at a desk and on a phone."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from duologue.chat import Bot
from duologue.chat.tree import SessionTree, TreeMessage
from duologue.engine.fake import FakeGenerator
from duologue.messages import Message
from tests.serve.browser import DESK, IN_BROWSER, PHONE, Visit, visiting
from tests.serve.running import Gate, GatedGenerator, Running, make_bot, make_test_config, running

pytestmark = IN_BROWSER
REPLY = "*nods* We leave at 12:07, passenger. Sit wherever the lamp suits you."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(make_bot(tmp_path_factory.mktemp("talk"), generator=FakeGenerator(reply=REPLY))) as started:
        yield started


def say(page: Page, text: str) -> None:
    field = page.get_by_role("textbox", name="Your message")
    field.fill(text)
    field.press("Enter")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.locator(".message.growing")).to_have_count(0)


def last(page: Page, kind: str = "theirs") -> object:
    return page.locator(f".message.{kind}").last


def choose(page: Page, action: str, *, at: object) -> None:
    at.get_by_role("button", name="More for this message").click()
    page.get_by_role("menuitem", name=action).click()


def long_chat(bot: Bot, num_messages: int) -> str:
    messages = tuple(
        TreeMessage(
            at, at - 1, Message("user" if at % 2 else "assistant", f"Line {at} of *many*."), finish_reason="stop"
        )
        for at in range(1, num_messages + 1)
    )
    return bot.sessions.add_tree(SessionTree(messages, title=f"{num_messages} lines"), character=bot.model_id)


def assert_clean(visit: Visit) -> None:
    assert visit.foreign == []
    assert visit.faults == []


def test_a_first_chat_with_versions_edits_a_branch_and_undo(browser: Browser, server: Running):
    with visiting(browser, server, "#/talk/lila-quill/new") as visit:
        page = visit.page
        expect(page.get_by_text("An AI character, not a person").first).to_be_visible()
        page.get_by_role("button", name="Next beginning").click()
        expect(page.get_by_text("Beginning 2 of 3")).to_be_visible()
        say(page, "When do we leave?")
        expect(last(page)).to_contain_text("We leave at 12:07")
        expect(last(page).locator("em")).to_have_text("nods")
        expect(page).to_have_url(re.compile(r"#/talk/lila-quill/[0-9a-f-]{8,}"))
        first_address = page.url

        last(page).get_by_role("button", name="Another version").first.click()
        expect(last(page).get_by_text("2 / 2")).to_be_visible()
        page.get_by_role("textbox", name="Your message").press("ArrowLeft")
        expect(last(page).get_by_text("1 / 2")).to_be_visible()

        page.get_by_role("textbox", name="Your message").press("ArrowUp")
        editing = page.get_by_role("textbox", name="Edit")
        expect(editing).to_be_focused()
        editing.fill("When does the train leave?")
        editing.press("Control+Enter")
        expect(last(page, "mine")).to_contain_text("does the train")
        expect(page.locator(".message")).to_have_count(3)
        page.get_by_role("button", name="Undo").click()
        expect(last(page, "mine")).to_contain_text("When do we leave?")

        choose(page, "Delete from here on", at=last(page, "mine"))
        expect(page.locator(".message")).to_have_count(1)
        page.get_by_role("button", name="Undo").last.click()
        expect(page.locator(".message")).to_have_count(3)

        choose(page, "Branch from here", at=last(page))
        expect(page.get_by_text("This is a branch.")).to_be_visible()
        assert page.url != first_address
        assert_clean(visit)


def test_a_reply_is_stopped_and_goes_on_through_a_reload(browser: Browser, tmp_path: Path):
    gate = Gate()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running(make_bot(tmp_path, generator=GatedGenerator(gate, reply=REPLY))))
        visit = stack.enter_context(visiting(browser, server))
        page = visit.page
        field = page.get_by_role("textbox", name="Your message")
        field.fill("Hello?")
        field.press("Enter")
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        expect(page.locator(".message.growing")).to_contain_text("nods")
        page.reload()
        expect(page.locator(".message.growing")).to_contain_text("nods")
        expect(page.locator(".message.theirs:not(.growing)")).to_have_count(1)
        page.get_by_role("textbox", name="Your message").press("Escape")
        expect(page.get_by_text("You stopped here.")).to_be_visible()
        gate.opened.set()
        last(page).get_by_role("button", name="Another version").first.click()
        expect(last(page)).to_contain_text("lamp suits you")
        heard = page.locator('duo-talk [aria-live="polite"]')
        expect(heard).to_contain_text("lamp suits you")
        assert visit.foreign == []


def test_what_is_refused_stays_in_the_field_with_the_reason(browser: Browser, tmp_path: Path):
    config = make_test_config(max_input_chars=200)
    with running(make_bot(tmp_path, config=config), config=config) as server, visiting(browser, server) as visit:
        page, text = visit.page, "word " * 60
        page.get_by_role("textbox", name="Your message").fill(text)
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("alert").filter(has_text="200")).to_be_visible()
        expect(page.get_by_role("textbox", name="Your message")).to_have_value(text)
        expect(page.locator(".message.mine")).to_have_count(0)

        visit.page.context.set_offline(True)
        page.get_by_role("textbox", name="Your message").fill("Are you there?")
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_text("The server cannot be reached.").first).to_be_visible()
        expect(page.get_by_role("textbox", name="Your message")).to_have_value("Are you there?")
        visit.page.context.set_offline(False)
        expect(page.locator("body[data-offline]")).to_have_count(0)
        page.locator(".composer").get_by_role("button", name="Try again").click()
        expect(last(page)).to_contain_text("Are you there?")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_two_thousand_messages_keep_few_nodes_and_old_ones_are_read_on_the_way(browser: Browser, server: Running, size):
    chat = long_chat(server.bot, 2000)
    with visiting(browser, server, f"#/talk/lila-quill/{chat}", size=size) as visit:
        page = visit.page
        expect(page.get_by_text("Line 2000 of")).to_be_in_viewport()
        assert page.locator(".message").count() <= 60
        for _ in range(6):
            first = page.locator(".message").first.get_attribute("data-id")
            page.locator("duo-talk .scroller").evaluate("room => { room.scrollTop = 0; }")
            expect(page.locator(".message").first).not_to_have_attribute("data-id", first)
        assert page.locator(".message").count() <= 150
        expect(page.get_by_text("Line 2000 of")).to_have_count(0)
        page.get_by_role("button", name="To the latest message").click()
        expect(page.get_by_text("Line 2000 of")).to_be_in_viewport()
        say(page, "And one more.")
        expect(last(page)).to_contain_text("We leave at 12:07")
        assert page.locator(".message").count() <= 150
        assert_clean(visit)


def test_chats_are_found_by_their_words_and_deleted_with_time_to_think(browser: Browser, server: Running):
    chat = long_chat(server.bot, 120)
    with visiting(browser, server, "#/talk/lila-quill/new") as visit:
        page = visit.page
        page.get_by_role("searchbox", name="Search all chats").fill('"Line 7 of many"')
        page.locator(".hit").filter(has_text="120 lines").click()
        expect(page.locator(".message").filter(has_text="Line 7 of")).to_be_in_viewport()
        page.get_by_role("searchbox", name="Search all chats").fill("")
        page.get_by_role("button", name="This chat").click()
        page.get_by_role("menuitem", name="Delete this chat").click()
        expect(page.get_by_role("link", name=re.compile("^120 lines"))).to_have_count(0)
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_role("link", name=re.compile("^120 lines"))).to_be_visible()
        assert server.bot.sessions.has(chat, character=server.bot.model_id)
        assert_clean(visit)


def test_a_phone_has_the_list_in_a_drawer_and_nothing_sticks_out(browser: Browser, server: Running):
    with visiting(browser, server, "#/talk/lila-quill/new", size=PHONE, locale="de-DE") as visit:
        page = visit.page
        page.get_by_role("textbox", name="Deine Nachricht").fill("Guten Abend.")
        page.get_by_role("button", name="Senden").tap()
        expect(last(page)).to_contain_text("We leave at 12:07")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("button", name="Gespräche").first.tap()
        expect(page.get_by_role("link", name="Neues Gespräch").first).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("complementary", name="Gespräche")).to_be_hidden()
        for button in page.locator("duo-frame nav a").all():
            box = button.bounding_box()
            assert box["width"] >= 44
            assert box["height"] >= 44
        assert_clean(visit)


def test_keys_help_theme_and_a_break_after_a_while(browser: Browser, tmp_path: Path):
    config = make_test_config(break_reminder_minutes=20)
    with running(make_bot(tmp_path, config=config), config=config) as server:
        context_options = {"color_scheme": "light", "reduced_motion": "reduce"}
        with visiting(browser, server, **context_options) as visit:
            page = visit.page
            page.clock.install()
            page.reload()
            expect(page.get_by_role("textbox", name="Your message")).to_be_focused()
            page.get_by_role("button", name="Keys and help").click()
            expect(page.get_by_role("dialog", name="Keys and help")).to_be_visible()
            page.keyboard.press("Escape")
            page.get_by_role("button", name="Light or dark").click()
            expect(page.locator("body")).to_have_class(re.compile("dark"))
            for _ in range(4):
                page.keyboard.press("Shift")
                page.clock.run_for(6 * 60_000)
            expect(page.get_by_text("You have been talking for 20 minutes")).to_be_visible()
            names = page.get_by_role("navigation", name="Parts of the page").get_by_role("link").all_inner_texts()
            assert names == ["Talk", "Characters", "Memory", "Context", "Train", "Settings"]
            assert page.evaluate(UNNAMED) == []
            assert_clean(visit)


# Everything that can be pressed and that a screen reader could not name.
UNNAMED = """() => {
  const isNamed = (each) => each.getAttribute("aria-label") || each.textContent.trim() || each.labels?.length;
  const pressed = [...document.querySelectorAll("button, a, input, textarea")];
  return pressed.filter((each) => each.checkVisibility() && !isNamed(each)).map((each) => each.outerHTML);
}"""
