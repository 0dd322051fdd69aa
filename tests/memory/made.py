"""Stores and lines for the tests of memory."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from duologue.memory import MemoryStore, Scope, Source, StoredLine
from duologue.memory.words import stems

ANA = Scope("ana", "lila")
NOON = "2026-11-01T12:00:00+00:00"


class WordEmbedder:
    """An embedder that knows only which stems a text has: quick, and equal in every run."""

    name = "words"
    dim = 64
    sha256 = "0" * 64

    def __init__(self, name: str = "words") -> None:
        self.name = name
        self.num_texts = 0

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.num_texts += len(texts)
        vectors = np.full((len(texts), self.dim), 0.01, np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for stem in stems(text):
                row[int(hashlib.sha256(f"{self.name}{stem}".encode()).hexdigest(), 16) % self.dim] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def source(message_id: int, text: str, *, speaker: str = "user", revision: int = 0, at: str = NOON, name: str = ""):
    return Source(message_id, revision, speaker, text, at, name)


def tell(memory: MemoryStore, *texts: str, scope: Scope = ANA, session_id: str = "first", at: str = NOON) -> None:
    """Follow a path in which the user says the first text, the character the second, and so on."""
    speakers = ("user", "assistant")
    path = [source(number + 1, text, speaker=speakers[number % 2], at=at) for number, text in enumerate(texts)]
    memory.follow(session_id, path, scope=scope)


def turns(memory: MemoryStore, scope: Scope = ANA) -> list[StoredLine]:
    return [line for line in memory.list_lines(scope=scope, limit=10_000) if line.kind == "turn"]


def find(memory: MemoryStore, text: str, *, scope: Scope = ANA, kind: str = "turn") -> StoredLine:
    [line] = [line for line in memory.list_lines(scope=scope, limit=10_000) if line.text == text and line.kind == kind]
    return line


def recalled(memory: MemoryStore, question: str, *, scope: Scope = ANA, limit: int = 5, **more) -> list[str]:
    return [line.text for line in memory.recall(question, scope=scope, limit=limit, **more)]


def folder_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())
