"""Dead links, anchors and pictures fail; every picture is shown somewhere and its maker is known."""

import re
from urllib.parse import urlsplit

import pytest

from tests.docs.pages import DOCS, ROOT, anchors, documents, links, name

PAGES = {name(page): page for page in documents()}
# No script makes these: one is drawn, one was taken in a browser from the page of `duologue data show --html`.
# Everything else in docs/images/ is named by the script that makes it.
BY_HAND = {"favicon.svg", "data-show.png"}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_every_link_and_picture_of_a_page_leads_somewhere(page):
    dead = []
    for link in links(page):
        parts = urlsplit(link.target)
        if parts.scheme:
            if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d+)?(/\S*)?", link.target):
                dead.append(f"{link.target}: no web address")
            continue
        file = (page.parent / parts.path).resolve() if parts.path else page
        if not file.exists():
            dead.append(f"{link.target}: there is no {file}")
        elif not file.is_relative_to(ROOT):
            dead.append(f"{link.target}: outside of the project")
        elif parts.fragment and file.suffix == ".md" and parts.fragment not in anchors(file):
            dead.append(f"{link.target}: {name(file)} has no heading #{parts.fragment}")
    assert dead == []


@pytest.mark.parametrize("page", [page for page in PAGES.values() if page.is_relative_to(DOCS)], ids=name)
def test_a_page_of_the_site_links_to_files_of_the_site_only(page):
    local = [link.target for link in links(page) if not urlsplit(link.target).scheme]
    outside = [target for target in local if not (page.parent / urlsplit(target).path).resolve().is_relative_to(DOCS)]

    assert outside == [], "name such files as code: the site does not hold them"
    folders = [target for target in local if (page.parent / urlsplit(target).path).is_dir() and urlsplit(target).path]
    assert folders == [], "link to a page, the site shows no folders"


def test_every_picture_says_what_it_shows():
    assert [
        f"{name(link.page)}: {link.target}"
        for page in PAGES.values()
        for link in links(page)
        if link.is_image and len(link.text) < 10
    ] == []


def test_a_picture_in_a_page_exists_and_a_picture_that_exists_has_a_known_maker():
    shown = {
        (link.page.parent / link.target).resolve() for page in PAGES.values() for link in links(page) if link.is_image
    }
    assert shown and all(path.is_file() for path in shown)
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "scripts").glob("*.py"))
    makers = scripts + "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    unknown = [path.name for path in sorted((DOCS / "images").iterdir()) if path.stem not in makers]

    assert set(unknown) <= BY_HAND
