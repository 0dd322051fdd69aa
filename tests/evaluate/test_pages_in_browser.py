"""The report and the comparison in a real Chromium: they fit a phone, ask nobody, and run nothing."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from duologue.evaluate import write_comparison
from tests.evaluate.full import dialogue, facts, full, measures

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
]
HOSTILE = "<script>alert(1)</script><img src=https://evil.example/x onerror='alert(2)'> " + "x" * 300
MOST_BYTES = 1_500_000


@dataclass
class Seen:
    width: int
    colours: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@contextlib.contextmanager
def looked_at(browser, path) -> Iterator[tuple]:
    """Open a page on a phone, everything unfolded, in light and in dark."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page, seen = context.new_page(), Seen(0)
    page.on("dialog", lambda dialog: (seen.said.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda message: seen.said.append(message.text))
    page.on("request", lambda request: seen.asked.add(request.url.partition(":")[0]))
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        seen.width = max(seen.width, page.evaluate("document.documentElement.scrollWidth"))
        seen.colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    try:
        yield page, seen
    finally:
        context.close()


def assert_quiet(seen: Seen) -> None:
    assert seen.width <= 390
    assert len(seen.colours) == 2
    assert seen.said == []
    assert seen.asked <= {"file", "data"}


def test_a_full_report_fits_a_phone_and_keeps_to_itself(browser, report, evaluation, tmp_path):
    hostile = dialogue("hostile", "written", tuned=(HOSTILE,) * 3)
    rows = [hostile, *facts()["dialogues"]]
    text = report(evaluation=full(evaluation, dialogues=rows))
    assert len(text.encode()) < MOST_BYTES
    with looked_at(browser, tmp_path / "report.html") as (page, seen):
        assert page.locator("main script, main img").count() == 0
        assert HOSTILE[:25] in page.locator("#dialogues").inner_text()
        mark = page.locator("#dialogues ins").first
        assert "underline" in mark.evaluate("one => getComputedStyle(one).textDecorationLine"), "without colour too"
        style = page.locator("#dialogues del").first.evaluate("one => getComputedStyle(one).textDecorationStyle")
        assert style == "dashed"
        anchors = page.locator("nav a").evaluate_all("all => all.map((one) => one.getAttribute('href'))")
        assert all(page.locator(anchor).count() == 1 for anchor in anchors)
        sizes = page.locator("svg text:visible").evaluate_all(
            "all => all.map((one) => one.getBoundingClientRect().height)"
        )
        assert min(sizes) > 9, "pixels of a label on a phone"
    assert_quiet(seen)


def test_a_comparison_fits_a_phone_and_keeps_to_itself(browser, tmp_path):
    def document(name: str, reply: str) -> tuple:
        replies = [{"prompt": "Who are you?", "base": "A model.", "tuned": reply}]
        return name, {**facts(), "measures": [one.as_json() for one in measures()], "replies": replies}

    path = tmp_path / "compare.html"
    write_comparison(
        path, [document("original", HOSTILE), document("optimized-" + "o" * 60, "Lila."), document("b", "")]
    )
    assert path.stat().st_size < MOST_BYTES
    with looked_at(browser, path) as (page, seen):
        assert page.locator("main script, main img").count() == 0
        assert page.locator("svg.dots").count() > 50
    assert_quiet(seen)


def test_a_very_large_evaluation_is_still_a_page_that_opens(report, evaluation):
    rows = [dialogue(f"night-{number}", "long", num_turns=100) for number in range(60)]
    many = replace(evaluation, prompts=("Hello",) * 2_000)
    sides = {
        side: replace(getattr(many, side), replies=(f"{side} says a b c " * 20,) * 2_000) for side in ("base", "tuned")
    }
    assert len(report(evaluation=full(replace(many, **sides), dialogues=rows)).encode()) < MOST_BYTES
