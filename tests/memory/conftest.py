from collections.abc import Iterator
from pathlib import Path

import pytest

from duologue.memory import MemoryStore


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[MemoryStore]:
    store = MemoryStore.open(tmp_path / "memory.sqlite")
    yield store
    store.close()
