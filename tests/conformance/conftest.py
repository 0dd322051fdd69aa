"""The stores that the suites of this folder run on: SQLite in a file and PostgreSQL on a server of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from duologue.chat.sessions import Sessions
from duologue.memory import MemoryStore
from tests.conformance.server import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture(params=["sqlite", "postgres"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path | str, Path | str]:
    """Where sessions and memories go: two files, or one database on a server."""
    if request.param == "sqlite":
        return tmp_path / "chats.sqlite", tmp_path / "memory.sqlite"
    url: str = request.getfixturevalue("postgres_url")
    return url, url


@pytest.fixture
def sessions(places: tuple[Path | str, Path | str]) -> Iterator[Sessions]:
    opened = Sessions.open(places[0])
    yield opened
    opened.close()


@pytest.fixture
def memory(places: tuple[Path | str, Path | str]) -> Iterator[MemoryStore]:
    opened = MemoryStore.open(places[1])
    yield opened
    opened.close()


@pytest.fixture
def both_sessions(tmp_path: Path, postgres_url: str) -> Iterator[tuple[Sessions, Sessions]]:
    pair = Sessions.open(tmp_path / "chats.sqlite"), Sessions.open(postgres_url)
    yield pair
    for opened in pair:
        opened.close()


@pytest.fixture
def both_memories(tmp_path: Path, postgres_url: str) -> Iterator[tuple[MemoryStore, MemoryStore]]:
    pair = MemoryStore.open(tmp_path / "memory.sqlite"), MemoryStore.open(postgres_url)
    yield pair
    for opened in pair:
        opened.close()
