"""One served home for the tests of a file."""

from collections.abc import Iterator

import pytest

from tests.faults.served import Served, served


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A served home."""
    with served(tmp_path_factory.mktemp("home") / "home") as found:
        yield found
