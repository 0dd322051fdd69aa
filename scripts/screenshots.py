"""Takes the page's pictures for the documents from a running server.

Usage: python scripts/screenshots.py ADDRESS [MESSAGE]

The newest chat is shown as it is. With MESSAGE, that is said first and its reply waited for.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

FOLDER = Path(__file__).parents[1] / "docs" / "images"
DESKTOP, PHONE = (1280, 860), (390, 844)
SHOTS = (
    ("page-desktop.png", DESKTOP, "light"),
    ("page-desktop-dark.png", DESKTOP, "dark"),
    ("page-phone.png", PHONE, "light"),
    ("page-phone-dark.png", PHONE, "dark"),
)
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
REPLY_SECONDS = 300.0  # a small model on a CPU takes its time


def main() -> None:
    """Write every picture."""
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    address, message = sys.argv[1], "".join(sys.argv[2:])
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is not installed; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        if message:
            say(browser, address, message)
        for name, size, scheme in SHOTS:
            page = visit(browser, address, size=size, scheme=scheme)
            page.screenshot(path=FOLDER / name)
            page.context.close()
            print(FOLDER / name)
        browser.close()


def say(browser: Browser, address: str, message: str) -> None:
    """Say something and wait for the end of the reply."""
    page = visit(browser, address, size=DESKTOP, scheme="light")
    page.get_by_label("Your message").fill(message)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Stop")).to_be_visible(timeout=10_000)
    expect(page.get_by_role("button", name="Send")).to_be_visible(timeout=REPLY_SECONDS * 1000)
    page.context.close()


def visit(browser: Browser, address: str, *, size: tuple[int, int], scheme: str) -> Page:
    """Return the page once it shows a chat and has settled."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
        device_scale_factor=1 if size == DESKTOP else 2,
    )
    page = context.new_page()
    page.goto(address)
    expect(page.locator("#messages .message-row").first).to_be_visible(timeout=30_000)
    page.get_by_label("Your message").blur()
    page.wait_for_timeout(1500)  # fonts, pictures, scrolling to the end
    return page


if __name__ == "__main__":
    main()
