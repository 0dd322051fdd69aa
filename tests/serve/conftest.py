"""What the tests of the web share: a running server, and libraries whose own warnings are not ours."""

from collections.abc import Iterator

import pytest

from tests.serve.running import Running, make_bot, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server shared by the tests of a file."""
    with running(make_bot(tmp_path_factory.mktemp("bot"))) as started:
        yield started
