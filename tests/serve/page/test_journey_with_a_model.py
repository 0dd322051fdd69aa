"""A character trained from the page with a real model: its loss, replies on the way, what it came to, and a chat."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.serve.browser import DESK, IN_BROWSER, PHONE, visiting
from tests.serve.page.homes import ServedHome, make_character, served

pytestmark = [
    *IN_BROWSER,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.name != "posix", reason="training from the page needs locks"),
]
LONG = 600_000  # ms
QUICK = "save_every_steps = 2\neval_every_steps = 6\nnum_sample_replies = 1\nlearning_rate = 2e-3\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedHome]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    settings = make_character(tmp_path / "home", steps=12) / "duologue.toml"
    settings.write_text(settings.read_text().replace("save_every_steps = 2\n", QUICK))
    with served(tmp_path / "home", engine="hf") as started:
        yield started


def test_what_the_page_shows_of_a_training_is_the_training(home, browser):
    with visiting(browser, home, "#/train/ada-bell", size=PHONE) as visit:
        page = visit.page
        start = page.get_by_role("button", name="Start training")
        expect(start).to_be_enabled(timeout=LONG)
        start.click()
        sampled = page.locator(".live .sample").first
        expect(sampled).to_be_visible(timeout=LONG)
        assert re.search("[a-z]", sampled.locator(".serif").inner_text().partition(":")[2]), "a reply of the model"
        expect(page.locator(".live svg.chart")).to_be_visible()
        expect(page.locator(".live .figure", has_text="tokens a second")).to_be_visible()
        expect(page.locator("[data-outcome]")).to_contain_text("is trained", timeout=LONG)
        assert visit.faults == [] and visit.foreign == []

    run = home.get("characters/ada-bell/training").json()["runs"][0]
    assert run["tuned_perplexity"] < run["base_perplexity"]
    with visiting(browser, home, f"#/train/ada-bell/{run['name']}", size=DESK) as visit:
        page = visit.page
        shown = [float(page.locator(f".measure:has(.{kind}) b").inner_text()) for kind in ("before", "after")]
        assert shown == pytest.approx([run["base_perplexity"], run["tuned_perplexity"]], abs=0.005)
        expect(page.get_by_role("heading", name="Was the plan right?")).to_be_visible()
        with page.expect_popup() as opened:
            page.get_by_role("link", name="The whole report").click()
        expect(opened.value.locator("h1")).to_contain_text("Ada Bell")
        assert opened.value.locator("svg").count() > 2
        opened.value.close()

        page.get_by_role("link", name=re.compile("Talk to Ada")).click()
        expect(page).to_have_url(re.compile("#/talk/ada"))
        page.locator("textarea").last.fill("Which floor is next?")
        page.keyboard.press("Enter")
        said = page.locator(".message.theirs:not(.growing)").nth(1)
        expect(said).to_contain_text(re.compile("[a-z]"), timeout=LONG)
        assert visit.faults == [] and visit.foreign == []
