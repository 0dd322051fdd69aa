"""The site builds without a warning, holds every page, loads nothing from elsewhere, and its tables are current."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.docs.pages import DOCS, ROOT

# What makes a browser load something, by element and attribute. Links that a person follows are not among them.
LOADING = {
    ("img", "src"),
    ("script", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("video", "src"),
    ("audio", "src"),
    ("object", "data"),
    ("link", "href"),
}


class Loaded(HTMLParser):
    """Collects the addresses that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value for key, value in attrs if (tag, key) in LOADING and value]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built; a warning is a failure."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def nav_pages() -> set[str]:
    """Return the pages in the navigation, relative to docs/."""
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)

    def walk(node: object) -> set[str]:
        if isinstance(node, str):
            return {node}
        return set().union(*(walk(child) for child in (node.values() if isinstance(node, dict) else node)))

    return walk(config["nav"])


def test_every_page_is_in_the_navigation_and_nothing_else():
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}

    assert sorted(pages - nav_pages()) == [], "put these pages into nav in mkdocs.yml"
    assert sorted(nav_pages() - pages) == [], "mkdocs.yml names pages that are not there"


def test_every_how_to_page_is_in_the_list_of_how_to_pages():
    index = (DOCS / "how-to" / "index.md").read_text(encoding="utf-8")

    assert [
        path.name for path in (DOCS / "how-to").glob("*.md") if path.stem != "index" and f"({path.name})" not in index
    ] == []


@pytest.mark.slow
def test_the_site_holds_every_page(site):
    missing = [page for page in nav_pages() if not (site / page).with_suffix(".html").is_file()]

    assert missing == []
    assert (site / "search" / "search_index.js").is_file() or (site / "search" / "search_index.json").is_file()


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert loaded.addresses, page
        for address in loaded.addresses:
            parts = urlsplit(address)
            assert not parts.netloc and parts.scheme in ("", "data"), f"{page.name} loads {address}"
            if not parts.scheme and page.name != "404.html":
                assert (page.parent / parts.path).is_file(), f"{page.name} loads {address}, which is not there"
    for sheet in site.rglob("*.css"):
        for address in re.findall(r"url\(\s*['\"]?([^)'\"]+)", sheet.read_text(encoding="utf-8")):
            assert not urlsplit(address).netloc, f"{sheet.name} loads {address}"


@pytest.mark.slow
def test_the_tables_of_what_recipes_cost_say_what_the_plan_says():
    path = ROOT / "scripts" / "make_guide_costs.py"
    spec = importlib.util.spec_from_file_location("make_guide_costs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run: python scripts/make_guide_costs.py"
