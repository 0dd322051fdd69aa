"""More that people meet on the page, in a real Chromium: a language, a limit, a group, a login, a door for adults."""

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from duologue.engine.fake import FakeGenerator
from tests.serve.browser import DESK, IN_BROWSER, PHONE, opened_context, visiting
from tests.serve.door.wallet import Asked, Issuer
from tests.serve.page.panels import PASSWORD, make_home, panels
from tests.serve.running import make_bot, make_test_config, running

pytestmark = IN_BROWSER


def swipe(page: Page, *, by: int) -> None:
    """Draw a finger over the last reply: to the left for the next version, to the right for the one before."""
    page.locator(".message.theirs").last.evaluate(
        """(element, by) => {
            const touch = (x) => new Touch({identifier: 1, target: element, clientX: x, clientY: 300});
            const send = (type, x, held) => element.dispatchEvent(new TouchEvent(type,
                {bubbles: true, touches: held ? [touch(x)] : [], changedTouches: [touch(x)]}));
            send("touchstart", 200, true);
            send("touchend", 200 - 120 * by, false);
        }""",
        by,
    )


def test_a_german_phone_swipes_writes_a_note_has_a_message_drafted_and_waits_for_its_turn(
    browser: Browser, tmp_path: Path
):
    config = make_test_config(requests_per_minute=20, burst=3)
    bot = make_bot(tmp_path, generator=FakeGenerator(reply="Um zwölf, Fahrgast."), config=config)
    with (
        running(bot, config=config) as server,
        visiting(browser, server, "#/talk/lila-quill/new", size=PHONE, locale="de-DE") as visit,
    ):
        page = visit.page
        assert page.evaluate("document.documentElement.lang") == "de"
        field = page.get_by_role("textbox", name="Deine Nachricht")
        field.fill("Wann fahren wir?")
        page.get_by_role("button", name="Senden").click()
        expect(page.locator(".message.theirs:not(.growing)").last).to_contain_text("Um zwölf")
        expect(page.get_by_role("button", name="Senden")).to_be_visible()

        swipe(page, by=1)
        expect(page.locator(".message.theirs").last.get_by_text("2 / 2")).to_be_visible()
        swipe(page, by=-1)
        expect(page.locator(".message.theirs").last.get_by_text("1 / 2")).to_be_visible()

        page.get_by_role("button", name="Weitere Möglichkeiten").click()
        page.get_by_role("menuitem", name="Regieanweisung").click()
        page.locator("dialog textarea").fill("Es regnet auf die Schienen.")
        with page.expect_response(lambda answer: answer.url.endswith("/note") and answer.request.method == "PUT"):
            page.locator("dialog").get_by_role("button", name="Sichern").click()
        session = re.search(r"/([0-9a-f-]{8,})$", page.url)[1]
        assert bot.editor.note(session).text == "Es regnet auf die Schienen."

        page.get_by_role("button", name="Weitere Möglichkeiten").click()
        page.get_by_role("menuitem", name="Meine nächste Nachricht entwerfen").click()
        expect(field).to_have_value("Um zwölf, Fahrgast.")
        expect(page.locator(".message.mine")).to_have_count(1)

        # Three replies were asked for; the fourth has to wait, and the page says how long and then tries again.
        page.get_by_role("button", name="Senden").click()
        reason = page.locator(".composer .reasons")
        expect(reason.locator(".badge")).to_have_text(re.compile(r"[1-9] s"))
        again = reason.get_by_role("button", name="Noch einmal")
        expect(again).to_be_disabled()
        expect(field).to_have_value("Um zwölf, Fahrgast.")
        expect(again).to_be_enabled(timeout=15_000)
        again.click()
        expect(page.locator(".message.mine")).to_have_count(2)
        visit.faults = [fault for fault in visit.faults if "429" not in fault]
        assert (visit.foreign, visit.faults) == ([], [])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("size", [DESK, pytest.param(PHONE, marks=pytest.mark.slow)], ids=["desk", "phone"])
