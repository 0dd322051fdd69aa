"""Takes the documents' pictures of a report, or of a comparison: a real Chromium, a desk and a phone, light and dark.

Usage: python scripts/make_report_screenshots.py RUN|PAGE [--section ID …] [--name NAME] [--into FOLDER]

RUN is the folder of a run that was measured; its report.html is taken. PAGE is any page that `duologue eval` wrote.
With sections (character, replies, distributions, speed, …) only these are taken, each as a picture of its own; without,
what is seen first: report-desk-light, report-desk-dark, report-phone-light, report-phone-dark. The numbers on a picture
are those of the run: take one that was measured, never one made by hand.
"""

import argparse
import io
import shutil
import sys
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).parents[1] / "docs" / "images"
MAX_BYTES = 200_000
SIZES: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1280, "height": 900}},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="RUN|PAGE")
    parser.add_argument("--section", action="append", default=[], metavar="ID")
    parser.add_argument("--name", default="report", help="begin of the names of the files")
    parser.add_argument("--into", type=Path, default=FOLDER)
    given = parser.parse_args()
    page = given.source / "report.html" if given.source.is_dir() else given.source
    if not page.is_file():
        sys.exit(f"{page} is not there; run: duologue eval")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is not installed; on Debian: apt-get install chromium")
    given.into.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        for size in SIZES:
            for scheme in SCHEMES:
                for section in given.section or [""]:
                    name = "-".join(part for part in (given.name, section, size, scheme) if part)
                    content = take(browser, page, size=size, scheme=scheme, section=section)
                    write(given.into / f"{name}.png", content)
        browser.close()


def take(browser: Browser, page: Path, *, size: str, scheme: Literal["light", "dark"], section: str) -> bytes:
    """Return a picture of a section, or of what is seen first."""
    context = browser.new_context(**SIZES[size], color_scheme=scheme)
    try:
        shown = context.new_page()
        shown.goto(page.resolve().as_uri())
        return shown.locator(f"section#{section}").screenshot() if section else shown.screenshot()
    finally:
        context.close()


def write(file: Path, content: bytes) -> None:
    """Write a picture, with fewer colours where that keeps it small."""
    with Image.open(io.BytesIO(content)) as opened:
        picture = opened.convert("RGB")
    picture.save(file, optimize=True)
    num_colors = 256
    while file.stat().st_size > MAX_BYTES and num_colors >= 32:
        picture.quantize(num_colors).save(file, optimize=True)
        num_colors //= 2
    print(f"{file.name}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
