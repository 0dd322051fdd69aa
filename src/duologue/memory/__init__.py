"""Long-term memory: what was said in earlier sessions, found again by words and meaning, and truly forgotten."""

from duologue.memory.learning import Followed
from duologue.memory.passages import passages
from duologue.memory.records import Receipt, Scope, Source, StoredLine, Why
from duologue.memory.store import AlsoForget, MemoryStore

__all__ = ["AlsoForget", "Followed", "MemoryStore", "Receipt", "Scope", "Source", "StoredLine", "Why", "passages"]