def test_two_characters_share_a_chat_and_take_turns(browser: Browser, tmp_path: Path, size):
    root = make_home(tmp_path / "home")
    (root / "ada" / "lila.png").write_bytes((root / "lila" / "character.png").read_bytes())
    toml = (root / "ada" / "duologue.toml").read_text()
    (root / "ada" / "duologue.toml").write_text(toml + 'companions = ["lila.png"]\nspeaking_order = "list"\n')
    with (
        panels(root, with_accounts=False) as served,
        visiting(browser, served, "#/talk/ada-bell/new", size=size) as visit,
    ):
        page = visit.page
        page.get_by_role("textbox", name="Your message").fill("Good evening, both of you.")
        page.get_by_role("button", name="Send").click()
        # Both answer by themselves, one after the other, and then the one is asked for who has not the last word.
        speakers = page.locator(".message.theirs:not(.growing) .name")
        expect(speakers).to_have_count(3)  # with the greeting
        expect(page.locator(".message.growing")).to_have_count(0)
        names = [name.split("\n")[0] for name in speakers.all_inner_texts()]
        assert sorted(name.split()[0] for name in names[1:]) == ["Ada", "Lila"]
        page.get_by_role("button", name="More ways to go on").click()
        page.get_by_role("menuitem", name="Let the next one speak").click()
        expect(speakers).to_have_count(4)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert (visit.foreign, visit.faults) == ([], [])


def test_an_admin_logs_in_makes_a_key_and_an_account_and_logs_out(browser: Browser, tmp_path: Path):
    with panels(make_home(tmp_path / "home")) as served, opened_context(browser, DESK) as page:
        page.goto(f"{served.url}/")
        page.get_by_label("Name").fill("admin")
        page.get_by_label("Password").fill("not the password")
        page.get_by_role("button", name="Come in").click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_label("Name").fill("admin")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Come in").click()
        page.wait_for_selector("duo-frame nav")

        page.goto(f"{served.url}/#/settings")
        expect(page.get_by_text("You are admin.")).to_be_visible()
        page.get_by_label("What it is for").fill("notebook")
        page.get_by_role("button", name="Make a key").click()
        key = page.locator("code", has_text="dk-").inner_text()
        answer = page.request.get(f"{served.url}/v1/models", headers={"Authorization": f"Bearer {key}", "Cookie": ""})
        assert {model["id"] for model in answer.json()["data"]} >= {"ada-bell", "lila-quill"}

        people = page.locator("section", has=page.get_by_role("heading", name="Accounts"))
        people.locator("summary").click()
        people.get_by_label("Name").fill("nell")
        people.get_by_label("Password").fill(PASSWORD)
        people.get_by_role("button").last.click()
        expect(people.get_by_text("nell", exact=True)).to_be_visible()
        people.get_by_role("button", name="Delete nell").click()
        page.locator("dialog .danger").click()
        expect(people.get_by_text("nell", exact=True)).to_have_count(0)

        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Password")).to_be_visible()
        assert page.request.get(f"{served.url}/page/state").status == 401


@pytest.mark.parametrize("size", [pytest.param(DESK, marks=pytest.mark.slow), PHONE], ids=["desk", "phone"])
def test_on_this_machine_the_operator_attests_before_a_character_for_adults_says_a_word(
    browser: Browser, tmp_path: Path, size
):
    config = make_test_config(rating="mature")
    with (
        running(make_bot(tmp_path, config=config), config=config) as server,
        visiting(browser, server, "#/talk/lila-quill/new", size=size) as visit,
    ):
        page = visit.page
        expect(page.get_by_role("heading", name=re.compile("is for adults"))).to_be_visible()
        expect(page.locator(".message")).to_have_count(0)
        page.get_by_role("link", name="Prove your age").click()
        page.wait_for_url("**/age?character=lila-quill")
        page.get_by_role("checkbox").check()
        page.get_by_role("button", name="Confirm").click()
        page.get_by_role("link").first.click()
        page.get_by_role("textbox", name="Your message").fill("Good evening.")
        page.get_by_role("textbox", name="Your message").press("Enter")
        expect(page.locator(".message.theirs:not(.growing)").last).to_contain_text("Good evening")
        assert visit.foreign == []
        assert [fault for fault in visit.faults if "403" not in fault] == []


