"""Every panel can be read, reached and pressed by everybody: measured in a real Chromium, light, dark and zoomed."""

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
from playwright.sync_api import Browser, Page

from duologue.serve.page.words import words
from tests.serve.browser import DESK, IN_BROWSER, PHONE, Visit, visiting
from tests.serve.page import audit
from tests.serve.page.panels import Panels, make_home, panels

pytestmark = IN_BROWSER

# 1280 by 900 at 200%: a browser then lays the page out for half of that.
ZOOMED = {"viewport": {"width": 640, "height": 450}, "device_scale_factor": 2}
# Where each panel is, and what is there once it is whole.
PLACES = {
    "talk": ("talk/ada-bell/{session}", "duo-talk .message.theirs"),
    "new chat": ("talk/ada-bell/new", "duo-talk .opening"),
    "characters": ("characters", "[data-id=ada-bell]"),
    "card": ("characters/ada-bell/edit", ".card-editor .lore-entry"),
    "memory": ("memory/ada-bell/{session}", "#panel-memory .memory"),
    "context": ("context/ada-bell/{session}", "#panel-context .budget"),
    "train": ("train/ada-bell", "#panel-train .page-head, #panel-train h1"),
    "settings": ("settings/ada-bell", ".settings"),
}


_SAID = """() => [...document.querySelectorAll("body *")].filter((each) => each.checkVisibility()).flatMap((each) => [
    ...[...each.childNodes].filter((inner) => inner.nodeType === Node.TEXT_NODE).map((inner) => inner.data.trim()),
    ...["aria-label", "title", "placeholder"].map((name) => each.getAttribute(name)),
]).filter(Boolean)"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Panels, str]]:
    """A home in which somebody has talked."""
    with panels(make_home(tmp_path_factory.mktemp("told") / "home"), with_accounts=False) as served:
        served.talk("ada-bell", "I have a dog called Biscuit.", user="local")
        yield served, served.talk("ada-bell", "*knocks* What is my **dog** called?", user="local")


def shown(page: Page, told: tuple[Panels, str], place: str) -> None:
    """Go to a panel and wait until it is whole."""
    served, session = told
    path, ready = PLACES[place]
    page.goto(f"{served.url}/#/{path.format(session=session)}")
    if place == "context":  # what was sent is told at once; what would be sent, when it is wanted
        work_out = page.locator("#panel-context button:has-text('Work out')")
        page.locator(ready).or_(work_out).first.wait_for()
        if work_out.count():
            work_out.click()
    page.locator(ready).first.wait_for()


def opened(
    browser: Browser, told: tuple[Panels, str], theme: str, size: dict[str, object]
) -> AbstractContextManager[Visit]:
    """Return the page as a browser shows it that likes a theme and no motion: nothing is measured half-way."""
    return visiting(browser, told[0], "#/settings", size=size, color_scheme=theme, reduced_motion="reduce")


def require_well(what: audit.Audit, place: str, *, at_least: int) -> None:
    assert what.count >= at_least, f"{place}: only {what.count} things were looked at"
    assert what.found == (), f"{place}: " + "; ".join(what.found)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_icons_of_every_panel_stand_out_from_what_is_below_them(browser: Browser, told, theme):
    with opened(browser, told, theme, DESK) as visit:
        for place in PLACES:
            shown(visit.page, told, place)
            require_well(audit.contrast(visit.page), place, at_least=20)
        assert visit.page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")


def test_every_control_has_a_name_a_size_and_a_focus_that_is_seen(browser: Browser, told):
    with opened(browser, told, "light", DESK) as visit:
        for place in PLACES:
            shown(visit.page, told, place)
            require_well(audit.names(visit.page), place, at_least=8)
            require_well(audit.targets(visit.page), place, at_least=8)
            require_well(audit.focus(visit.page), place, at_least=8)


@pytest.mark.parametrize("size", [ZOOMED, pytest.param(PHONE, marks=pytest.mark.slow)], ids=["zoomed", "phone"])
def test_at_twice_the_size_nothing_of_a_panel_is_cut_and_the_page_scrolls_one_way(browser: Browser, told, size):
    with opened(browser, told, "light", size) as visit:
        for place in PLACES:
            shown(visit.page, told, place)
            require_well(audit.cut_off(visit.page), place, at_least=20)
            require_well(audit.targets(visit.page), place, at_least=6)


def test_in_german_no_english_text_is_left_on_any_panel(browser: Browser, told):
    english, german = words("en"), words("de")
    # A text with a place for a name or a number is never there as it stands in the table.
    ours = {text for key, text in english.items() if text != german[key] and "{" not in text and len(text) > 3}
    ours -= {*german.values(), "Ada Bell"}  # she has the name of the example
    with visiting(browser, told[0], "#/settings", size=DESK, locale="de-DE") as visit:
        for place in PLACES:
            shown(visit.page, told, place)
            said = set(visit.page.evaluate(_SAID))
            assert len(said & set(german.values())) >= 3, place
            assert said & ours == set(), place


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_menus_and_dialogs_stand_out_and_have_names_too(browser: Browser, told, theme):
    with opened(browser, told, theme, DESK) as visit:
        shown(visit.page, told, "talk")
        visit.page.get_by_role("button", name="More ways to go on").click()
        visit.page.locator(".menu").wait_for()
        require_well(audit.contrast(visit.page), "menu", at_least=20)
        require_well(audit.names(visit.page), "menu", at_least=10)
        visit.page.get_by_role("menuitem", name="Author's note").click()
        visit.page.locator("dialog textarea").wait_for()
        require_well(audit.contrast(visit.page), "dialog", at_least=20)
        require_well(audit.names(visit.page), "dialog", at_least=3)


def test_a_text_that_is_too_pale_and_a_button_without_a_name_would_be_found(browser: Browser, told):
    with opened(browser, told, "light", DESK) as visit:
        page = visit.page
        shown(page, told, "settings")
        page.evaluate(
            """() => {
                const pale = document.createElement("p");
                pale.textContent = "Nobody can read this.";
                pale.style.color = "#999";
                const mute = document.createElement("button");
                mute.style.cssText = "width: 10px; height: 10px; padding: 0; border: 0; position: fixed; outline: none";
                Object.assign(mute.style, {left: "0", top: "40vh"});
                const wide = document.createElement("div");
                wide.textContent = "too wide";
                wide.style.width = "200vw";
                const other = mute.cloneNode();
                other.style.left = "4px";
                document.querySelector(".settings").prepend(pale, mute, other, wide);
            }"""
        )
        assert any("Nobody can read this." in fault for fault in audit.contrast(page).found)
        assert len(audit.names(page).found) == 2
        assert audit.targets(page).found
        assert any("too wide" in fault for fault in audit.cut_off(page).found)
