"""A run that learned from feedback on the page: where it comes from, what it learned, and no loss that is none."""

import json
from collections.abc import Iterator
from datetime import date

import pytest
from playwright.sync_api import Browser, expect

from duologue.engine import BaseModel
from duologue.train import Run, new_run
from tests.serve.browser import DESK, IN_BROWSER, PHONE, visiting
from tests.serve.page.homes import ServedHome, make_character, served

FIRST, SECOND = "2026-11-22-1", "2026-11-22-2"
TOLD = {
    "started_from": FIRST,
    "num_sft_steps": 2,
    "method": "dpo",
    "num_corrected_replies": 6,
    "num_pairs": 10,
    "num_liked": 0,
    "num_disliked": 0,
    "num_cut": 0,
    "num_contradictions": 0,
    "unused": [],
    "notes": [],
    "collected": {"used": {"swipe": 4, "edit": 6}, "dropped": {}},
}


def write_ledger(run: Run, *, feedback: dict | None) -> None:
    """Write as much of a finished run as the page reads."""
    (run.folder / "adapter").mkdir()
    base = {name: getattr(BaseModel("fake"), name) for name in BaseModel.__slots__}
    run.write("data.json", {"files": [], **({"feedback": feedback} if feedback else {})})
    run.write("resolved.json", {"feedback": {"beta": 0.1}})
    run.write("manifest.json", {"adapter_sha256": {}, "base": base, "num_steps": 4, "final_loss": 0.6, "seconds": 60.0})
    step = {"name": "step", "loss": 2.0, "learning_rate": 1e-5, "grad_norm": 1.0, "tokens_per_second": 9.0}
    step |= {"seconds": 1.0, "num_tokens": 9, "memory_gib": 1.0}
    compared = {"reward_margin": 0.2, "reward_accuracy": 0.75, "loss": 0.6} if feedback else {}
    lines = [{**step, "step": number, **(compared if number > 2 else {})} for number in (1, 2, 3, 4)]
    (run.folder / "events.jsonl").write_text("\n".join(map(json.dumps, lines)))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHome]:
    root = tmp_path_factory.mktemp("home")
    folder = make_character(root)
    for feedback in (None, TOLD):
        write_ledger(new_run(folder, today=date(2026, 11, 22)), feedback=feedback)
    with served(root) as started:
        yield started


def test_a_run_on_feedback_says_what_it_learned_and_its_curve_has_only_losses_per_token(home):
    run = home.get(f"characters/ada-bell/runs/{SECOND}").json()

    assert run["started_from"] == FIRST and run["feedback"]["ancestors"] == [FIRST]
    assert (run["feedback"]["num_pairs"], run["feedback"]["reward_accuracy"]) == (10, 0.75)
    assert [step for step, _ in run["curve"]] == [1, 2]
    plain = home.get(f"characters/ada-bell/runs/{FIRST}").json()
    assert (plain["started_from"], plain["feedback"], len(plain["curve"])) == ("", None, 4)


def test_a_run_on_feedback_whose_ledger_is_damaged_is_still_shown(home):
    path = home.root / "ada" / "runs" / SECOND / "resolved.json"
    before = path.read_text()
    path.write_text("{}")
    try:
        run = home.get(f"characters/ada-bell/runs/{SECOND}").json()
    finally:
        path.write_text(before)

    assert run["state"] == "finished" and run["feedback"] is None


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.browser
@IN_BROWSER[1]
def test_the_page_names_the_run_it_comes_from_and_counts_what_it_learned(browser: Browser, home, size):
    with visiting(browser, home, "#/train/ada-bell", size=size, locale="en-GB") as visit:
        page = visit.page
        row = page.locator(".entry.run", has_text=SECOND).first
        expect(row).to_contain_text(f"from feedback, after {FIRST}")
        page.goto(f"{home.url}/#/train/ada-bell/{SECOND}")
        card = page.locator(".card.feedback")
        expect(card).to_contain_text("from pairs of a better and a worse reply")
        expect(card.locator("li")).to_have_text(["6 rewritten replies", "10 pairs of a better and a worse reply"])
        expect(card).to_contain_text("75%")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        card.get_by_role("link").click()
        expect(page).to_have_url(f"{home.url}/#/train/ada-bell/{FIRST}")
        expect(page.locator(".card.feedback")).to_have_count(0)
        assert (visit.foreign, visit.faults) == ([], [])