@pytest.mark.parametrize("size", [pytest.param(DESK, marks=pytest.mark.slow), PHONE], ids=["desk", "phone"])
def test_from_another_address_an_app_proves_the_age_and_the_code_it_shows_is_typed(
    browser: Browser, tmp_path: Path, size
):
    issuer = Issuer()
    (tmp_path / "issuer.pem").write_bytes(issuer.pem())
    config = make_test_config(rating="mature")
    age = config.age.model_copy(update={"provider": "openid4vp", "trusted_issuers": (str(tmp_path / "issuer.pem"),)})
    proxied = config.server.model_copy(update={"trusted_proxies": ("127.0.0.1",)})
    config = config.model_copy(update={"age": age, "server": proxied})
    elsewhere = {"X-Forwarded-For": "203.0.113.7"}
    with (
        running(make_bot(tmp_path, config=config), config=config, accounts=tmp_path) as server,
        opened_context(browser, size, extra_http_headers=elsewhere) as page,
    ):
        server.door.add_account("mara", PASSWORD, role="admin")
        page.goto(f"{server.url}/")
        page.get_by_label("Name").fill("mara")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Come in").click()
        page.wait_for_selector("duo-frame nav")
        page.goto(f"{server.url}/#/talk/lila-quill/new")
        expect(page.get_by_role("heading", name=re.compile("is for adults"))).to_be_visible()
        expect(page.locator(".message")).to_have_count(0)

        page.get_by_role("link", name="Prove your age").click()
        page.wait_for_url("**/age?character=lila-quill")
        expect(page.get_by_role("checkbox")).to_have_count(0)  # from here nobody's own word is taken
        page.get_by_role("button", name="Prove it with an app").click()
        link = page.get_by_role("link", name="Open the app on this device").get_attribute("href")
        expect(page.locator("svg")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

        shown = httpx.get(
            issuer.issue().post(Asked.read(link)).json()["redirect_uri"]
        ).text  # on the phone with the app
        code = re.search(r'class="code">([A-Z0-9]+)<', shown)[1]
        page.get_by_role("textbox", name="Code").fill(code)  # the page has looked again by itself
        page.get_by_role("button", name="Finish").click()
        expect(page.get_by_text("You have shown that you are an adult")).to_be_visible()
        page.get_by_role("link", name="Go on").click()
        page.get_by_role("textbox", name="Your message").fill("Good evening.")
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".message.theirs:not(.growing)").last).to_contain_text("Good evening")


def test_the_bar_is_there_also_where_gradio_is_slower_than_the_answers_of_the_server(browser: Browser, tmp_path: Path):
    with running(make_bot(tmp_path)) as server, opened_context(browser, DESK) as page:
        held = []  # what Gradio needs to show our elements
        page.route("**/assets/markdown-code*.js", lambda route: held.append(route))  # noqa: PLW0108  (Playwright takes no builtin)
        with page.expect_response("**/page/state"):
            page.goto(f"{server.url}/#/settings", wait_until="commit")
        page.wait_for_selector("body[data-panel]")  # it has started, and Gradio has not
        assert held
        assert page.locator("duo-frame").count() == 0
        for route in held:
            route.continue_()
        expect(page.locator("duo-frame nav")).to_be_visible()


def test_who_goes_to_another_panel_while_the_chats_are_being_read_stays_there(browser: Browser, tmp_path: Path):
    with running(make_bot(tmp_path)) as server, opened_context(browser, DESK) as page:
        held = []  # the list of chats, which the talk panel waits for
        page.route("**/page/characters/*/chats", lambda route: held.append(route))  # noqa: PLW0108  (Playwright takes no builtin)
        page.goto(f"{server.url}/")
        page.wait_for_selector("duo-frame nav")
        page.wait_for_selector("duo-talk > *")
        page.get_by_role("link", name="Settings").click()
        expect(page.locator("duo-settings .settings")).to_be_visible()
        assert held
        with page.expect_response("**/page/characters/*/chats"):
            for route in held:
                route.continue_()
        page.wait_for_timeout(300)  # what would lead away comes right after the answer
        assert page.evaluate("location.hash").startswith("#/settings")
        expect(page.locator("duo-settings .settings")).to_be_visible()


def test_settings_are_built_once_for_one_move_so_that_nothing_written_in_them_is_lost(browser: Browser, tmp_path: Path):
    with running(make_bot(tmp_path)) as server, opened_context(browser, DESK) as page:
        page.goto(f"{server.url}/")
        page.wait_for_selector("duo-talk > *")
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{server.url}/#/settings")  # the browser tells of this move twice
        page.get_by_label("Your name").fill("Nell")
        page.evaluate("dispatchEvent(new HashChangeEvent('hashchange'))")
        page.wait_for_timeout(300)  # what would be built a second time would stand there by now
        expect(page.get_by_label("Your name")).to_have_value("Nell")
        assert sum(url.endswith("/page/settings") for url in asked) == 1
