"""Characters, Memory, Context and Settings in a real Chromium: whole ways through them, at a desk and on a phone."""

import json

import pytest
from playwright.sync_api import expect

from duologue.characters import LILA_FOLDER
from tests.serve.browser import DESK, IN_BROWSER, PHONE, visiting
from tests.serve.page.panels import make_home, panels

pytestmark = IN_BROWSER


@pytest.fixture
def home(tmp_path):
    with panels(make_home(tmp_path / "home"), with_accounts=False) as served:
        yield served


def clean(visit):
    """Nothing failed, and nothing was asked of another server; a picture shown from memory is none."""
    return not visit.faults and not [address for address in visit.foreign if not address.startswith("blob:")]


def drop(page, name, content):
    """Drop a file onto the page as a person does."""
    page.evaluate(
        """([name, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name));
            for (const type of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(type, {bubbles: true, cancelable: true, dataTransfer: data}));
        }""",
        [name, list(content)],
    )


def test_a_dropped_card_is_looked_at_moves_in_and_is_edited(browser, home):
    card = {"name": "Nell Frost", "description": "A clock mender.", "first_mes": "Tick.", "tags": ["<img src=x>"]}
    with visiting(browser, home, "#/characters", size=DESK) as visit:
        page = visit.page
        page.wait_for_selector("[data-id=ada-bell]")
        drop(page, "nell.json", json.dumps(card).encode())
        page.wait_for_selector("dialog.card-preview")
        assert "A clock mender." in page.inner_text("dialog.card-preview")
        page.click("dialog.card-preview .primary")
        page.wait_for_url("**/#/talk/nell-frost*")
        assert (home.root / "nell-frost" / "character.json").is_file()

        page.wait_for_selector("duo-talk :text('Tick.')")
        page.goto(f"{home.url}/#/characters/nell-frost/edit")
        page.fill("[name=description]", "A mender of clocks and toys.")
        page.click(".save-bar .primary")
        page.wait_for_selector(".save-bar", state="hidden")
        page.click("section:has(.lore-list) button:has-text('Add an entry')")
        entry = page.locator(".lore-entry")
        entry.locator("input").nth(0).fill("The shop")
        entry.locator("input").nth(1).fill("shop, clocks")
        entry.locator("textarea").fill("It opens at nine.")
        entry.locator("button.primary").click()
        page.wait_for_selector(".lore-entry summary:has-text('The shop')")
        stored = json.loads((home.root / "nell-frost" / "character.json").read_text())["data"]
        assert stored["description"] == "A mender of clocks and toys."
        assert stored["character_book"]["entries"][0]["keys"] == ["shop", "clocks"]

        # Somebody else is quicker: nothing is overwritten, and that is said.
        page.fill("[name=personality]", "Mine.")
        version = home.get("characters/nell-frost/card")["version"]
        body = {"version": version, "fields": {"personality": "Theirs."}}
        assert home.ask("PUT", "characters/nell-frost/card", body).status_code == 200
        page.click(".save-bar .primary")
        page.click("#notices [role=alert] button:has-text('Load the new one')")
        expect(page.locator("[name=personality]")).to_have_value("Theirs.")
        visit.faults = [fault for fault in visit.faults if "409" not in fault]
        assert clean(visit)


def test_a_character_is_put_aside_and_brought_back(browser, home):
    with visiting(browser, home, "#/characters", size=DESK) as visit:
        page = visit.page
        page.click("[data-id=ada-bell] [aria-haspopup=menu]")
        page.keyboard.press("End")
        page.keyboard.press("Enter")
        page.click("dialog .danger")
        page.wait_for_selector("[data-id=ada-bell]", state="detached")
        page.click("#notices button:has-text('Undo')")
        page.wait_for_selector("[data-id=ada-bell]")
        drop(page, "letter.txt", b"no card")
        page.wait_for_selector("#notices [role=alert]:has-text('letter.txt')")
        assert clean(visit)


def test_memory_context_and_settings_on_a_phone(browser, home):
    home.talk("lila-quill", "I have a dog called Biscuit.", user="local")
    session = home.talk("lila-quill", "What is my dog called?", user="local")
    with visiting(browser, home, f"#/memory/lila-quill/{session}", size=PHONE) as visit:
        page = visit.page
        page.wait_for_selector(".recalled:has-text('Biscuit'):has-text('words ')")
        with page.expect_response(lambda answer: "?q=Biscuit" in answer.url):
            page.fill("[type=search]", "Biscuit")
        row = page.locator(".memory:has-text('I have a dog')").first
        row.locator("[aria-haspopup=menu]").click()
        page.click("[role=menuitem]:has-text('Pin')")
        page.wait_for_selector(".memory .badge.good")
        page.locator(".memory:has-text('I have a dog') input").first.check()
        page.click(".save-bar button")
        page.click("dialog .danger")
        page.wait_for_selector(".receipt")
        assert "No trace was left" in page.inner_text("dialog")
        page.click("dialog button.primary")

        page.goto(f"{home.url}/#/context/lila-quill/{session}")
        if not page.locator(".budget").count():
            page.locator(".budget, button:has-text('Work out')").first.wait_for()
        if not page.locator(".budget").count():
            page.click("button:has-text('Work out')")
        page.wait_for_selector(".budget")
        assert page.locator(".blocks .part").count() >= 3

        page.goto(f"{home.url}/#/settings/lila-quill")
        page.fill("input[autocomplete=nickname]", "Nell")
        page.click("section[aria-labelledby=settings-you] .primary")
        page.wait_for_selector("#notices:has-text('Saved')")
        page.select_option("section[aria-labelledby=settings-look] select >> nth=0", "dark")
        page.wait_for_selector("body.dark")
        page.select_option("section[aria-labelledby=settings-look] select >> nth=1", "de")
        page.wait_for_selector("h1:has-text('Einstellungen')")
        assert page.input_value("input[autocomplete=nickname]") == "Nell"
        inside = "all => all.every(each => each.getBoundingClientRect().right <= innerWidth + 1)"
        assert page.locator("#panel-settings *").evaluate_all(inside), "nothing reaches over the edge of a phone"
        assert clean(visit)


def test_an_empty_home_says_what_to_do(browser, tmp_path):
    (tmp_path / "home").mkdir()
    with panels(tmp_path / "home", with_accounts=False) as served, visiting(browser, served, "#/characters") as visit:
        page = visit.page
        page.wait_for_selector("#panel-characters .empty")
        with page.expect_file_chooser() as chooser:
            page.click("#panel-characters .empty .primary")
        chooser.value.set_files(str(LILA_FOLDER / "character.png"))
        page.wait_for_selector("dialog.card-preview img")
        page.click("dialog.card-preview .primary")
        page.wait_for_url("**/#/talk/lila-quill*")
        assert clean(visit)
