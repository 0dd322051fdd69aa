"""What a person does with replies on the page becomes feedback after a yes, until that is taken back."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from duologue.cli import feedback, places
from duologue.engine.fake import FakeGenerator
from tests.chat.made import say
from tests.serve.browser import DESK, IN_BROWSER, PHONE, visiting
from tests.serve.running import CARD, Running, make_bot, running

pytestmark = IN_BROWSER
TOML = '[model]\nbase = "fake"\n[data]\ntrain = ["x.json"]\n[character]\ncard = "character.png"\n'
MARK = "a model may learn from it"


class Numbered(FakeGenerator):
    """Says another thing each time."""

    num_said = 0

    def stream(self, prompt_ids, sampling, *, cancel):
        self.num_said += 1
        self._reply = f"Reply {self.num_said}, passenger."
        return super().stream(prompt_ids, sampling, cancel=cancel)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(places.DATABASE_VARIABLE, raising=False)
    shutil.copy(CARD, tmp_path / "character.png")
    (tmp_path / "duologue.toml").write_text(TOML)
    return tmp_path


@pytest.fixture
def server(folder: Path):
    """A server whose chats lie in the folder that the command line reads; one chat of one turn is there already."""
    bot = make_bot(folder, generator=Numbered())
    say(bot, bot.new_session(), "Another evening.")
    with running(bot, folder=folder) as started:
        yield started


@pytest.fixture
def listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[], dict[str, tuple[str, str]]]:
    """`duologue feedback list`: better and worse text by kind."""

    def read() -> dict[str, tuple[str, str]]:
        capsys.readouterr()
        feedback.list_command(folder, is_json=True)
        pieces = json.loads(capsys.readouterr().out)["feedback"]
        return {piece["kind"]: piece for piece in pieces}

    return read


def talk(page: Page, text: str, *, num_messages: int) -> None:
    """Say something and wait for the reply."""
    page.get_by_role("textbox", name="Your message").fill(text)
    page.get_by_role("textbox", name="Your message").press("Enter")
    expect(page.locator(".message:not(.growing)")).to_have_count(num_messages)


def open_dialog(page: Page):
    page.get_by_role("button", name="This chat").click()
    page.get_by_role("menuitem", name="Learning from this chat").click()
    return page.locator("dialog.feedback")


def act(page: Page) -> None:
    """Like a reply without an answer to the question, choose between versions, rewrite a reply."""
    talk(page, "When do we leave?", num_messages=3)
    page.get_by_role("button", name="I like this reply").click()
    expect(page.get_by_role("dialog", name="May a model learn from this chat?")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)

    reply = page.locator(".message.theirs").last
    reply.get_by_role("button", name="Another version").first.click()
    expect(reply.get_by_text("2 / 2")).to_be_visible()
    page.get_by_role("textbox", name="Your message").press("ArrowLeft")
    expect(reply.get_by_text("1 / 2")).to_be_visible()
    talk(page, "And then?", num_messages=5)

    reply = page.locator(".message.theirs").last
    reply.get_by_role("button", name="More for this message").click()
    page.get_by_role("menuitem", name="Edit").click()
    field = page.get_by_role("textbox", name="Edit")
    field.fill("Then we sleep, passenger.")
    field.press("Control+Enter")
    expect(reply).to_contain_text("Then we sleep")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_likes_choices_and_edits_become_feedback_after_a_yes_and_are_gone_after_a_no(
    browser: Browser, server: Running, listed, size
):
    with visiting(browser, server, "#/talk/lila-quill/new", size=size, locale="en-GB") as visit:
        page = visit.page
        act(page)
        assert listed() == {}, "nobody has said yes"
        expect(page.locator(".learned-from")).to_have_count(0)

        dialog = open_dialog(page)
        expect(dialog).to_contain_text("No model learns from this chat.")
        dialog.get_by_role("button", name="Yes, learn from it").click()
        expect(dialog.locator("li")).to_have_count(3)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        given = listed()
        dialog.get_by_role("button", name="Close").click()
        expect(page.locator(".entry", has_text=MARK)).to_have_count(1)  # of the two chats

        dialog = open_dialog(page)
        dialog.get_by_role("button", name="No, do not use it").click()
        expect(dialog).to_contain_text("Nothing is taken from it.")
        refused = listed()
        dialog.get_by_role("button", name="Close").click()
        expect(page.locator(".entry", has_text=MARK)).to_have_count(0)
        assert (visit.foreign, visit.faults) == ([], [])
    assert set(given) == {"like", "swipe", "edit"}
    assert "Reply 2, passenger." in json.dumps(given["swipe"]), "the first version over the second"
    assert "Then we sleep, passenger." in json.dumps(given["edit"])
    assert refused == {}
