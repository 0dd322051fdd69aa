"""A real Chromium for the tests of the page, at the size of a desk or of a phone."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.serve.running import Running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
IN_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
]
expect.set_options(timeout=30_000)  # milliseconds; a page is waited for, not timed
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 860}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}


@dataclass
class Visit:
    """A page and what went wrong or astray on it.

    Attributes:
        page: The page.
        foreign: Requests that left the server's address.
        faults: Console errors and failed requests.
    """

    page: Page
    foreign: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@contextlib.contextmanager
def opened_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@contextlib.contextmanager
def opened_context(browser: Browser, size: dict[str, Any], **options: object) -> Iterator[Page]:
    """Open an empty page in a browser that remembers nothing."""
    context = browser.new_context(**size, **options)
    context.set_default_timeout(60_000)
    try:
        yield context.new_page()
    finally:
        context.close()


@contextlib.contextmanager
def visiting(
    browser: Browser, server: Running, place: str = "", *, size: dict[str, Any] | None = None, **options: object
) -> Iterator[Visit]:
    """Open the page at a place such as `#/talk/lila-quill`."""
    with opened_context(browser, size or DESK, **options) as page:
        visit = Visit(page)
        page.on("request", lambda request: request.url.startswith(server.url) or visit.foreign.append(request.url))
        page.on("console", lambda message: message.type == "error" and visit.faults.append(message.text))
        page.on("pageerror", lambda error: visit.faults.append(str(error)))
        page.on(
            "response", lambda answer: answer.status >= 500 and visit.faults.append(f"{answer.status} {answer.url}")
        )
        page.goto(f"{server.url}/{place}")
        page.wait_for_selector("duo-frame nav")
        yield visit
