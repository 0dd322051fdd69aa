"""How many of the model's tokens a card takes: counted by the model that is served, once it is loaded or wanted."""

import pytest
from playwright.sync_api import expect

from duologue.engine.fake import FakeTokenizer
from tests.serve.browser import IN_BROWSER, visiting
from tests.serve.page.homes import make_character, served
from tests.serve.page.panels import make_home, panels

TEXTS = {"description": "A lift attendant of the old school.", "creator_notes": "For quiet evenings.", "scenario": ""}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with panels(make_home(tmp_path_factory.mktemp("tokens") / "home")) as started:
        yield started


def test_each_text_is_counted_by_the_tokenizer_of_the_model_and_only_what_is_sent_adds_up(home):
    found = home.ask("POST", "characters/ada-bell/card/tokens", {"texts": TEXTS}).json()
    by_hand = {name: len(FakeTokenizer().encode(text)) for name, text in TEXTS.items()}
    assert found["counts"] == by_hand
    assert found["total"] == by_hand["description"]
    assert found["context_tokens"] == home.library.bot("ada-bell").context_tokens


@pytest.mark.parametrize("body", [{}, {"texts": {"description": 7}}, {"texts": {"a" * 61: "x"}}, {"texts": [], "x": 1}])
def test_what_is_no_texts_is_refused(home, body):
    assert home.ask("POST", "characters/ada-bell/card/tokens", body).status_code == 400


def test_only_an_admin_counts_and_only_for_a_character_that_is_there(home):
    assert home.ask("POST", "characters/ada-bell/card/tokens", {"texts": TEXTS}, who="tom").status_code == 403
    assert home.ask("POST", "characters/nobody/card/tokens", {"texts": TEXTS}).status_code == 404


def test_a_model_is_loaded_for_counting_only_when_somebody_asks_for_it(tmp_path):
    make_character(tmp_path, rows=None)
    with served(tmp_path) as asleep:
        path = "characters/ada-bell/card/tokens"
        assert asleep.post(path, {"texts": TEXTS}).json() == {"is_loaded": False}
        assert asleep.library.shelf.names() == ()
        assert asleep.post(path, {"texts": TEXTS, "load": True}).json()["is_loaded"]
        assert asleep.post(path, {"texts": TEXTS}).json()["counts"]["description"] > 0


class TestInBrowser:
    pytestmark = IN_BROWSER

    def test_the_editor_counts_while_one_writes(self, browser, tmp_path):
        with (
            panels(make_home(tmp_path / "home"), with_accounts=False) as started,
            visiting(browser, started, "#/characters/ada-bell/edit") as visit,
        ):
            page = visit.page
            description = page.locator(".field", has=page.locator("[name=description]"))
            before = len(FakeTokenizer().encode("A lift attendant."))
            expect(description.locator(".tokens")).to_have_text(f"{before} tokens")
            text = "A lift attendant who knows every floor and every guest by name."
            page.fill("[name=description]", text)
            expect(description.locator(".tokens")).to_have_text(f"{len(FakeTokenizer().encode(text))} tokens")
            expect(page.locator(".card-tokens")).to_contain_text("tokens that the model reads at once")
            page.fill("[name=scenario]", "A long night. " * 800)
            expect(page.locator(".card-tokens .note")).to_be_visible()
            assert (visit.foreign, visit.faults) == ([], [])
