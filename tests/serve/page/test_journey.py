"""From an empty page to a trained character that replies, in a real browser, at a desk and on a phone."""

import json
import os
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.serve.browser import IN_BROWSER, PHONE, visiting
from tests.serve.page.homes import ROWS, ServedHome, served

pytestmark = [
    *IN_BROWSER,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.name != "posix", reason="training from the page needs locks"),
]
LONG = 400_000  # ms; a check reads the tokenizer, and the machine may be busy


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHome]:
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    with served(tmp_path_factory.mktemp("home")) as started:
        yield started
    os.environ.pop("XDG_STATE_HOME")
    if before is not None:
        os.environ["XDG_STATE_HOME"] = before


def fits(page: Page) -> bool:
    """Return whether nothing sticks out of the page sideways."""
    panel = page.locator("duo-train .page")
    return bool(panel.evaluate("node => node.scrollWidth <= node.clientWidth + 1"))


def train(page: Page) -> None:
    """Wait for check and plan, train, and see the outcome."""
    start = page.get_by_role("button", name="Start training")
    expect(start).to_be_enabled(timeout=LONG)
    expect(page.locator(".verdict")).to_contain_text("It fits")
    expect(page.locator(".memory-bar i").first).to_be_visible()
    assert fits(page)
    start.click()
    expect(page.locator(".live")).to_be_visible(timeout=LONG)
    expect(page.locator("[data-outcome]")).to_contain_text("is trained", timeout=LONG)
    assert fits(page)


def test_an_empty_page_leads_to_a_character_of_ones_own_that_is_trained(home, browser, tmp_path):
    """At a desk: written in the page, taught with a dropped file, checked, planned with a knob, trained."""
    with visiting(browser, home, locale="en-GB") as visit:
        page = visit.page
        expect(page.get_by_role("heading", name="Make someone to talk to")).to_be_visible()
        page.get_by_label("Name").fill("Ada <b>Bell</b>")
        page.get_by_label("Who is it?").fill("Ada runs the last lift of a mountain railway.")
        page.get_by_role("button", name="Make this character").click()
        expect(page.get_by_role("heading", name="Train Ada <b>Bell</b>")).to_be_visible()

        bad = tmp_path / "notes.json"
        bad.write_text('{"note": "nothing said here"}')
        page.locator(".drop input").set_input_files(bad)
        expect(page.locator(".note.error")).to_be_visible(timeout=LONG)
        expect(page.get_by_role("button", name="Start training")).to_be_disabled()
        page.get_by_role("button", name="Remove notes.json").click()
        expect(page.locator(".files li")).to_have_count(0)

        talks = tmp_path / "talks.json"
        talks.write_text(json.dumps(ROWS))
        page.locator(".drop input").set_input_files(talks)
        expect(page.locator(".figures").first).to_contain_text("20", timeout=LONG)
        expect(page.locator(".preview .tok.trained").first).to_contain_text("Answer number")
        expect(page.locator(".verdict")).to_be_visible(timeout=LONG)
        page.get_by_text("Adjust").click()
        page.get_by_label("How often it reads everything").select_option("1")
        expect(page.locator(".figure", has_text="steps of learning").locator("b")).to_have_text("5", timeout=LONG)
        train(page)
        [folder] = home.root.glob("ada*")
        assert "num_epochs = 1.0" in (folder / "duologue.toml").read_text(), "the knob is in the file a person writes"

        page.get_by_role("link", name="See how it went").click()
        expect(page.locator("svg.chart")).to_have_attribute("aria-label", re.compile("Loss from"))
        expect(page.get_by_role("heading", name="Was the plan right?")).to_be_visible()
        page.go_back()
        page.get_by_role("link", name=re.compile("Talk to Ada")).click()
        expect(page).to_have_url(re.compile("#/talk/ada"))
        assert visit.faults == [] and visit.foreign == []
    answer = home.client.post(
        "/v1/chat/completions", json={"model": folder.name, "messages": [{"role": "user", "content": "Hello Ada"}]}
    )
    assert "Hello Ada" in answer.json()["choices"][0]["message"]["content"]


def test_on_a_phone_the_example_is_trained_and_meets_its_base_in_a_blind_duel(home, browser):
    with visiting(browser, home, "#/train/any/new", size=PHONE, locale="de-DE") as visit:
        page = visit.page
        expect(page.get_by_role("heading", name="Erschaffe jemanden zum Reden")).to_be_visible()
        assert fits(page)
        page.evaluate("localStorage.setItem('language', 'en')")
        page.reload()
        page.get_by_role("button", name="Take Lila aboard").click()
        expect(page.locator(".files li")).to_have_count(3)
        train(page)
        page.get_by_role("link", name="Compare with the base model").click()
        page.get_by_role("button", name="Hello, who are you?").click()
        pick = page.get_by_role("button", name="Left is better")
        expect(pick).to_be_visible(timeout=LONG)
        assert "2026" not in page.locator(".arena").inner_text() and "Base" not in page.locator(".arena").inner_text()
        pick.click()
        expect(page.locator(".arena")).to_contain_text("Base model")
        expect(page.get_by_text("Picks so far: 1")).to_be_visible()
        assert fits(page)
        assert visit.faults == [] and visit.foreign == []
