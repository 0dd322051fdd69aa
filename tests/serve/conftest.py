"""What the tests of the web share: a running server, and libraries whose own warnings are not ours."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.serve.browser import opened_browser
from tests.serve.running import Running, make_bot, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server shared by the tests of a file."""
    with running(make_bot(tmp_path_factory.mktemp("bot"))) as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a file: while it is open, no other event loop can run in this thread."""
    with opened_browser() as opened:
        yield opened
